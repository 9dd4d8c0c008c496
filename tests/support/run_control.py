"""A run's moving parts, in the open."""

from collections.abc import Sequence

from raftq.protocol.options import NewTask


class Control:
    """What a context can ask of its executor; each attribute shows what was asked."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.is_lost = False
        self.is_cancelled = False
        self.told: list[bytes] = []
        self.follow_ups: list[tuple[str, NewTask]] = []

    def extend(self, seconds: float) -> None:
        """Move the deadline."""
        self.deadline = seconds

    def tell(self, progress: bytes) -> None:
        """Take note of the progress."""
        self.told.append(progress)

    def follow_up(self, tasks: Sequence[tuple[str, NewTask]]) -> None:
        """Take note of what is to follow."""
        self.follow_ups += tasks
