"""Misspelt keywords are refused with the nearest that there is."""

import difflib
from collections.abc import Iterable

from raftq.protocol.errors import InvalidRequest


def refuse_unknown(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise InvalidRequest with a suggestion if a keyword is none of those that are known."""
    names = sorted(known)
    for keyword in given:
        if keyword not in names:
            raise InvalidRequest(
                f"{where} has no option {keyword!r}{did_you_mean(keyword, names)}; "
                f"there are {', '.join(names)}"
            )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean …?)`, or nothing if no known name is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
