"""The garbage collector of a node: no full look because much is kept, and cycles still go."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from raftq.node.collector import look_rarely


class Thing:
    """Something that the collector tracks and that a weak reference can watch."""

    other: "Thing | None" = None


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the collector as it was."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_a_growing_number_of_kept_objects_brings_no_full_look() -> None:
    look_rarely()
    before = gc.get_stats()[2]["collections"]
    kept = [[number] for number in range(1_500_000)]
    assert gc.get_stats()[2]["collections"] == before
    assert len(kept) == 1_500_000


def test_garbage_in_cycles_is_found_while_it_is_young() -> None:
    look_rarely()
    thing = Thing()
    thing.other = thing
    watched = weakref.ref(thing)
    del thing
    kept = [[number] for number in range(200_000)]
    assert watched() is None
    assert len(kept) == 200_000
