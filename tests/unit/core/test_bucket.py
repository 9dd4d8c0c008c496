"""Token buckets, against fractions."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftq.core.bucket import Bucket, bucket_of
from raftq.protocol.options import Rate

RATES = st.builds(
    Rate,
    count=st.integers(1, 40) | st.just(1_000_000),
    per_ms=st.integers(1, 40) | st.sampled_from((999, 86_400_000)),
    burst=st.integers(1, 9) | st.just(1_000_000),
)
STEPS_MS = st.lists(st.integers(0, 60) | st.just(10**9), min_size=1, max_size=80)
PER_S = Rate(count=10, per_ms=1_000, burst=3)


class FractionBucket:
    """The same with fractions of tokens."""

    def __init__(self, rate: Rate, now_ms: int) -> None:
        self.rate = rate
        self.tokens = Fraction(rate.burst)
        self.at_ms = now_ms

    def pass_time(self, now_ms: int) -> None:
        came = Fraction((now_ms - self.at_ms) * self.rate.count, self.rate.per_ms)
        part_ms = Fraction(self.rate.count - 1, self.rate.per_ms)
        self.tokens = min(self.tokens + came, self.rate.burst + part_ms)
        self.at_ms = now_ms


@given(RATES, STEPS_MS, st.lists(st.integers(0, 3), min_size=80, max_size=80))
def test_it_is_exact_however_time_is_cut(rate: Rate, steps: list[int], greed: list[int]) -> None:
    bucket, model, now_ms = Bucket.full(rate, 5), FractionBucket(rate, 5), 5
    for step_ms, wanted in zip(steps, greed, strict=False):
        now_ms += step_ms
        model.pass_time(now_ms)
        assert bucket.tokens(rate, now_ms) == model.tokens // 1
        for _ in range(wanted):
            if bucket.admits(rate, now_ms):
                bucket.take(rate, now_ms)
                model.tokens -= 1


@given(RATES, STEPS_MS)
def test_no_window_has_more_starts_than_burst_and_rate(rate: Rate, steps: list[int]) -> None:
    bucket, now_ms, taken = Bucket.full(rate, 0), 0, list[tuple[int, int]]()
    for step_ms in steps:
        now_ms += step_ms
        count = bucket.tokens(rate, now_ms)
        bucket.take(rate, now_ms, count)
        taken.append((now_ms, count))
    for begin, (begin_ms, _) in enumerate(taken):
        total = 0
        for at_ms, count in taken[begin:]:
            total += count
            duration_ms = at_ms - begin_ms + 1  # Both are in it.
            assert total <= rate.burst + rate.count * duration_ms // rate.per_ms


@given(RATES, st.integers(1, 12), st.integers(0, 30), st.integers(1, 12))
def test_the_next_instant_is_the_first_at_which_they_are_there(
    rate: Rate, taken: int, later_ms: int, wanted: int
) -> None:
    bucket = Bucket.full(rate, 100)
    bucket.take(rate, 100, taken if bucket.admits(rate, 100, taken) else 1)
    next_ms = bucket.next_ms(rate, 100 + later_ms, wanted)
    assert next_ms >= 100 + later_ms
    assert bucket.admits(rate, next_ms, wanted)
    assert next_ms == 100 + later_ms or not bucket.admits(rate, next_ms - 1, wanted)


@pytest.mark.parametrize("burst", [1, 5])
@pytest.mark.parametrize("count", [1, 7, 999, 1_001, 50_000, 1_000_000])
def test_who_takes_each_token_as_it_comes_reaches_the_rate(count: int, burst: int) -> None:
    rate = Rate(count=count, per_ms=1_000, burst=burst)
    bucket, now_ms, taken = Bucket.full(rate, 0), 0, 0
    while now_ms <= 5_000:
        tokens = bucket.tokens(rate, now_ms)
        bucket.take(rate, now_ms, tokens)
        taken += tokens
        now_ms = bucket.next_ms(rate, now_ms)
    assert taken == burst + 5 * count


def test_more_than_the_burst_passes_a_full_bucket_and_is_paid_off_before_the_next() -> None:
    bucket = Bucket.full(PER_S, 0)
    bucket.take(PER_S, 0, 20)
    assert bucket.tokens(PER_S, 1_700) == 0 and not bucket.admits(PER_S, 1_799)
    assert bucket.next_ms(PER_S, 1_700) == 1_800 and bucket.admits(PER_S, 1_800)
    assert bucket.next_ms(PER_S, 0, 20) == 2_000


def test_taking_what_is_not_there_is_a_bug() -> None:
    bucket = Bucket.full(PER_S, 0)
    bucket.take(PER_S, 0, 2)
    with pytest.raises(AssertionError, match="more tokens"):
        bucket.take(PER_S, 0, 2)


@given(RATES, RATES, st.integers(0, 9), st.integers(0, 100))
def test_a_new_rate_goes_on_with_what_is_there_but_no_more_than_its_burst(
    old: Rate, new: Rate, taken: int, later_ms: int
) -> None:
    bucket = Bucket.full(old, 0)
    for _ in range(min(taken, old.burst)):
        bucket.take(old, 0)
    before = bucket.tokens(old, later_ms)
    changed = bucket_of(bucket, old, new, later_ms)
    assert changed is not None
    most = new.burst + (new.count - 1) // new.per_ms
    assert changed.tokens(new, later_ms) == min(before, most)


def test_a_rate_that_is_set_begins_full_and_one_that_is_removed_leaves_nothing() -> None:
    begun = bucket_of(None, None, PER_S, 77)
    assert begun is not None and begun.tokens(PER_S, 77) == PER_S.burst
    assert bucket_of(begun, PER_S, PER_S, 78) is begun
    assert bucket_of(begun, PER_S, None, 78) is None


def test_a_bucket_restored_from_its_two_numbers_goes_on_as_it_was() -> None:
    bucket = Bucket.full(PER_S, 0)
    bucket.take(PER_S, 33, 3)
    again = Bucket(bucket.level, bucket.at_ms)
    assert again.next_ms(PER_S, 34) == bucket.next_ms(PER_S, 34)
    assert again.tokens(PER_S, 256) == bucket.tokens(PER_S, 256)
