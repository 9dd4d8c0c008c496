"""Durations as people write them: `30`, `"500ms"`, `"30s"`, `"5m"`, `"2h"`, `"1d"`, timedelta."""

import math
import re
from datetime import timedelta
from typing import Final, TypeAlias

from raftq.protocol.errors import InvalidRequest

Duration: TypeAlias = float | str | timedelta
"""Seconds as a number, a number with a unit, or a timedelta."""

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PATTERN: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)?\Z")


def seconds(duration: Duration) -> float:
    """Return a duration in seconds.

    Raises:
        InvalidRequest: It is negative, not finite, or not written like a duration.
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, str):
        match = _PATTERN.match(duration.strip())
        if match is None:
            raise InvalidRequest(
                f"{duration!r} is no duration; write a number with ms, s, m, h or d, like '30s'"
            )
        value = float(match[1]) * _UNITS[match[2] or "s"]
    else:
        value = float(duration)
    if value < 0 or not math.isfinite(value):
        raise InvalidRequest(f"{duration!r} is no duration; it must be finite and not negative")
    return value


def milliseconds(duration: Duration) -> int:
    """Return a duration in whole milliseconds, rounded up."""
    if type(duration) is int and duration >= 0:
        return 1_000 * duration
    # Rounded first: 0.29 s is 290 ms and not, as floats have it, 290.00000000000006. Not to more
    # digits: those of a year are exact to some millionths of a millisecond only.
    return math.ceil(round(seconds(duration) * 1_000, 4))
