"""The HTTP/JSON API, for curl and for every other language (docs/reference/http-api.md)."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast
from uuid import UUID

import msgspec
from tornado.httputil import HTTPConnection
from tornado.web import Application, Finish, RequestHandler

from raftq.consensus.contract import Replica
from raftq.protocol import limits
from raftq.protocol.errors import (
    InternalError,
    InvalidRequest,
    NotReady,
    RaftqError,
    UnknownMethod,
    error_from_code,
)
from raftq.protocol.messages import (
    NAME_PATTERN,
    Ack,
    AckItem,
    Call,
    ClusterCall,
    ClusterStatus,
    Consistency,
    Enqueue,
    Enqueued,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    LeaseCall,
    Leased,
    QueueCall,
    QueueName,
    QueueStatus,
    Reply,
    Requeue,
    RequeueItem,
    Settled,
    TaskCall,
    TaskStatus,
    TimeoutMs,
    Token,
)
from raftq.server import http_answers as answers
from raftq.server import http_bodies as bodies
from raftq.server import metrics as metric_pages
from raftq.server import problems
from raftq.server.metrics import Metrics
from raftq.server.openapi import document
from raftq.server.service import Service

_log = logging.getLogger(__name__)

MISDIRECTED: Final = "there is no such path; /v1/openapi.json lists them"


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


class _Closable(Protocol):
    """What Tornado's connections can do, beyond their declared type."""

    def close(self) -> None: ...


class _Handler(RequestHandler):
    """One request: decode, execute, encode; any error becomes a problem document."""

    context: HttpContext
    op = "unknown"
    parameters: frozenset[str] | None = frozenset()
    """Names that may stand in the query string; None if any may."""

    def initialize(self, context: HttpContext) -> None:
        """Called by Tornado."""
        self.context = context
        self._begun_at = asyncio.get_running_loop().time()
        self._running: asyncio.Future[Reply] | None = None
        self._is_client_gone = False

    def prepare(self) -> Awaitable[None] | None:
        """Called by Tornado first: refuse what would be ignored."""
        if self.parameters is not None:
            for name in self.request.query_arguments:
                if name not in self.parameters:
                    allowed = ", ".join(sorted(self.parameters)) or "none"
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
        self._is_client_gone = True
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
            return await self._running
        except asyncio.CancelledError:
            if self._is_client_gone:
                self._count("client_gone")
                raise Finish from None
            raise

    def body(self, kind: type[bodies.Body]) -> bodies.Body:
        """Return the request's body as a type."""
        return bodies.decode_body(self.request.body, kind)

    def query_timeout_ms(self) -> int:
        """Return `timeout_ms` of the query string."""
        text = self.get_query_argument("timeout_ms", str(limits.TIMEOUT_MS_DEFAULT))
        return _integer(text, TimeoutMs, "timeout_ms")

    def query_consistency(self) -> Consistency:
        """Return `consistency` of the query string."""
        text = self.get_query_argument("consistency", Consistency.LINEARIZABLE.value)
        try:
            consistency = Consistency(text)
        except ValueError:
            allowed = " or ".join(each.value for each in Consistency)
            raise InvalidRequest(f"consistency is {text!r:.40}; it must be {allowed}") from None
        if consistency is Consistency.STALE:
            self.set_header("Raftq-Applied-Index", str(self.context.replica.view().applied_index))
        return consistency

    def reply(self, body: object, status: int = 200) -> None:
        """Send a JSON answer."""
        self.set_status(status)
        self._count("ok")
        self._finish(msgspec.json.encode(body))

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
        self._count(cast(str, body["code"]))
        self._finish(msgspec.json.encode(body))

    def _finish(self, body: bytes) -> None:
        if self.context.service.is_shutting_down:
            self.set_header("Connection", "close")
        self.write(body)  # pyright: ignore[reportUnknownMemberType]  # Tornado's dict is bare
        flushed = self.finish()  # pyright: ignore[reportUnknownMemberType]  # Tornado's dict is bare
        connection, open_requests = self.request.connection, self.context.open_requests
        # A client that does not take its answer would hold the connection for ever.
        patience = asyncio.get_running_loop().call_later(
            self.context.answer_seconds, cast(_Closable, connection).close
        )

        def on_flushed(_: "asyncio.Future[None]") -> None:
            patience.cancel()
            open_requests.discard(connection)

        flushed.add_done_callback(on_flushed)

    def _methods(self) -> list[str]:
        """Return the methods that this path has."""
        return [
            name
            for name in self.SUPPORTED_METHODS
            if getattr(type(self), name.lower()) is not getattr(RequestHandler, name.lower())
        ]

    def _count(self, code: str) -> None:
        seconds = asyncio.get_running_loop().time() - self._begun_at
        self.context.metrics.count_call(self.op, code, seconds)


def _integer(text: str, kind: Any, field: str) -> int:
    """Return an integer from the path or the query, checked like one from a body."""
    if not re.fullmatch("[0-9]{1,19}", text):
        raise InvalidRequest(f"{field} is {text!r:.40}; it must be a whole number")
    try:
        number: int = msgspec.convert(int(text), kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{field}: {error}") from None
    return number


def _task_id(text: str) -> UUID:
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        raise InvalidRequest(f"the task id is {text!r:.60}; it must be a UUID") from None


def _queue(text: str) -> QueueName:
    try:
        return msgspec.convert(text, QueueName)
    except msgspec.ValidationError:
        raise InvalidRequest(f"queue is {text!r:.140}; it must match {NAME_PATTERN}") from None


class TasksHandler(_Handler):
    """POST /v1/queues/{queue}/tasks."""

    op = "enqueue"

    async def post(self, queue: str) -> None:
        """Enqueue tasks, all or none."""
        name = _queue(queue)
        body = self.body(bodies.EnqueueBody)
        tasks = [bodies.new_task(task, self.context.new_id()) for task in body.tasks]
        reply = await self.execute(Enqueue(name, tasks), body.timeout_ms)
        assert isinstance(reply, Enqueued)
        self.reply(answers.enqueued_answer(reply), status=201)


class LeasesHandler(_Handler):
    """POST /v1/queues/{queue}/leases."""

    op = "lease"

    async def post(self, queue: str) -> None:
        """Lease tasks, waiting for them if asked to."""
        name = _queue(queue)
        body = self.body(bodies.LeaseBody)
        request_id = body.request_id or self.context.new_id().hex()
        call = LeaseCall([name], body.count, body.lease_ms, body.worker, request_id, body.wait_ms)
        reply = await self.execute(call, body.timeout_ms, body.wait_ms)
        assert isinstance(reply, Leased)
        self.reply(answers.leases_answer(reply))


class SettleHandler(_Handler):
    """POST /v1/leases/{token}/{ack,fail,requeue,extend}."""

    async def post(self, token: str, action: str) -> None:
        """Settle or extend one lease."""
        self.op = action
        number = _integer(token, Token, "token")
        call: Call
        match action:
            case "ack":
                ack = self.body(bodies.AckBody)
                call, timeout_ms = Ack([AckItem(number, bodies.result_bytes(ack))]), ack.timeout_ms
            case "fail":
                fail = self.body(bodies.FailBody)
                call, timeout_ms = Fail([FailItem(number, fail.error)]), fail.timeout_ms
            case "requeue":
                requeue = self.body(bodies.RequeueBody)
                item = RequeueItem(number, requeue.delay_ms)
                call, timeout_ms = Requeue([item]), requeue.timeout_ms
            case _:
                extend = self.body(bodies.ExtendBody)
                call = Extend([ExtendItem(number, extend.lease_ms)])
                timeout_ms = extend.timeout_ms
        reply = await self.execute(call, timeout_ms)
        assert isinstance(reply, Settled)
        settled = reply.items[0]
        if settled.state is None:
            raise error_from_code(
                settled.error_code,
                f"the lease {number} is over or was never granted; its task is not yours any more",
                {},
            )
        self.reply(answers.SettledAnswer(settled.state))


class TaskHandler(_Handler):
    """GET /v1/tasks/{id}."""

    op = "task"
    parameters = frozenset({"consistency", "timeout_ms"})

    async def get(self, task_id: str) -> None:
        """Return one task."""
        id_ = _task_id(task_id)
        consistency = self.query_consistency()
        reply = await self.execute(TaskCall(id_.bytes, consistency), self.query_timeout_ms())
        assert isinstance(reply, TaskStatus)
        self.reply(answers.task_answer(reply))


class QueueHandler(_Handler):
    """GET /v1/queues/{queue}."""

    op = "queue"
    parameters = frozenset({"consistency", "timeout_ms"})

    async def get(self, queue: str) -> None:
        """Return the counts of a queue."""
        name = _queue(queue)
        call = QueueCall(name, self.query_consistency())
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, QueueStatus)
        self.reply(answers.queue_answer(reply))


class ClusterHandler(_Handler):
    """GET /v1/cluster."""

    op = "cluster"

    async def get(self) -> None:
        """Return what this node knows about the cluster."""
        reply = await self.execute(ClusterCall(), limits.TIMEOUT_MS_DEFAULT)
        assert isinstance(reply, ClusterStatus)
        self.reply(answers.cluster_answer(reply))


class LiveHandler(_Handler):
    """GET /livez."""

    op = "livez"
    parameters = None

    def get(self) -> None:
        """Say that the event loop answers."""
        self.reply(answers.LiveAnswer())


class ReadyHandler(_Handler):
    """GET /readyz."""

    op = "readyz"
    parameters = None

    def get(self) -> None:
        """Say whether this node serves calls, and if not, why."""
        view = self.context.replica.view()
        reason = view.not_ready_reason
        if self.context.service.is_shutting_down:
            reason = "shutting down"
        if reason is not None:
            raise NotReady(reason, node=view.node)
        self.reply(answers.ReadyAnswer(view.node, view.leader))


class MetricsHandler(_Handler):
    """GET /metrics."""

    op = "metrics"
    parameters = None

    def get(self) -> None:
        """Return Prometheus' text format."""
        self.set_header("Content-Type", metric_pages.CONTENT_TYPE)
        self._count("ok")
        self._finish(self.context.metrics.page())


class OpenApiHandler(_Handler):
    """GET /v1/openapi.json."""

    op = "openapi"

    def get(self) -> None:
        """Return the API's description."""
        self.reply(document(self.context.version))


class UnknownHandler(_Handler):
    """Everything else."""

    def prepare(self) -> Awaitable[None] | None:
        """Refuse, whatever the method."""
        raise UnknownMethod(MISDIRECTED)


ROUTES: Final[tuple[tuple[str, type[RequestHandler]], ...]] = (
    (r"/v1/queues/([^/]+)/tasks", TasksHandler),
    (r"/v1/queues/([^/]+)/leases", LeasesHandler),
    (r"/v1/leases/([^/]+)/(ack|fail|requeue|extend)", SettleHandler),
    (r"/v1/tasks/([^/]+)", TaskHandler),
    (r"/v1/queues/([^/]+)", QueueHandler),
    (r"/v1/cluster", ClusterHandler),
    (r"/v1/openapi\.json", OpenApiHandler),
    (r"/livez", LiveHandler),
    (r"/readyz", ReadyHandler),
    (r"/metrics", MetricsHandler),
)
"""Every path and who answers it."""


def application(context: HttpContext) -> Application:
    """Return the Tornado application of one node."""
    shared = {"context": context}
    return Application(
        [(pattern, handler, shared) for pattern, handler in ROUTES],
        default_handler_class=UnknownHandler,
        default_handler_args=shared,
        log_function=_log_nothing,
    )


def _log_nothing(_handler: RequestHandler) -> None:
    """Requests are counted, not logged."""
