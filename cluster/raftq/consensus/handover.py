"""Leadership transfer: let the log come to rest, then ask the best follower to take over.

Source: Raft dissertation 3.10. Proposals are refused meanwhile, so nothing is in flight when the
follower's election begins.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

_POLL_SECONDS = 0.005
_ASK_AGAIN_SECONDS = 0.25
_ALONE_SECONDS = 1.0
"""How long a majority may be out of reach before the handover is given up: nobody could win."""


class Leading(Protocol):
    """What the handover needs of the replica that leads."""

    def proposals_are_idle(self) -> bool: ...
    def follows_another(self) -> bool:
        """Whether another member leads, as far as this one knows."""
        ...

    def followers_matched(self) -> Mapping[str, int]:
        """Return the highest acknowledged index of each follower that can be reached."""
        ...

    def last_index(self) -> int: ...
    def has_quorum(self) -> bool:
        """Whether this member reaches a majority, itself included."""
        ...

    def ask_to_lead(self, peer: str) -> bool: ...
    def now(self) -> float: ...


async def hand_over(leading: Leading, deadline: float, to: str | None = None) -> None:
    """Hand leadership to a follower, or to the one that is furthest along; return when another
    one leads.

    Returns at the deadline too, or when a majority stays out of reach, with leadership kept: the
    caller looks who leads.
    """
    ask_again_at = 0.0
    quorum_seen_at = leading.now()
    while not leading.follows_another() and leading.now() < deadline:
        if leading.has_quorum():
            quorum_seen_at = leading.now()
        elif leading.now() - quorum_seen_at > _ALONE_SECONDS:
            return
        matched = leading.followers_matched()
        if to is not None:
            matched = {peer: index for peer, index in matched.items() if peer == to}
        best = max(matched, key=lambda peer: matched[peer], default=None)
        is_level = best is not None and matched[best] == leading.last_index()
        is_ready = is_level and leading.proposals_are_idle() and leading.now() >= ask_again_at
        if best is not None and is_ready:
            leading.ask_to_lead(best)
            ask_again_at = leading.now() + _ASK_AGAIN_SECONDS
        await asyncio.sleep(_POLL_SECONDS)
