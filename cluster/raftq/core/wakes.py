"""Queues that must be looked at again at an instant, because their rate has a token by then."""

from heapq import heappop, heappush


class Wakes:
    """At most one instant for each name; the earliest counts."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, str]] = []
        self._at_ms: dict[str, int] = {}

    def arm(self, name: str, at_ms: int) -> None:
        """Wake a name at an instant, if it is not woken before."""
        known = self._at_ms.get(name)
        if known is None or at_ms < known:
            self._at_ms[name] = at_ms
            heappush(self.heap, (at_ms, name))

    def next_ms(self) -> int | None:
        """Return the earliest instant."""
        while self.heap and self._at_ms.get(self.heap[0][1]) != self.heap[0][0]:
            heappop(self.heap)
        return self.heap[0][0] if self.heap else None

    def pop_due(self, now_ms: int) -> str | None:
        """Remove and return a name whose instant has come, or None."""
        at_ms = self.next_ms()
        if at_ms is None or at_ms > now_ms:
            return None
        _, name = heappop(self.heap)
        del self._at_ms[name]
        return name

    def rows(self) -> list[tuple[str, int]]:
        """Return (name, instant), by name."""
        return sorted(self._at_ms.items())
