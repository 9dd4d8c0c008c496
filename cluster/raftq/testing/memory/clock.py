"""A clock that stands still until it is told to go on."""

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """The time of a broker in memory; `MemoryBroker.advance` moves it, nobody else.

    Args:
        start_at_ms: Wall time at first, milliseconds since 1970.
    """

    def __init__(self, start_at_ms: int) -> None:
        self._start_at_ms = start_at_ms
        self._now_at_ms = start_at_ms

    def __repr__(self) -> str:
        return f"<VirtualClock {self.now.isoformat()}, {self.elapsed} after its start>"

    @property
    def wall_ms(self) -> int:
        """Wall time, milliseconds since 1970."""
        return self._now_at_ms

    @property
    def now(self) -> datetime:
        """Wall time in UTC."""
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=self._now_at_ms)

    @property
    def elapsed(self) -> timedelta:
        """How far the clock was moved since its start."""
        return timedelta(milliseconds=self._now_at_ms - self._start_at_ms)

    def move(self, by_ms: int) -> None:
        """Go on by some milliseconds; only for the broker, which lets happen what falls due."""
        assert by_ms >= 0, "time does not go back"
        self._now_at_ms += by_ms
