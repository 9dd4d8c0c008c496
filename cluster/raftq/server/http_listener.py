"""Tornado's HTTP server with every bound set.

Its defaults bear a dripping client for an hour and bodies of 100 MB. A body over the limit is read
to its end without being kept, so that the client can hear why it was refused.
"""

from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

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
from raftq.protocol.errors import PayloadTooLarge
from raftq.server import problems

_DISCARDED_BYTES_MAX: Final = 4 * limits.REQUEST_BYTES_MAX
"""A body longer than this ends the connection without an explanation."""


@dataclass(frozen=True, slots=True)
class HttpPatience:
    """How long a slow client is borne, in seconds."""

    idle: float = limits.HTTP_IDLE_TIMEOUT_MS / 1_000
    body: float = limits.HTTP_BODY_TIMEOUT_MS / 1_000


def http_server(app: Application, patience: HttpPatience) -> "BoundedHttpServer":
    """Return a server for an application, not listening yet."""
    return BoundedHttpServer(
        app,
        max_body_size=_DISCARDED_BYTES_MAX,
        max_header_size=limits.HTTP_HEADER_BYTES_MAX,
        max_buffer_size=_DISCARDED_BYTES_MAX,
        idle_connection_timeout=patience.idle,
        body_timeout=patience.body,
        decompress_request=False,
    )


class BoundedHttpServer(HTTPServer):
    """Bounds bodies, and the number of connections for each address."""

    def initialize(self, *args: object, **settings: object) -> None:
        """Called by Tornado instead of a constructor."""
        self._per_address: Counter[str] = Counter()
        super().initialize(*args, **settings)  # type: ignore[arg-type]  # passed on as it came

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Take a connection, or refuse one too many of an address."""
        host = address[0]
        if self._per_address[host] >= limits.CONNECTIONS_PER_ADDRESS_MAX:
            stream.close()
            return
        self._per_address[host] += 1
        stream.set_close_callback(lambda: self._forget(host))
        super().handle_stream(stream, address)  # pyright: ignore[reportUnknownMemberType]

    def _forget(self, host: str) -> None:
        self._per_address[host] -= 1
        if not self._per_address[host]:
            del self._per_address[host]

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Called by Tornado for each request."""
        return _BoundedBody(super().start_request(server_conn, request_conn), request_conn)


class _BoundedBody(HTTPMessageDelegate):
    """Passes a request on, unless its body grows over the limit."""

    def __init__(self, inner: HTTPMessageDelegate, connection: HTTPConnection) -> None:
        self._inner = inner
        self._connection = connection
        self._bytes = 0

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._bytes += len(chunk)
        if self._bytes > limits.REQUEST_BYTES_MAX:
            return None
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        if self._bytes > limits.REQUEST_BYTES_MAX:
            self._inner.on_connection_close()
            self._refuse()
        else:
            self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()

    def _refuse(self) -> None:
        error = PayloadTooLarge(
            f"the body has {self._bytes} bytes; the limit is {limits.REQUEST_BYTES_MAX}",
            bytes_max=limits.REQUEST_BYTES_MAX,
        )
        status, _, body = problems.problem(error)
        encoded = msgspec.json.encode(body)
        headers = HTTPHeaders(
            {"Content-Type": problems.CONTENT_TYPE, "Content-Length": str(len(encoded))}
        )
        start_line = ResponseStartLine("HTTP/1.1", status, str(body["title"]))
        self._connection.write_headers(start_line, headers, encoded)
        self._connection.finish()
