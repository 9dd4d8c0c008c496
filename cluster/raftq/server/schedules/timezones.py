"""Time zones by the names that the IANA gives them."""

from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from raftq.protocol.errors import InvalidRequest

_OF_THIS_MACHINE: Final = "localtime"
"""Another zone on every machine, so that ticks would depend on who leads."""


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - {_OF_THIS_MACHINE})


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        InvalidRequest: There is none of that name; the message has those that are most alike.
    """
    # Not by trying to open it: names like right/Europe/Berlin open files that count leap seconds.
    if name in _names():
        return ZoneInfo(name)
    raise InvalidRequest(f"timezone: {name!r:.80} is no time zone of the IANA; {_advice(name)}")


def _advice(name: str) -> str:
    """Return what may have been meant: a name is often written without its region, or in small
    letters."""
    plain = {_plain(each): each for each in sorted(_names())}
    cities: dict[str, list[str]] = {}
    for each, full in plain.items():
        cities.setdefault(each.rsplit("/", 1)[-1], []).append(full)
    wanted = _plain(name)
    if wanted in plain:
        return f"write {plain[wanted]!r}"
    alike = cities.get(wanted.rsplit("/", 1)[-1], [])
    alike = alike or [plain[each] for each in get_close_matches(wanted, plain, 3)]
    for each in [] if alike else get_close_matches(wanted.rsplit("/", 1)[-1], cities, 3):
        alike += cities[each]
    return f"did you mean {', '.join(alike[:3])}?" if alike else "write one like 'Europe/Berlin'"


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")
