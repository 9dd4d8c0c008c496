"""Rates and backoffs as people write them: `"10/s"`, `"100/5m burst 20"`, `"5s"`."""

import re
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from raftq.client.durations import Duration, milliseconds
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import BackoffKind
from raftq.protocol.options import Backoff, Rate

RateText: TypeAlias = Rate | str
"""`Rate`, or text like `"10/s"`, `"100/5m"` and `"100/5m burst 20"`."""
BackoffText: TypeAlias = Backoff | Duration
"""`Backoff`, or the pause after the first failure, which then doubles."""
BackoffName: TypeAlias = BackoffKind | Literal["fixed", "linear", "exponential"]

_RATE: Final = re.compile(
    r"(?P<count>[0-9]+)\s*/\s*(?P<per>[0-9.]*\s*(?:ms|s|m|h|d))"
    r"(?:\s+burst\s+(?P<burst>[0-9]+))?\Z"
)


def rate_of(rate: RateText) -> Rate:
    """Return a rate.

    Raises:
        InvalidRequest: It is not written like one.
    """
    if isinstance(rate, Rate):
        return rate
    match = _RATE.match(rate.strip())
    if match is None:
        raise InvalidRequest(
            f"{rate!r} is no rate; write how many in what time, like '10/s', '100/5m' or "
            "'100/5m burst 20'"
        )
    per = match["per"].strip()
    per_ms = milliseconds(per if per[0].isdigit() else f"1{per}")
    return Rate(int(match["count"]), per_ms, int(match["burst"] or 1))


def backoff(
    base: Duration,
    kind: BackoffName = BackoffKind.EXPONENTIAL,
    *,
    max: Duration = timedelta(minutes=10),
    jitter_percent: int = 20,
) -> Backoff:
    """Return how the pauses before retries grow.

    Args:
        base: The pause after the first failure.
        kind: `fixed`: always the same; `linear`: base * n; `exponential`: doubled each time.
        max: The longest pause.
        jitter_percent: How much of a pause may be taken away, so that tasks which failed together
            do not come back together.

    Raises:
        InvalidRequest: There is no such kind.
    """
    try:
        known = BackoffKind(kind)
    except ValueError:
        kinds = ", ".join(BackoffKind)
        raise InvalidRequest(f"{kind!r} is no kind of backoff; there are {kinds}") from None
    return Backoff(milliseconds(base), known, milliseconds(max), jitter_percent)


def backoff_of(text: BackoffText) -> Backoff:
    """Return a backoff; of a duration, that which begins with it and doubles."""
    if isinstance(text, Backoff):
        return text
    base_ms = milliseconds(text)
    return Backoff(base_ms, max_ms=max(base_ms, Backoff().max_ms))
