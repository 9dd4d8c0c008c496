"""Events: what became of each task, as a subscriber asks for it and is told.

A subscription is no call: it lives on the connection that it was made on, is answered by the node
at the other end, and is never forwarded. Every node tells the same events with the same positions,
so a subscriber can go on at any node from where it was.
"""

import re
from typing import Annotated, Final, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import Count, Index, QueueName, TaskId, TaskState, TimeoutMs

SUBSCRIBE: Final = "subscribe"
UNSUBSCRIBE: Final = "unsubscribe"
EVENT: Final = "event"
EVENT_MARK: Final = "event_mark"
EVENTS_END: Final = "events_end"

WHOLE: Final = 2**62
"""More events than any entry has."""
_INTEGER_MAX: Final = 2**63 - 1
_POSITION: Final = re.compile("([0-9]{1,19})(?:-([0-9]{1,16}))?")
PositionText: TypeAlias = Annotated[str, Meta(pattern=f"^{_POSITION.pattern}$")]


class Position(NamedTuple):
    """How far a subscriber is: it knows all entries before `log_index`, and the first `seen`
    events of that one. Greater means further."""

    log_index: int
    seen: int = WHOLE

    @classmethod
    def after(cls, index: int, number: int | None = None) -> "Position":
        """Return the position behind an entry, or behind one event of it, counted from 0."""
        return cls(index, WHOLE if number is None else number + 1)

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return the position that a text like `17` or `17-3` stands for.

        Raises:
            InvalidRequest: It stands for none.
        """
        match = _POSITION.fullmatch(text)
        if match is None or int(match[1]) > _INTEGER_MAX:
            raise InvalidRequest(
                f"{text!r:.60} is no position; write the index of a log entry, like 17, or of one "
                "event of it, like 17-3"
            )
        return cls.after(int(match[1]), None if match[2] is None else int(match[2]))

    @property
    def number(self) -> int | None:
        """The newest event seen of the entry, counted from 0; None for all of it."""
        return None if self.seen == WHOLE else self.seen - 1

    @property
    def text(self) -> str:
        """`17` behind a whole entry, `17-3` behind the event of number 3 in it."""
        return str(self.log_index) if self.seen == WHOLE else f"{self.log_index}-{self.seen - 1}"


class Subscribe(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Ask for the events to come, or for those after a position; `Subscribed` answers.

    `subscription` is the client's number for it, unique on its connection. An event must match
    everything that is given.
    """

    timeout_ms: TimeoutMs
    subscription: Annotated[int, Meta(ge=0, le=_INTEGER_MAX)]
    queue: QueueName | None = None
    states: Annotated[list[TaskState], Meta(max_length=len(TaskState))] = []
    """No state means all."""
    task_id: TaskId | None = None
    after_index: Index | None = None
    """Begin behind this log entry; None means now."""
    after_number: Count | None = None
    """Begin behind this event of the entry, counted from 0; None means behind all of it."""


class Unsubscribe(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """End a subscription; `Done` answers."""

    timeout_ms: TimeoutMs
    subscription: Annotated[int, Meta(ge=0, le=_INTEGER_MAX)]


class Subscribed(Struct, array_like=True, frozen=True, tag=120):
    """Answers `Subscribe`: the position behind which the subscription begins."""

    index: int
    number: int | None = None


class TaskEvent(Struct, array_like=True, frozen=True, gc=False):
    """A task came into a state."""

    index: int
    """Of the log entry that caused it."""
    number: int
    """Among the events of that entry, from 0."""
    at_ms: int
    """Wall time of the cluster, milliseconds since 1970."""
    task_id: bytes
    queue: str
    state: TaskState

    @property
    def position(self) -> Position:
        """Behind this event."""
        return Position(self.index, self.number + 1)
