"""Queues over HTTP: all of them, their settings, and sweeps over their tasks."""

from typing import Final

from raftq.protocol.calls import QueueCall, QueuesCall, TasksCall
from raftq.protocol.control import SetQueue, Sweep
from raftq.protocol.fields import NAME_PATTERN, QueueName, SweepAction
from raftq.protocol.options import QueueChanges, TaskFilter
from raftq.protocol.replies import Done, Swept
from raftq.protocol.statuses import QueueList, QueueStatus, TaskPage
from raftq.server import http_answers as answers
from raftq.server.control import answers as control_answers
from raftq.server.control.bodies import PurgeBody, SweepBody
from raftq.server.control.filters import PURGED, filter_of_sweep
from raftq.server.http_handler import Handler, by_method, path_queue

_READ: Final = frozenset({"consistency", "timeout_ms"})


class QueuesHandler(Handler):
    """GET /v1/queues."""

    op = "queues"
    parameters = _READ | {"after_name"}

    async def get(self) -> None:
        """Return the queues behind one, or the first."""
        after = self.query_word("after_name", QueueName, f"match {NAME_PATTERN}")
        call = QueuesCall(self.query_consistency(), after)
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, QueueList)
        shown = [answers.queue_answer(each) for each in reply.queues]
        self.reply(control_answers.QueuesAnswer(shown, reply.next_after))


class QueueSettingsHandler(Handler):
    """GET and PATCH /v1/queues/{queue}/settings."""

    op = "queue"
    parameters_of = by_method(GET=_READ, PATCH=frozenset({"timeout_ms"}))

    async def get(self, queue: str) -> None:
        """Return the settings that are not the defaults."""
        call = QueueCall(path_queue(queue), self.query_consistency())
        reply = await self.execute(call, self.query_timeout_ms())
        assert isinstance(reply, QueueStatus)
        self.reply(reply.settings)

    async def patch(self, queue: str) -> None:
        """Change settings; those that are left out stay."""
        self.op = "set_queue"
        name = path_queue(queue)
        changes = self.body(QueueChanges)
        reply = await self.execute(SetQueue(name, changes), self.query_timeout_ms())
        assert isinstance(reply, Done)
        self.reply(control_answers.changed_answer(reply))


class _SweepingHandler(Handler):
    """Answers with what a sweep did, or with what it would find."""

    op = "sweep"

    async def sweep(self, sweep: Sweep, *, dry_run: bool, timeout_ms: int) -> None:
        """Execute a sweep and answer."""
        if dry_run:
            await self._count(sweep, timeout_ms)
            return
        reply = await self.execute(sweep, timeout_ms)
        assert isinstance(reply, Swept)
        self.reply(control_answers.swept_answer(reply))

    async def _count(self, sweep: Sweep, timeout_ms: int) -> None:
        wanted = filter_of_sweep(sweep.action, sweep.filter)
        if wanted is None:
            self.reply(control_answers.SweptAnswer(0, None, None, None))
            return
        reply = await self.execute(TasksCall(wanted, sweep.after, 0), timeout_ms)
        assert isinstance(reply, TaskPage)
        self.reply(control_answers.SweptAnswer(reply.matched, reply.next_after, None, None))


class SweepsHandler(_SweepingHandler):
    """POST /v1/sweeps."""

    async def post(self) -> None:
        """Do one thing with many tasks."""
        body = self.body(SweepBody)
        sweep = Sweep(
            body.action, body.filter, body.after, body.until, body.tasks_max, body.to_queue
        )
        await self.sweep(sweep, dry_run=body.dry_run, timeout_ms=body.timeout_ms)


class PurgeHandler(_SweepingHandler):
    """POST /v1/queues/{queue}/purge."""

    async def post(self, queue: str) -> None:
        """Cancel the tasks of a queue that have not begun."""
        wanted = TaskFilter(queue=path_queue(queue), states=PURGED)
        body = self.body(PurgeBody)
        sweep = Sweep(SweepAction.CANCEL, wanted, body.after, body.until, body.tasks_max)
        await self.sweep(sweep, dry_run=body.dry_run, timeout_ms=body.timeout_ms)
