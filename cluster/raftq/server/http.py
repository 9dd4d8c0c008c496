"""The HTTP/JSON API, for curl and for every other language (docs/reference/http-api.md)."""

from collections.abc import Awaitable
from typing import Final

from tornado.web import Application, RequestHandler

from raftq.protocol import limits
from raftq.protocol.calls import Call, ClusterCall, LeaseCall, QueueCall
from raftq.protocol.commands import Ack, Enqueue, Extend, Fail, FailItem, Requeue, RequeueItem
from raftq.protocol.errors import (
    LeaseLost,
    NotReady,
    RaftqError,
    TaskCancelled,
    UnknownMethod,
    error_from_code,
)
from raftq.protocol.fields import Token
from raftq.protocol.replies import Enqueued, Leased, Settled
from raftq.protocol.statuses import ClusterStatus, QueueStatus
from raftq.server import http_answers as answers
from raftq.server import http_bodies as bodies
from raftq.server import metrics as metric_pages
from raftq.server.control.queues import (
    PurgeHandler,
    QueueSettingsHandler,
    QueuesHandler,
    SweepsHandler,
)
from raftq.server.control.settings import (
    LimitHandler,
    LimitsHandler,
    QuotaHandler,
    ScheduleHandler,
    SchedulesHandler,
)
from raftq.server.control.tasks import (
    ResultHandler,
    TaskActionHandler,
    TaskHandler,
    TaskListHandler,
    WhyHandler,
)
from raftq.server.events.http import EventSocketHandler, EventStreamHandler
from raftq.server.http_backup import BackupHandler
from raftq.server.http_handler import Handler, HttpContext, path_queue, whole_number
from raftq.server.http_members import MemberHandler, MembersHandler, TransferLeaderHandler
from raftq.server.openapi import document

MISDIRECTED: Final = "there is no such path; /v1/openapi.json lists them"


class TasksHandler(Handler):
    """POST /v1/queues/{queue}/tasks."""

    op = "enqueue"

    async def post(self, queue: str) -> None:
        """Enqueue tasks, all or none."""
        name = path_queue(queue)
        body = self.body(bodies.EnqueueBody)
        tasks = [bodies.new_task(task, self.context.new_id) for task in body.tasks]
        reply = await self.execute(Enqueue(name, tasks), body.timeout_ms)
        assert isinstance(reply, Enqueued)
        self.reply(answers.enqueued_answer(reply), status=201)


class LeasesHandler(Handler):
    """POST /v1/queues/{queue}/leases."""

    op = "lease"

    async def post(self, queue: str) -> None:
        """Lease tasks, waiting for them if asked to."""
        name = path_queue(queue)
        body = self.body(bodies.LeaseBody)
        request_id = body.request_id or self.context.new_id().hex()
        call = LeaseCall([name], body.count, body.lease_ms, body.worker, request_id, body.wait_ms)
        reply = await self.execute(call, body.timeout_ms, body.wait_ms)
        assert isinstance(reply, Leased)
        self.reply(answers.leases_answer(reply))


class SettleHandler(Handler):
    """POST /v1/leases/{token}/{ack,fail,requeue,extend}."""

    async def post(self, token: str, action: str) -> None:
        """Settle or extend one lease."""
        self.op = action
        number = whole_number(token, Token, "token")
        call: Call
        match action:
            case "ack":
                ack = self.body(bodies.AckBody)
                call = Ack([bodies.ack_item(number, ack, self.context.new_id)])
                timeout_ms = ack.timeout_ms
            case "fail":
                fail = self.body(bodies.FailBody)
                item = FailItem(number, fail.error, fail.delay_ms, fail.is_final, fail.is_crash)
                call, timeout_ms = Fail([item]), fail.timeout_ms
            case "requeue":
                requeue = self.body(bodies.RequeueBody)
                call = Requeue([RequeueItem(number, requeue.delay_ms)])
                timeout_ms = requeue.timeout_ms
            case _:
                extend = self.body(bodies.ExtendBody)
                call = Extend([bodies.extend_item(number, extend)])
                timeout_ms = extend.timeout_ms
        reply = await self.execute(call, timeout_ms)
        assert isinstance(reply, Settled)
        settled = reply.items[0]
        if settled.error_code or settled.state is None:
            raise _refusal(number, settled.error_code)
        self.reply(answers.SettledAnswer(settled.state))


def _refusal(token: int, code: str) -> RaftqError:
    """Return the error of a lease that could not be settled or extended."""
    match code:
        case LeaseLost.code:
            text = f"the lease {token} is over or was never granted; its task is not yours any more"
        case TaskCancelled.code:
            text = "the task was cancelled: stop working on it; its result is refused"
        case _:
            text = f"the follow-ups are refused; nothing happened, and the lease {token} is held on"
    return error_from_code(code, text, {})


class QueueHandler(Handler):
    """GET /v1/queues/{queue}."""

    op = "queue"
    parameters = frozenset({"consistency", "timeout_ms"})

    async def get(self, queue: str) -> None:
        """Return the counts of a queue."""
        name = path_queue(queue)
        call = QueueCall(name, self.query_consistency())
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, QueueStatus)
        self.reply(answers.queue_answer(reply))


class ClusterHandler(Handler):
    """GET /v1/cluster."""

    op = "cluster"

    async def get(self) -> None:
        """Return what this node knows about the cluster."""
        reply = await self.execute(ClusterCall(), limits.TIMEOUT_MS_DEFAULT)
        assert isinstance(reply, ClusterStatus)
        self.reply(answers.cluster_answer(reply))


class LiveHandler(Handler):
    """GET /livez."""

    op = "livez"
    parameters = None

    def get(self) -> None:
        """Say that the event loop answers."""
        self.reply(answers.LiveAnswer())


class ReadyHandler(Handler):
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


class MetricsHandler(Handler):
    """GET /metrics."""

    op = "metrics"
    parameters = None

    def get(self) -> None:
        """Return Prometheus' text format."""
        self.set_header("Content-Type", metric_pages.CONTENT_TYPE)
        self.count("ok")
        self.end(self.context.metrics.page())


class OpenApiHandler(Handler):
    """GET /v1/openapi.json."""

    op = "openapi"

    def get(self) -> None:
        """Return the API's description."""
        self.reply(document(self.context.version))


class UnknownHandler(Handler):
    """Everything else."""

    def prepare(self) -> Awaitable[None] | None:
        """Refuse, whatever the method."""
        raise UnknownMethod(MISDIRECTED)


ROUTES: Final[tuple[tuple[str, type[RequestHandler]], ...]] = (
    (r"/v1/queues/([^/]+)/tasks", TasksHandler),
    (r"/v1/queues/([^/]+)/leases", LeasesHandler),
    (r"/v1/leases/([^/]+)/(ack|fail|requeue|extend)", SettleHandler),
    (r"/v1/tasks", TaskListHandler),
    (r"/v1/tasks/([^/]+)", TaskHandler),
    (r"/v1/tasks/([^/]+)/(cancel|confirm)", TaskActionHandler),
    (r"/v1/tasks/([^/]+)/result", ResultHandler),
    (r"/v1/tasks/([^/]+)/why", WhyHandler),
    (r"/v1/sweeps", SweepsHandler),
    (r"/v1/queues", QueuesHandler),
    (r"/v1/queues/([^/]+)", QueueHandler),
    (r"/v1/queues/([^/]+)/settings", QueueSettingsHandler),
    (r"/v1/queues/([^/]+)/purge", PurgeHandler),
    (r"/v1/limits", LimitsHandler),
    (r"/v1/limits/([^/]+)", LimitHandler),
    (r"/v1/quota", QuotaHandler),
    (r"/v1/schedules", SchedulesHandler),
    (r"/v1/schedules/([^/]+)", ScheduleHandler),
    (r"/v1/cluster", ClusterHandler),
    (r"/v1/cluster/members", MembersHandler),
    (r"/v1/cluster/members/([^/]+)", MemberHandler),
    (r"/v1/cluster/transfer-leader", TransferLeaderHandler),
    (r"/v1/events", EventStreamHandler),
    (r"/v1/events/ws", EventSocketHandler),
    (r"/v1/backup", BackupHandler),
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
