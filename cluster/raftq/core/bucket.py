"""A token bucket in whole numbers: it is exact, however often and however finely time passes.

The level is counted in parts of a token, `per_ms` parts each: `count` parts come in a millisecond.
So no division ever rounds anything away.
"""

from raftq.protocol.options import Rate


class Bucket:
    """How much of a rate may be used now.

    A bucket holds `burst` tokens, and what comes in less than a millisecond: else a token that is
    taken at the first whole millisecond after it came would cost the part that came since, and the
    rate would not be reached. So in any T milliseconds at most `burst + count * T / per_ms` single
    tokens (rounded down) can be taken. Taking many at once may leave a debt, which is paid before
    there is a token again.

    Args:
        level: In parts of a token; below 0 a debt.
        at_ms: When it was that much. Time never goes back.
    """

    __slots__ = ("at_ms", "level")

    def __init__(self, level: int, at_ms: int) -> None:
        self.level = level
        self.at_ms = at_ms

    @classmethod
    def full(cls, rate: Rate, now_ms: int) -> "Bucket":
        """Return a bucket that nothing was taken from."""
        return cls(rate.burst * rate.per_ms, now_ms)

    def _level_at(self, rate: Rate, now_ms: int) -> int:
        level = self.level + max(0, now_ms - self.at_ms) * rate.count
        return min(level, _capacity(rate))

    def tokens(self, rate: Rate, now_ms: int) -> int:
        """Return how many tokens are there."""
        return max(0, self._level_at(rate, now_ms) // rate.per_ms)

    def admits(self, rate: Rate, now_ms: int, n: int = 1) -> bool:
        """Tell whether n tokens may be taken at once: they are there, or the bucket is full.

        Otherwise more than `burst` could never be had at once, a large enqueue for example.
        """
        return self._level_at(rate, now_ms) >= min(n, rate.burst) * rate.per_ms

    def take(self, rate: Rate, now_ms: int, n: int = 1) -> None:
        """Take n tokens, which the bucket admits."""
        assert self.admits(rate, now_ms, n), "more tokens are taken than there are"
        self.level = self._level_at(rate, now_ms) - n * rate.per_ms
        self.at_ms = max(self.at_ms, now_ms)

    def next_ms(self, rate: Rate, now_ms: int, n: int = 1) -> int:
        """Return the first instant from now on at which n tokens are admitted."""
        missing = min(n, rate.burst) * rate.per_ms - self.level
        return max(now_ms, self.at_ms - (-missing // rate.count))

    def change(self, old: Rate, new: Rate, now_ms: int) -> None:
        """Go over to another rate, with what is there: at most the new burst.

        The part of a token that the new rate cannot express is lost, less than one part.
        """
        level = self._level_at(old, now_ms) * new.per_ms // old.per_ms
        self.level = min(level, _capacity(new))
        self.at_ms = max(self.at_ms, now_ms)


def _capacity(rate: Rate) -> int:
    return rate.burst * rate.per_ms + rate.count - 1


def bucket_of(
    bucket: Bucket | None, old: Rate | None, new: Rate | None, now_ms: int
) -> Bucket | None:
    """Return the bucket that goes on when a rate is set, changed or removed.

    Args:
        bucket: That of the old rate.
        old: None means that there was none.
        new: None means that there is none from now on.
        now_ms: Wall time.
    """
    if new is None:
        return None
    if bucket is None or old is None:
        return Bucket.full(new, now_ms)
    if old != new:
        bucket.change(old, new, now_ms)
    return bucket
