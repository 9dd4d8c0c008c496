"""One HTTP request: what every handler of the API has in common."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol, cast
from uuid import UUID

import msgspec
from tornado.httputil import HTTPConnection
from tornado.web import Finish, RequestHandler

from raftq.consensus.contract import Replica
from raftq.protocol import limits
from raftq.protocol.calls import Call
from raftq.protocol.errors import InternalError, InvalidRequest, RaftqError, UnknownMethod
from raftq.protocol.fields import NAME_PATTERN, Consistency, QueueName, TaskId, TimeoutMs
from raftq.protocol.replies import Reply
from raftq.protocol.statuses import TaskStatus
from raftq.server import http_bodies as bodies
from raftq.server import problems
from raftq.server.backups import Backups
from raftq.server.gate import Gate
from raftq.server.metrics import Metrics
from raftq.server.service import Service

_log = logging.getLogger(__name__)

_APPLIED_INDEX: Final = "Raftq-Applied-Index"
"""Of an answer that may be stale: the log index that it is at least as new as."""


@dataclass(frozen=True, slots=True)
class HttpContext:
    """What the handlers share."""

    service: Service
    replica: Replica
    metrics: Metrics
    new_id: Callable[[], bytes]
    version: str
    open_requests: set[HTTPConnection]
    """Connections with a request whose answer has not left yet."""
    answer_seconds: float
    """How long a client may take to read an answer."""
    backups: Backups
    gate: Gate


class _Closable(Protocol):
    """What Tornado's connections can do, beyond their declared type."""

    def close(self) -> None: ...


class Handler(RequestHandler):
    """One request: decode, execute, encode; any error becomes a problem document."""

    context: HttpContext
    op = "unknown"
    parameters: frozenset[str] | None = frozenset()
    """Names that may stand in the query string; None if any may."""
    parameters_of: Mapping[str, frozenset[str]] = MappingProxyType({})
    """The same for single HTTP methods, where they differ."""

    def initialize(self, context: HttpContext) -> None:
        """Called by Tornado."""
        self.context = context
        self._begun_at = asyncio.get_running_loop().time()
        self._running: asyncio.Future[Reply] | None = None
        self.is_client_gone = False

    def prepare(self) -> Awaitable[None] | None:
        """Called by Tornado first: refuse what would be ignored."""
        parameters = self.parameters_of.get(self.request.method or "", self.parameters)
        if parameters is not None:
            for name in self.request.query_arguments:
                if name not in parameters:
                    allowed = ", ".join(sorted(parameters)) or "none"
                    raise InvalidRequest(
                        f"unknown query parameter {name!r:.100}; allowed here: {allowed}"
                    )
        return None

    def set_default_headers(self) -> None:
        """Called by Tornado."""
        self.set_header("Content-Type", "application/json")
        self.set_header("Server", "raftq")
        self.set_header("X-Content-Type-Options", "nosniff")

    def on_connection_close(self) -> None:
        """The client is gone: stop waiting for tasks on its behalf."""
        self.is_client_gone = True
        if self._running is not None:
            self._running.cancel()

    def compute_etag(self) -> str | None:
        """Do not hash every answer."""
        return None

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Errors are logged in `write_error`, once."""

    async def execute(self, call: Call, timeout_ms: int, wait_ms: int = 0) -> Reply:
        """Execute a call with the caller's deadline."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (timeout_ms + wait_ms) / 1_000
        self._running = asyncio.ensure_future(self.context.service.execute(call, deadline))
        try:
            reply = await self._running
            if isinstance(reply, TaskStatus) and reply.lag_ms is not None:
                self.set_header(_APPLIED_INDEX, str(reply.applied_index))
            return reply
        except asyncio.CancelledError:
            if self.is_client_gone:
                self.count("client_gone")
                raise Finish from None
            raise

    def body(self, kind: type[bodies.Body]) -> bodies.Body:
        """Return the request's body as a type."""
        return bodies.decode_body(self.request.body, kind)

    def query_timeout_ms(self) -> int:
        """Return `timeout_ms` of the query string."""
        return self.query_number("timeout_ms", TimeoutMs, limits.TIMEOUT_MS_DEFAULT)

    def query_number(self, name: str, kind: Any, default: int) -> int:
        """Return a whole number of the query string."""
        text = self.get_query_argument(name, str(default))
        return whole_number(text, kind, name)

    def query_word(self, name: str, kind: Any, expected: str) -> str | None:
        """Return a name or key of the query string, or None if it is not given."""
        text = self.get_query_argument(name, None)
        return None if text is None else path_word(text, kind, name, expected)

    def query_consistency(self) -> Consistency:
        """Return `consistency` of the query string."""
        text = self.get_query_argument("consistency", Consistency.LINEARIZABLE.value)
        try:
            consistency = Consistency(text)
        except ValueError:
            allowed = " or ".join(each.value for each in Consistency)
            raise InvalidRequest(f"consistency is {text!r:.40}; it must be {allowed}") from None
        if consistency is Consistency.STALE:
            self.set_header(_APPLIED_INDEX, str(self.context.replica.view().applied_index))
        return consistency

    def reply(self, body: object, status: int = 200) -> None:
        """Send a JSON answer."""
        self.set_status(status)
        self.count("ok")
        self.end(msgspec.json.encode(body))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Turn whatever went wrong into a problem document."""
        error: BaseException | None = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, RaftqError):
            if status_code == 405:
                error = UnknownMethod(f"{self.request.method} is not possible on this path")
            elif 400 <= status_code < 500:
                error = InvalidRequest(f"malformed request: {error}")
            else:
                _log.error("request_failed", exc_info=error, extra={"op": self.op})
                error = InternalError("this is a bug in raftq; the node's log has the details")
        is_misused = status_code == 405
        status, headers, body = problems.problem(error, 405 if is_misused else None)
        if is_misused:
            self.set_header("Allow", ", ".join(self._methods()))
        self.set_status(status)
        for name, value in headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", problems.CONTENT_TYPE)
        self.count(cast(str, body["code"]))
        self.end(msgspec.json.encode(body))

    def end(self, body: bytes) -> None:
        """Send the last bytes of the answer."""
        if self.context.service.is_shutting_down:
            self.set_header("Connection", "close")
        self.write(body)  # pyright: ignore[reportUnknownMemberType]  # Tornado's dict is bare
        flushed = self.finish()  # pyright: ignore[reportUnknownMemberType]  # Tornado's dict is bare
        connection, open_requests = self.request.connection, self.context.open_requests
        # A client that does not take its answer would hold the connection for ever.
        patience = asyncio.get_running_loop().call_later(
            self.context.answer_seconds, self.close_connection
        )

        def on_flushed(_: "asyncio.Future[None]") -> None:
            patience.cancel()
            open_requests.discard(connection)

        flushed.add_done_callback(on_flushed)

    def close_connection(self) -> None:
        """End the connection at once, whatever of the answer has left."""
        cast(_Closable, self.request.connection).close()

    def _methods(self) -> list[str]:
        """Return the methods that this path has."""
        return [
            name
            for name in self.SUPPORTED_METHODS
            if getattr(type(self), name.lower()) is not getattr(RequestHandler, name.lower())
        ]

    def count(self, code: str) -> None:
        """Count this call with how it ended."""
        seconds = asyncio.get_running_loop().time() - self._begun_at
        self.context.metrics.count_call(self.op, code, seconds)


def whole_number(text: str, kind: Any, field: str) -> int:
    """Return an integer from the path or the query, checked like one from a body."""
    if not re.fullmatch("[0-9]{1,19}", text):
        raise InvalidRequest(f"{field} is {text!r:.40}; it must be a whole number")
    try:
        number: int = msgspec.convert(int(text), kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{field}: {error}") from None
    return number


def by_method(**parameters: frozenset[str]) -> Mapping[str, frozenset[str]]:
    """Return the names that may stand in the query string, for each HTTP method."""
    return MappingProxyType(parameters)


def path_word(text: str, kind: Any, field: str, expected: str) -> str:
    """Return a name or key from the path or the query, checked like one from a body."""
    try:
        word: str = msgspec.convert(text, kind)
    except msgspec.ValidationError:
        raise InvalidRequest(f"{field} is {text!r:.140}; it must {expected}") from None
    return word


def path_queue(text: str) -> QueueName:
    """Return the name of a queue from the path."""
    return path_word(text, QueueName, "queue", f"match {NAME_PATTERN}")


def path_task_id(text: str) -> TaskId:
    """Return the id of a task from the path."""
    try:
        return msgspec.convert(text, UUID).bytes
    except msgspec.ValidationError:
        raise InvalidRequest(f"the task id is {text!r:.60}; it must be a UUID") from None
