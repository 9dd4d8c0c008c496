"""Instants and ages as people write and read them."""

import time
from datetime import datetime, timedelta
from typing import Final

from raftq.client.durations import seconds
from raftq.protocol.errors import InvalidRequest

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def read_instant(text: str) -> datetime:
    """Return an instant written like `2026-12-24T18:00` or `2026-12-24T18:00+01:00`.

    Without an offset it is local time.

    Raises:
        InvalidRequest: It is not written like an instant.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidRequest(
            f"{text!r} is no instant; write it like '2026-12-24T18:00', which is local time, or "
            "with an offset like '2026-12-24T18:00+01:00'"
        ) from None
    return found.astimezone() if found.tzinfo is None else found


def read_past(text: str) -> datetime:
    """Return an instant in the past: a duration, like `1h` for an hour ago, or an instant.

    Raises:
        InvalidRequest: It is neither.
    """
    try:
        ago = seconds(text)
    except InvalidRequest:
        try:
            return read_instant(text)
        except InvalidRequest as error:
            raise InvalidRequest(f"{error.message}; or how long ago, like '1h'") from None
    return datetime.now().astimezone() - timedelta(seconds=ago)


def now_ms() -> int:
    """Return this machine's wall clock."""
    return time.time_ns() // 1_000_000


def span(milliseconds: int) -> str:
    """Return how long something takes, in at most two units: `950ms`, `12s`, `3m 20s`, `2d 1h`."""
    if 0 < milliseconds < 1_000:
        return f"{milliseconds}ms"
    left = max(milliseconds, 0) // 1_000
    parts: list[str] = []
    for size, unit in _UNITS:
        if left >= size or parts:
            count, left = divmod(left, size)
            parts.append(f"{count}{unit}")
    return " ".join(part for part in parts[:2] if part[0] != "0") or "0s"


def duration(milliseconds: int) -> str:
    """Return a setting's duration as it is written on the command line: `90s`, `500ms`, `1h`."""
    for size, unit in _UNITS:
        if milliseconds and milliseconds % (size * 1_000) == 0:
            return f"{milliseconds // (size * 1_000)}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0"


def short_instant(at_ms: int) -> str:
    """Return an instant in local time."""
    return datetime.fromtimestamp(at_ms / 1_000).astimezone().isoformat(" ", "seconds")


def instant(at_ms: int, now: int) -> str:
    """Return an instant in local time, and how far from now it is."""
    when = f"in {span(at_ms - now)}" if at_ms > now else f"{span(now - at_ms)} ago"
    return f"{short_instant(at_ms)} ({when})"
