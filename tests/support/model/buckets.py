"""A token bucket in exact fractions."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from raftq.protocol.options import Rate


@dataclass
class SlowBucket:
    """Tokens that come one by one, evenly; without a rate there are always enough."""

    rate: Rate | None = None
    tokens: Fraction = Fraction(0)
    """Below 0 a debt: what passes always may take more than there is."""
    at_ms: int = 0

    def set_rate(self, rate: Rate | None, now_ms: int) -> None:
        """Go on at another rate with what is there, but for parts that the new rate does not know;
        one that had no rate is full."""
        if rate is not None and rate != self.rate:
            level = Fraction(rate.burst) if self.rate is None else self.level(now_ms)
            parts = floor(level * rate.per_ms)
            self.tokens = min(Fraction(parts, rate.per_ms), _most(rate))
            self.at_ms = now_ms
        self.rate = rate

    def level(self, now_ms: int) -> Fraction:
        """Return the tokens that are there, of one that has a rate."""
        assert self.rate is not None
        come = Fraction(self.rate.count * (now_ms - self.at_ms), self.rate.per_ms)
        return min(_most(self.rate), self.tokens + come)

    def whole(self, now_ms: int) -> int | None:
        """Return how many may start now; None means any number."""
        return None if self.rate is None else max(0, floor(self.level(now_ms)))

    def take(self, count: int, now_ms: int) -> None:
        """Take tokens out."""
        if self.rate is not None:
            self.tokens = self.level(now_ms) - count
            self.at_ms = now_ms

    def wait_ms(self, count: int, now_ms: int) -> int:
        """Return how long it takes until so many are let pass: they are there, or it is full."""
        if self.rate is None:
            return 0
        missing = min(count, self.rate.burst) - self.level(now_ms)
        return max(0, ceil(missing * self.rate.per_ms / self.rate.count))


def _most(rate: Rate) -> Fraction:
    """Return how much is kept: the burst, and what comes between two whole milliseconds."""
    return rate.burst + Fraction(rate.count - 1, rate.per_ms)
