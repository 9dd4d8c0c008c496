"""Lease time moves only with a leader that really runs."""

from math import inf

from raftq.consensus.leader_clock import FOUNDING_SECONDS, GRACE_MS, STEP_MAX_MS, LeaderClock
from raftq.protocol import limits


class Times:
    """Two clocks to set by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.wall = 1_000_000

    def clock(self) -> LeaderClock:
        return LeaderClock(lambda: self.seconds, lambda: self.wall, lambda: 2, lambda: 3)

    def run(self, clock: LeaderClock, milliseconds: float) -> None:
        """Let time pass with a look every 20 ms, as a healthy leader does."""
        while milliseconds > 0:
            step = min(20.0, milliseconds)
            self.seconds += step / 1_000
            clock.look()
            milliseconds -= step


def test_lease_time_stands_still_for_the_grace_period() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    times.run(clock, GRACE_MS)
    assert clock.stamp() == (0, times.wall)
    times.run(clock, 500)
    assert abs(clock.stamp()[0] - 500) <= 1


def test_a_pause_of_the_leader_adds_one_step_at_most() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    times.run(clock, GRACE_MS)
    times.seconds += 30
    assert clock.stamp()[0] <= STEP_MAX_MS


def test_time_of_a_lost_leadership_is_forgotten() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    times.run(clock, GRACE_MS + 5_000)
    clock.stop()
    times.seconds += 10
    clock.look()
    clock.start()
    assert clock.stamp()[0] == 0


def test_time_beyond_what_one_entry_carries_ages_no_lease_that_it_grants() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    times.run(clock, GRACE_MS + 5 * limits.LEASE_TIME_STEP_MAX_MS)
    assert clock.stamp()[0] == limits.LEASE_TIME_STEP_MAX_MS
    times.run(clock, 40)
    assert clock.stamp()[0] <= 41


def test_fractions_of_a_millisecond_are_not_lost() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    times.run(clock, GRACE_MS)
    total = 0
    for _ in range(1_000):
        times.seconds += 0.0007
        total += clock.stamp()[0]
    assert 698 <= total <= 700


def test_wall_time_is_passed_on_as_it_is() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    times.wall = 5
    assert clock.stamp()[1] == 5


def test_wall_time_is_the_median_of_the_voters_clocks() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall + 3, 0)
    clock.heard("n3", times.wall + 5, 0)
    assert clock.wall_ms == times.wall + 3
    times.seconds += 1
    times.wall += 1_000 + 86_400_000  # Somebody sets this node's clock a day ahead.
    assert clock.wall_ms == 1_000_000 + 1_000 + 5
    clock.heard("n2", 1_000_000 + 1_000 - 86_400_000, 0)  # And another's a day back.
    assert clock.wall_ms == 1_000_000 + 1_000 + 5


def test_a_clock_that_is_not_kept_moves_the_median_no_more() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall - 86_400_000, 0)
    clock.heard("n3", times.wall, 0)
    clock.keep(["n3", "n4"])  # n4 takes the place of n2, on the same machine.
    clock.heard("n4", times.wall - 86_400_000, 0)
    assert clock.wall_ms == times.wall


def test_of_two_clocks_the_earlier_counts_because_a_delay_is_never_cut_short() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall - 700, 0)
    assert clock.stamp()[1] == times.wall - 700
    clock.heard("n2", times.wall + 700, 0)
    assert clock.stamp()[1] == times.wall


def test_the_time_is_unknown_until_a_majority_has_told_its_clock() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.applied(times.wall)
    assert not clock.is_known
    clock.heard("n2", times.wall, 0)
    assert clock.is_known
    clock.stop()
    assert not clock.is_known


DAY_MS = 86_400_000


def test_wall_time_goes_on_while_one_of_two_clocks_is_a_day_behind() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall, 0)
    clock.applied(times.wall)
    right, times.wall = times.wall, times.wall - DAY_MS
    times.run(clock, 5_000)
    assert right + 4_900 <= clock.stamp()[1] <= right + 5_000


def test_wall_time_that_is_a_day_ahead_does_not_stand_still() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall, 0)
    ahead = times.wall + DAY_MS
    clock.applied(ahead)
    times.run(clock, 5_000)
    assert ahead + 4_900 <= clock.stamp()[1] <= ahead + 5_000


def test_wall_time_is_carried_on_from_what_a_follower_applied_before_it_led() -> None:
    times = Times()
    clock = times.clock()
    clock.applied(times.wall)
    right, times.wall = times.wall, times.wall - DAY_MS
    times.seconds += 2.0
    clock.start()
    clock.heard("n2", right + 2_000, 0)
    assert right + 1_900 <= clock.stamp()[1] <= right + 2_000


def test_a_late_reply_holds_wall_time_back_no_more_than_a_hundredth() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall, 0)
    clock.applied(times.wall)
    begun = times.wall
    times.run(clock, 1_000)
    clock.heard("n2", begun + 700, 0)  # Read 300 ms ago; this node's own clock stands still.
    assert begun + 980 <= clock.stamp()[1] <= begun + 1_000


def test_wall_time_that_is_ahead_is_caught_up_with() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.applied(times.wall + 500)
    for _ in range(3_000):
        times.run(clock, 20)
        times.wall += 20
        clock.heard("n2", times.wall, 0)
        clock.applied(clock.stamp()[1])
    assert clock.stamp()[1] == times.wall


def test_of_two_clocks_that_differ_by_a_day_the_one_counts_that_agrees_with_the_time_so_far() -> (
    None
):
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall - DAY_MS, 0)
    clock.applied(times.wall)
    times.run(clock, 60_000)
    times.wall += 60_000
    assert clock.stamp()[1] == times.wall
    clock.heard("n2", times.wall + DAY_MS, 0)
    assert clock.stamp()[1] == times.wall


def test_a_reply_over_a_slow_link_holds_wall_time_back_no_more_than_clocks_differ() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall + 5 - 100, 101)  # It was 5 ms ahead when it was read.
    assert clock.wall_ms == times.wall
    clock.heard("n3", times.wall - 7 - 300, 301)
    assert clock.wall_ms == times.wall


def test_a_delay_over_a_slow_link_ends_early_for_nobody_when_the_link_is_quick_again() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    clock.heard("n2", times.wall - 200, 201)
    enqueued_at_ms = clock.stamp()[1]
    times.seconds += 0.1
    times.wall += 100
    clock.heard("n2", times.wall, 1)
    assert clock.stamp()[1] - enqueued_at_ms <= 101


def test_a_link_that_is_slow_on_the_way_out_lets_no_wrong_clock_count() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    for voter in ("n2", "n3"):
        clock.heard(voter, times.wall, 300)  # The clock was read just now, who knows.
    right, times.wall = times.wall, times.wall + DAY_MS
    assert clock.wall_ms == right


def test_a_quick_reply_counts_more_than_a_slow_one_after_it() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    times.wall += DAY_MS  # This node's own clock is wrong.
    right = times.wall - DAY_MS
    for voter in ("n2", "n3"):
        clock.heard(voter, right, 1)
        clock.heard(voter, right - 400, 800)
    assert right <= clock.wall_ms <= right + 1


def test_a_clock_that_was_set_counts_at_once() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    right, times.wall = times.wall, times.wall - DAY_MS
    for voter in ("n2", "n3"):
        clock.heard(voter, right - 60_000, 1)
        clock.heard(voter, right, 1)
    assert right <= clock.wall_ms <= right + 1


def test_a_reply_that_took_very_long_vouches_for_no_clock_far_ahead_of_it() -> None:
    times = Times()
    clock = times.clock()
    clock.start()
    right, times.wall = times.wall, times.wall + 30_000
    for voter in ("n2", "n3"):
        clock.heard(voter, right, inf)  # Of nodes that stood still, and answer all at once.
    assert clock.wall_ms == right


def test_the_first_leader_of_all_waits_for_every_clock_but_not_for_long() -> None:
    times = Times()
    clock = times.clock()
    clock.heard("n2", times.wall - 4_000, 0.0)
    assert not clock.is_known, "nothing tells which of the two is wrong"
    clock.heard("n3", times.wall, 0.0)
    assert clock.is_known
    assert clock.wall_ms == times.wall
    without_n3 = times.clock()
    without_n3.heard("n2", times.wall, 0.0)
    times.seconds += FOUNDING_SECONDS
    assert without_n3.is_known
