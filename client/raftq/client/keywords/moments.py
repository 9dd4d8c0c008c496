"""Instants as people write them: a datetime with a time zone, or milliseconds since 1970."""

from datetime import datetime
from typing import TypeAlias

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest

Moment: TypeAlias = datetime | int
"""A datetime with a time zone, or milliseconds since 1970."""


def instant_ms(moment: Moment) -> int:
    """Return an instant in milliseconds since 1970.

    Raises:
        InvalidRequest: It has no time zone, or is before 1970.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise InvalidRequest(
                f"{moment} has no time zone; write for example datetime(…, tzinfo=UTC)"
            )
        value = round(moment.timestamp() * 1_000)
    else:
        value = moment
    if type(value) is not int or not 0 < value <= limits.INSTANT_MS_MAX:
        raise InvalidRequest(
            f"{moment!r} is no instant; write a datetime with a time zone, or milliseconds "
            "since 1970"
        )
    return value
