"""How far a node's machine may be behind, by what its leaders told it."""

from collections.abc import Callable


class Freshness:
    """Remembers when this node last knew that it lacked nothing.

    A message of a leader tells its commit index; once the machine has applied as much, the node is
    known to have been up to date when that message came. The time that the message travelled is
    not known here and not counted.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._messages = 0
        self._heard_at = 0.0
        self._current_at: float | None = None

    def look(self, *, leads: bool, messages: int, commit_index: int, applied_index: int) -> None:
        """Take note of what is known now; to be called after each batch of messages.

        Args:
            leads: Whether this node leads.
            messages: How many of leaders' messages told a commit index so far.
            commit_index: The one told last.
            applied_index: What this node has applied.
        """
        if leads:
            self._current_at = self._clock()
            return
        if messages != self._messages:
            self._messages = messages
            self._heard_at = self._clock()
        if self._messages and applied_index >= commit_index:
            self._current_at = self._heard_at

    @property
    def lag_ms(self) -> int | None:
        """Milliseconds since this node last knew that it was up to date; None if it never did."""
        if self._current_at is None:
            return None
        return max(int((self._clock() - self._current_at) * 1_000), 0)
