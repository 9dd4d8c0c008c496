"""The leader's two clocks, stamped into log entries; replicas read no clock of their own.

Lease time advances only while a leader leads, by its monotonic clock, at most `STEP_MAX_MS` for
each look at it (a paused leader loses no time that its workers did not have), and stands still for
`GRACE_MS` after a leader change, so that workers can find the new leader before their leases run
out.

Wall time is the median of the clocks of the leader and its voters, who tell theirs with each
heartbeat. One clock that is wrong by a day therefore moves nothing: as the leader's own it would
start delayed tasks a day early, and, since the machine never lets wall time go back, hold up
those that come after for a day. A leader proposes nothing before it has heard a majority's clocks.
The first leader of a new cluster, which no time reached so far can tell which of two clocks is
wrong, waits a little for the clocks of all.

A voter reads its clock somewhere between the heartbeat and the arrival of its reply, so it is known
only to within that round trip: each clock is an interval. As far as the intervals leave a choice,
the leader's own clock counts. If the arrival counted, a slow link would hold wall time back, and a
task that is delayed meanwhile would start early by as long as wall time jumps when the link, or the
leader, is another.

Wall time goes on by monotonic time while the median is behind what was reached: replies that were
late, or, of the two nodes that are left, one with a clock that is behind. If it stood still, a task
that is delayed meanwhile would start early, by as long as wall time jumps when it is right again.
Source: docs/decisions/0007-cluster-time.md.
"""

from collections.abc import Callable, Collection
from typing import Final

from raftq.protocol import limits

STEP_MAX_MS: Final = 200.0
"""The most that one look at the clock may add; looks are made every few tens of ms."""
CARRIED_PACE: Final = 0.99
"""How fast wall time goes on by monotonic time alone: a little slow, so that time that was too far
ahead is caught up with some day, and a clock that runs fast makes no task early."""
WRONG_BY_MS: Final = 1_000
"""Clocks that differ by more than this are not both right. Nor does a reply that took longer vouch
for a clock that is further ahead of it."""
GRACE_MS: Final = 2_000.0
FOUNDING_SECONDS: Final = 0.5
"""How long the first leader waits for the clocks that it has not heard, once it heard one."""


class LeaderClock:
    """Collects lease time between entries.

    Args:
        monotonic: Seconds of a clock that is not stepped.
        wall_ms: This node's wall clock, milliseconds since 1970.
        majority: Returns how many voters, this node included, are a majority.
        voters: Returns how many voters there are, this node included.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        wall_ms: Callable[[], int],
        majority: Callable[[], int],
        voters: Callable[[], int],
    ) -> None:
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        self._majority = majority
        self._voters = voters
        self._reached: tuple[int, float] | None = None
        """The newest wall time that was applied here, and when in milliseconds of this node."""
        self._heard: dict[str, tuple[float, float]] = {}
        """Of each voter, the least and the most that its wall clock can be, less this node's
        monotonic one, which nobody steps."""
        self._first_heard_at = 0.0
        self._looked_at: float | None = None
        self._grace_ms = 0.0
        self._pending_ms = 0.0

    def start(self) -> None:
        """Begin a leadership: the grace period starts now."""
        self._looked_at = self._monotonic()
        self._grace_ms = GRACE_MS
        self._pending_ms = 0.0

    def stop(self) -> None:
        """End a leadership: time that no entry carried is forgotten, leases live longer."""
        self._looked_at = None
        self._pending_ms = 0.0
        self._heard.clear()

    def look(self) -> None:
        """Add the time since the last look; to be called often while leading."""
        if self._looked_at is None:
            return
        now = self._monotonic()
        step_ms = min((now - self._looked_at) * 1_000, STEP_MAX_MS)
        self._looked_at = now
        in_grace_ms = min(step_ms, self._grace_ms)
        self._grace_ms -= in_grace_ms
        self._pending_ms += step_ms - in_grace_ms

    @property
    def pending_lease_ms(self) -> int:
        """Lease time that has passed and is in no entry yet."""
        return int(self._pending_ms)

    @property
    def own_wall_ms(self) -> int:
        """This node's wall clock, milliseconds since 1970."""
        return self._wall_ms()

    def heard(self, voter: str, wall_at_ms: int, round_trip_ms: float) -> None:
        """Note the wall clock that a voter told in a reply that arrived just now.

        Args:
            voter: Who told it.
            wall_at_ms: What it read.
            round_trip_ms: How long ago it was asked; infinite if that is not known any more.
        """
        if not self._heard:
            self._first_heard_at = self._monotonic()
        low = wall_at_ms - self._monotonic() * 1_000
        high = low + min(round_trip_ms, WRONG_BY_MS)
        known = self._heard.get(voter, (low, high))
        narrowed = max(low, known[0]), min(high, known[1])
        # An older reading that contradicts this one was of a clock that has been set since.
        self._heard[voter] = narrowed if narrowed[0] <= narrowed[1] else (low, high)

    def keep(self, voters: Collection[str]) -> None:
        """Forget the clocks of everybody else: who was removed counts no longer."""
        self._heard = {voter: each for voter, each in self._heard.items() if voter in voters}

    @property
    def is_known(self) -> bool:
        """Whether a majority's clocks are known, and in a new cluster those of all who answer."""
        known = len(self._heard) + 1
        if known < self._majority():
            return False
        is_new = self._reached is None or not self._reached[0]
        waited = self._monotonic() - self._first_heard_at
        return not is_new or known >= self._voters() or waited >= FOUNDING_SECONDS

    def applied(self, wall_now_ms: int) -> None:
        """Note the wall time after an applied entry; on every node, as any may come to lead."""
        if self._reached is None or wall_now_ms > self._reached[0]:
            self._reached = wall_now_ms, self._monotonic() * 1_000

    @property
    def wall_ms(self) -> int:
        """The median of the known clocks, milliseconds since 1970.

        Of two middle ones the earlier, because of a clock that is ahead a delayed task would be
        early. If the two differ so much that one of them is wrong, the one that agrees better with
        the wall time reached so far.
        """
        now_ms = self._monotonic() * 1_000
        own = self._wall_ms()
        lows = sorted([own, *(int(now_ms + low) for low, _ in self._heard.values())])
        highs = sorted([own, *(int(now_ms + high) for _, high in self._heard.values())])
        first, second = (len(lows) - 1) // 2, len(lows) // 2
        median = _between(lows[first], highs[first], own)
        if self._reached is None:
            return median
        wall_at_ms, reached_ms = self._reached
        carried = wall_at_ms + int(CARRIED_PACE * (now_ms - reached_ms))
        other = _between(lows[second], highs[second], own)
        if other - median > WRONG_BY_MS and abs(other - carried) < abs(median - carried):
            median = other
        return max(median, carried)

    def stamp(self) -> tuple[int, int]:
        """Return (lease_advance_ms, wall_at_ms) for the next entry."""
        self.look()
        pending_ms = int(self._pending_ms)
        # What one entry cannot carry is forgotten. Carried by the next entry, it would age the
        # leases that this one grants by time that passed before they were granted.
        self._pending_ms -= pending_ms
        return min(pending_ms, limits.LEASE_TIME_STEP_MAX_MS), self.wall_ms


def _between(low: int, high: int, own: int) -> int:
    """Return what a clock that is known to within an interval is taken for: the own one, or the end
    that is nearer to it; the early end if the own one is wrong."""
    nearest = min(max(own, low), high)
    return nearest if own - nearest <= WRONG_BY_MS else low
