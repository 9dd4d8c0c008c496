"""The part of the asyncio client that follows what becomes of tasks."""

from collections.abc import Sequence
from uuid import UUID

from raftq.client.durations import Duration, seconds
from raftq.client.events import Events, Follower, WantedEvents
from raftq.client.keywords.new_tasks import task_id as task_id_of
from raftq.client.parts.caller import Caller
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.events import Position
from raftq.protocol.fields import TaskState


class Following(Caller):
    """Follows events."""

    _follower: Follower | None = None

    def events(
        self,
        *,
        queue: str | None = None,
        states: Sequence[TaskState] = (),
        task_id: UUID | bytes | None = None,
        after_index: int | None = None,
        after_number: int | None = None,
        timeout: Duration | None = None,
    ) -> Events:
        """Return events to iterate over: each is a task that came into a state.

        They are followed from node to node: each is seen once and in order, whatever happens to
        single nodes. Each node keeps the newest only.

        Args:
            queue: Of this queue only.
            states: Of tasks that came into one of these states only; none means all.
            task_id: Of this task only.
            after_index: Behind this log index, `last_index` for example; from now on if None.
            after_number: Behind this event of that log entry, as `Events.position` has it.
            timeout: How long to look for a node before giving up, each time.

        Raises:
            InvalidRequest: This client has no cluster of nodes.
        """
        if self._follower is None:
            raise InvalidRequest("nobody tells events to this client; use one of a cluster")
        if after_index is None and after_number is not None:
            raise InvalidRequest("after_number needs after_index")
        wanted = WantedEvents(
            queue, tuple(states), None if task_id is None else task_id_of(task_id)
        )
        after = None if after_index is None else Position.after(after_index, after_number)
        limit = self._timeout if timeout is None else seconds(timeout)
        return self._follower.follow(wanted, after, limit)
