"""The garbage collector of a worker process: it looks less often, unless the App says how often."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from raftq.worker.supervision.collecting import look_less_often


class Thing:
    """Something that the collector tracks and that a weak reference can watch."""

    other: "Thing | None" = None


@pytest.fixture(autouse=True)
def pristine() -> Iterator[None]:
    """Have the collector as Python starts it, and leave it as it was."""
    before = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.enable()
    gc.set_threshold(*before)
    gc.unfreeze()


def test_thousands_of_objects_that_are_kept_bring_no_look() -> None:
    look_less_often()
    before = gc.get_stats()[0]["collections"]
    kept = [[number] for number in range(5_000)]
    assert gc.get_stats()[0]["collections"] == before
    assert len(kept) == 5_000


def test_what_was_loaded_is_looked_at_no_more() -> None:
    loaded = Thing()
    look_less_often()
    assert not any(each is loaded for each in gc.get_objects())


def test_garbage_of_tasks_in_cycles_is_still_found() -> None:
    look_less_often()
    thing = Thing()
    thing.other = thing
    watched = weakref.ref(thing)
    del thing
    kept = [[number] for number in range(200_000)]
    assert watched() is None
    assert len(kept) == 200_000


def test_thresholds_that_an_app_has_set_count() -> None:
    gc.set_threshold(50, 3, 3)
    look_less_often()
    assert gc.get_threshold() == (50, 3, 3)
    assert gc.get_freeze_count() == 0


def test_a_collector_that_an_app_has_put_off_stays_so() -> None:
    before = gc.get_threshold()
    gc.disable()
    look_less_often()
    assert not gc.isenabled()
    assert gc.get_threshold() == before
