"""Tasks over HTTP: many of them, and what can be asked of and done with one."""

from typing import Final

from raftq.protocol.calls import Call, ResultCall, TaskCall, TasksCall, WhyCall
from raftq.protocol.commands import EnqueueParts
from raftq.protocol.control import Cancel, Confirm, Edit
from raftq.protocol.errors import RaftqError, error_from_code
from raftq.protocol.fields import Index, WaitMs
from raftq.protocol.replies import Enqueued, Settled, SettledTask
from raftq.protocol.statuses import TaskPage, TaskStatus, Why
from raftq.server import http_answers as answers
from raftq.server import http_bodies as bodies
from raftq.server.control import answers as control_answers
from raftq.server.control.bodies import EditBody, EmptyBody
from raftq.server.control.filters import FILTER_PARAMETERS, filter_of_query
from raftq.server.http_handler import Handler, by_method, path_task_id

_READ: Final = frozenset({"consistency", "timeout_ms"})
_COUNT_DEFAULT: Final = 100
_TEXTS: Final = {
    "unknown_task": "there is no such task, or it finished long ago and was forgotten",
    "conflict": "this cannot be done with a task that is {state}",
}


class _ChangingHandler(Handler):
    """Answers with the state that one task has now."""

    async def change(self, call: Call, timeout_ms: int) -> None:
        """Execute a call about one task and answer."""
        reply = await self.execute(call, timeout_ms)
        assert isinstance(reply, Settled)
        settled = reply.items[0]
        if settled.error_code or settled.state is None:
            raise _refusal(settled)
        self.reply(control_answers.ChangedTaskAnswer(settled.state, reply.index))


class TaskListHandler(Handler):
    """GET and POST /v1/tasks."""

    op = "tasks"
    parameters_of = by_method(GET=_READ | {"after", "count_max"} | FILTER_PARAMETERS.keys())

    async def get(self) -> None:
        """List tasks that match the query string."""
        given = {name: self.get_query_arguments(name) for name in FILTER_PARAMETERS}
        call = TasksCall(
            filter_of_query(given),
            self.query_number("after", Index, 0),
            self.query_number("count_max", bodies.PageCount, _COUNT_DEFAULT),
            self.query_consistency(),
        )
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, TaskPage)
        self.reply(control_answers.tasks_answer(reply))

    async def post(self) -> None:
        """Enqueue tasks of several queues, all or none."""
        self.op = "enqueue_parts"
        body = self.body(bodies.EnqueuePartsBody)
        parts = [bodies.enqueue_part(part, self.context.new_id) for part in body.parts]
        reply = await self.execute(EnqueueParts(parts), body.timeout_ms)
        assert isinstance(reply, Enqueued)
        self.reply(answers.enqueued_answer(reply), status=201)


class TaskHandler(_ChangingHandler):
    """GET and PATCH /v1/tasks/{id}."""

    op = "task"
    parameters_of = by_method(GET=_READ | {"min_index"}, PATCH=frozenset({"timeout_ms"}))

    async def get(self, task_id: str) -> None:
        """Return one task."""
        id_ = path_task_id(task_id)
        call = TaskCall(id_, self.query_consistency(), self.query_number("min_index", Index, 0))
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, TaskStatus)
        self.reply(answers.task_answer(reply))

    async def patch(self, task_id: str) -> None:
        """Edit a task that waits."""
        self.op = "edit"
        id_ = path_task_id(task_id)
        body = self.body(EditBody)
        call = Edit(id_, body.delay_ms, body.not_before_at_ms, body.priority)
        await self.change(call, self.query_timeout_ms())


class TaskActionHandler(_ChangingHandler):
    """POST /v1/tasks/{id}/{cancel,confirm}."""

    async def post(self, task_id: str, action: str) -> None:
        """Cancel a task, or let a prepared one go on."""
        self.op = action
        id_ = path_task_id(task_id)
        body = self.body(EmptyBody)
        call = Cancel([id_]) if action == "cancel" else Confirm([id_])
        await self.change(call, body.timeout_ms)


class ResultHandler(Handler):
    """GET /v1/tasks/{id}/result."""

    op = "result"
    parameters = _READ | {"min_index", "wait_ms"}

    async def get(self, task_id: str) -> None:
        """Return one task, waiting for it to be over."""
        id_ = path_task_id(task_id)
        wait_ms = self.query_number("wait_ms", WaitMs, 0)
        min_index = self.query_number("min_index", Index, 0)
        call = ResultCall(id_, wait_ms, self.query_consistency(), min_index)
        reply = await self.execute(call, self.query_timeout_ms(), wait_ms)
        assert isinstance(reply, TaskStatus)
        self.reply(answers.task_answer(reply))


class WhyHandler(Handler):
    """GET /v1/tasks/{id}/why."""

    op = "why"
    parameters = _READ

    async def get(self, task_id: str) -> None:
        """Tell what holds a task back."""
        call = WhyCall(path_task_id(task_id), self.query_consistency())
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, Why)
        self.reply(control_answers.why_answer(reply))


def _refusal(settled: SettledTask) -> RaftqError:
    text = _TEXTS.get(settled.error_code, settled.error_code)
    if settled.state is None:
        return error_from_code(settled.error_code, text, {})
    facts = {"state": settled.state.value}
    return error_from_code(settled.error_code, text.format(state=settled.state.value), facts)
