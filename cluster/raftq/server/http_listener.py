"""Tornado's HTTP server with every bound set.

Its defaults bear a dripping client for an hour and bodies of 100 MB. A body over the limit is
answered at once and then read to its end without being kept: if the connection were closed with
unread bytes, it would be reset, and the client would not hear why.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

import msgspec
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.web import Application

from raftq.protocol import limits
from raftq.protocol.errors import Forbidden, PayloadTooLarge, RaftqError
from raftq.server import problems
from raftq.server.gate import Gate
from raftq.server.listening import PoliteServer

_TORNADO_BYTES_MAX: Final = 2**62
"""Tornado's own limit of bodies, out of the way of ours. A refused body is bounded by time."""


@dataclass(frozen=True, slots=True)
class HttpPatience:
    """How long a slow client is borne, in seconds."""

    idle: float = limits.HTTP_IDLE_TIMEOUT_MS / 1_000
    body: float = limits.HTTP_BODY_TIMEOUT_MS / 1_000


def http_server(
    app: Application, patience: HttpPatience, open_requests: set[HTTPConnection], gate: Gate
) -> "BoundedHttpServer":
    """Return a server for an application, not listening yet.

    Args:
        app: Answers the requests; takes each connection out of `open_requests` when its answer
            has left.
        patience: With slow clients.
        open_requests: Gets the connections whose request has begun.
        gate: Lets clients in.
    """
    server = BoundedHttpServer(
        app,
        max_body_size=_TORNADO_BYTES_MAX,
        max_header_size=limits.HTTP_HEADER_BYTES_MAX,
        max_buffer_size=2 * limits.REQUEST_BYTES_MAX,
        idle_connection_timeout=patience.idle,
        body_timeout=patience.body,
        decompress_request=False,
    )
    server.open_requests = open_requests
    server.gate = gate
    return server


class BoundedHttpServer(PoliteServer, HTTPServer):
    """Bounds bodies, and the number of connections for each address; asks for tokens."""

    open_requests: set[HTTPConnection]
    gate: Gate

    def initialize(self, *args: object, **settings: object) -> None:
        """Called by Tornado instead of a constructor."""
        self.connections_per_address: Counter[str] = Counter()
        self._newest_request: dict[object, HTTPConnection] = {}
        super().initialize(*args, **settings)  # type: ignore[arg-type]  # passed on as it came

    def say_farewell(self) -> None:
        """Make the answer to each further request the last one of its connection."""
        self.conn_params.no_keep_alive = True

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Take a connection, or refuse one too many of an address."""
        host = address[0]
        if self.connections_per_address[host] >= limits.CONNECTIONS_PER_ADDRESS_MAX:
            stream.close()
            return
        self.connections_per_address[host] += 1
        super().handle_stream(stream, address)  # pyright: ignore[reportUnknownMemberType]

    def on_close(self, server_conn: object) -> None:
        """Called by Tornado when a connection has ended.

        Not a close callback of the stream: there is only one of those, and Tornado sets its own.
        """
        super().on_close(server_conn)
        # A client that went away in the middle of its answer never lets that answer be flushed.
        request = self._newest_request.pop(server_conn, None)
        if request is not None:
            self.open_requests.discard(request)
        self._forget(cast(_Served, server_conn).context.address[0])

    def _forget(self, host: str) -> None:
        self.connections_per_address[host] -= 1
        if not self.connections_per_address[host]:
            del self.connections_per_address[host]

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Called by Tornado for each request."""
        inner = super().start_request(server_conn, request_conn)

        def begin() -> None:
            self._newest_request[server_conn] = request_conn
            self.open_requests.add(request_conn)

        host = cast(_Served, server_conn).context.address[0]

        def admit(path: str, authorization: str | None) -> None:
            self.gate.admit_request(path, authorization, host)

        return _BoundedBody(inner, request_conn, self.open_requests, begin, admit)


class _Context(Protocol):
    address: tuple[str, int]


class _Served(Protocol):
    """What Tornado hands to `on_close`."""

    context: _Context


class _BoundedBody(HTTPMessageDelegate):
    """Passes a request on, unless its sender is not let in or its body is over the limit.

    A stranger is refused by the headers: his body is not kept.
    """

    def __init__(
        self,
        inner: HTTPMessageDelegate,
        connection: HTTPConnection,
        open_requests: set[HTTPConnection],
        begin: Callable[[], None],
        admit: Callable[[str, str | None], None],
    ) -> None:
        self._begin = begin
        self._admit = admit
        self._inner = inner
        self._connection = connection
        self._open_requests = open_requests
        self._bytes = 0
        self._is_refused = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._begin()
        received: Awaitable[None] | None = None
        try:
            self._admit(cast(RequestStartLine, start_line).path, headers.get("Authorization"))
        except Forbidden as error:
            self._refuse(error, 401)
        else:
            received = self._inner.headers_received(start_line, headers)
            length = headers.get("Content-Length", "")
            if length.isdecimal() and len(length) < 19:  # Tornado refuses the others.
                self._refuse_over_limit(int(length))
        if self._is_refused and "Expect" in headers:
            del headers["Expect"]  # Else Tornado would ask for the body after the answer.
        return received

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._bytes += len(chunk)
        self._refuse_over_limit(self._bytes)
        return None if self._is_refused else self._inner.data_received(chunk)

    def finish(self) -> None:
        if self._is_refused:
            self._connection.finish()
            self._open_requests.discard(self._connection)
        else:
            self._inner.finish()

    def on_connection_close(self) -> None:
        self._open_requests.discard(self._connection)
        if not self._is_refused:
            self._inner.on_connection_close()

    def _refuse_over_limit(self, size: int) -> None:
        if self._is_refused or size <= limits.REQUEST_BYTES_MAX:
            return
        self._inner.on_connection_close()
        error = PayloadTooLarge(
            f"the body is over {limits.REQUEST_BYTES_MAX} bytes; send less at a time",
            bytes_max=limits.REQUEST_BYTES_MAX,
        )
        self._refuse(error)

    def _refuse(self, error: RaftqError, as_status: int | None = None) -> None:
        """Answer now; `finish` follows when the client has sent everything."""
        self._is_refused = True
        status, more_headers, body = problems.problem(error, as_status)
        encoded = msgspec.json.encode(body)
        headers = HTTPHeaders(
            {
                **more_headers,
                "Content-Type": problems.CONTENT_TYPE,
                "Content-Length": str(len(encoded)),
            }
        )
        if as_status is None:
            headers["Connection"] = "close"
        start_line = ResponseStartLine("HTTP/1.1", status, str(body["title"]))
        self._connection.write_headers(start_line, headers, encoded)
