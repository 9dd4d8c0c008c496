"""Applied entries with the events that a test wants."""

from raftq.core.applied import Applied, Event
from raftq.protocol.messages import TaskState

READY, LEASED, DONE = TaskState.READY, TaskState.LEASED, TaskState.DONE


def numbered(*numbers: int) -> list[bytes]:
    """Return task ids by number."""
    return [number.to_bytes(16) for number in numbers]


def applied(index: int, *events: tuple[TaskState, str, list[bytes]]) -> Applied:
    """Return what the entry of a log index did."""
    return Applied(index=index, wall_at_ms=1_000 * index, events=[Event(*each) for each in events])
