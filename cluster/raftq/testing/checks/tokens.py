"""The sequence of fencing tokens, and where an unseen lease may hide in it.

Tokens are integers that grow in the order of the log. A lease that no client saw, because its
reply was lost, has a token that is missing from those seen. Where none is missing, none was
granted: that is what turns "x was waiting" from a guess into knowledge, however many replies were
lost elsewhere.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate
from math import inf


class TokenLine:
    """All tokens that clients saw.

    Args:
        seen: (token, earliest instant of its grant, instant by which it was granted).
    """

    def __init__(self, seen: Iterable[tuple[int, float, float]]) -> None:
        tokens = list(seen)
        self._tokens = sorted(token for token, _, _ in tokens)
        known = sorted((known_by_ms, token) for token, _, known_by_ms in tokens)
        self._known_by = [at_ms for at_ms, _ in known]
        self._floors = list(accumulate((token for _, token in known), max))
        granted = sorted((from_ms, token) for token, from_ms, _ in tokens)
        self._granted_from = [at_ms for at_ms, _ in granted]
        self._ceilings = list(accumulate((token for _, token in reversed(granted)), min))[::-1]

    def floor(self, at_ms: float) -> int:
        """Return the greatest token that was certainly granted before an instant, or 0."""
        place = bisect_left(self._known_by, at_ms)
        return self._floors[place - 1] if place else 0

    def ceiling(self, at_ms: float) -> float:
        """Return the least token that was certainly granted after an instant, or infinity."""
        place = bisect_right(self._granted_from, at_ms)
        return self._ceilings[place] if place < len(self._ceilings) else inf

    def may_hide_one(self, above: int, below: float) -> bool:
        """Return whether a token strictly between two others was not seen."""
        if below == inf:
            return True
        seen = bisect_left(self._tokens, below) - bisect_right(self._tokens, above)
        return seen < below - above - 1
