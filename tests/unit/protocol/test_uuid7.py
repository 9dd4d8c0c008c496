"""Ids: unique, growing, and RFC 9562 in form."""

from collections.abc import Callable
from random import Random
from uuid import RFC_4122, UUID

from raftq.protocol.uuid7 import Uuid7


def maker(times: list[int], random_bits: Callable[[int], int] | None = None) -> Uuid7:
    """Return a maker whose clock shows the given times one after the other."""
    remaining = iter(times)
    return Uuid7(lambda: next(remaining), random_bits or Random(7).getrandbits)


def test_an_id_has_the_form_of_version_7() -> None:
    made = UUID(bytes=maker([1_700_000_000_123])())
    assert made.version == 7 and made.variant == RFC_4122
    assert made.int >> 80 == 1_700_000_000_123


def test_ids_grow_within_a_millisecond() -> None:
    make = maker([5] * 1_000)
    made = [make() for _ in range(1_000)]
    assert made == sorted(set(made))


def test_ids_grow_when_the_clock_is_set_back() -> None:
    make = maker([1_000, 2_000, 10, 1_500, 2_000, 2_001])
    made = [make() for _ in range(6)]
    assert made == sorted(set(made))
    assert UUID(bytes=made[2]).int >> 80 == 2_000
    assert UUID(bytes=made[5]).int >> 80 == 2_001


def test_ids_grow_when_the_randomness_of_a_millisecond_is_used_up() -> None:
    make = maker([5] * 3, lambda bits: (1 << bits) - 1)
    made = [make() for _ in range(3)]
    assert made == sorted(set(made))
    assert UUID(bytes=made[1]).int >> 80 == 6
    assert all(UUID(bytes=each).version == 7 for each in made)


def test_a_clock_before_1970_still_makes_growing_ids() -> None:
    make = maker([-5, -4, 0, 3])
    made = [make() for _ in range(4)]
    assert made == sorted(set(made)) and all(len(each) == 16 for each in made)


def test_two_makers_in_the_same_millisecond_differ() -> None:
    assert maker([5], Random(1).getrandbits)() != maker([5], Random(2).getrandbits)()
