"""The id table: what it finds, how it grows and shrinks, and what it costs."""

from random import Random

import pytest

from raftq.core.id_table import IdTable

RECORDS_PER_BUCKET = 4


class Ids:
    """A table beside a dict that knows better."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}
        self._ids: dict[int, bytes] = {}
        self._next = 1
        self.table = IdTable(self._is_id_of, RECORDS_PER_BUCKET)

    def _is_id_of(self, sequence: int, task_id: bytes) -> bool:
        return self._ids.get(sequence) == task_id

    def add(self, *task_ids: bytes) -> bool:
        first = self._next
        if not self.table.add(first, task_ids):
            return False
        for sequence, task_id in enumerate(task_ids, first):
            self.known[task_id] = sequence
            self._ids[sequence] = task_id
        self._next += len(task_ids)
        return True

    def remove(self, task_id: bytes) -> None:
        sequence = self.known.pop(task_id)
        self.table.remove(task_id, sequence)
        del self._ids[sequence]

    def check(self) -> None:
        assert len(self.table) == len(self.known)
        records = self.table._records  # pyright: ignore[reportPrivateUsage]
        assert sum(map(len, records)) == len(self.known), "records are left behind"
        for task_id, sequence in self.known.items():
            assert self.table.find(task_id) == sequence


def new_ids(random: Random, count: int) -> list[bytes]:
    return [random.randbytes(16) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_it_finds_what_a_dict_finds_while_it_grows_and_shrinks(seed: int) -> None:
    random, ids = Random(seed), Ids()
    sizes: set[int] = set()
    for _ in range(3):
        for _ in range(60):
            ids.add(*new_ids(random, random.randint(1, 9)))
            for task_id in random.sample(list(ids.known), min(2, len(ids.known))):
                ids.remove(task_id)
            sizes.add(ids.table.buckets)
        ids.check()
        for task_id in random.sample(list(ids.known), len(ids.known) - 3):
            ids.remove(task_id)
            sizes.add(ids.table.buckets)
        ids.check()
        assert ids.table.buckets <= 4
    assert sizes >= set(range(4, 40)), "it grows and shrinks by one bucket at a time"


def test_unknown_ids_are_not_found() -> None:
    random, ids = Random(1), Ids()
    ids.add(*new_ids(random, 1_000))
    assert {ids.table.find(task_id) for task_id in new_ids(random, 5_000)} == {0}


def test_a_batch_with_a_known_id_changes_nothing() -> None:
    random, ids = Random(2), Ids()
    old, new = new_ids(random, 50), new_ids(random, 50)
    ids.add(*old)
    buckets = ids.table.buckets
    for position in (0, 25, 49):
        assert not ids.add(*new[:position], old[7], *new[position:])
        ids.check()
        assert {ids.table.find(task_id) for task_id in new} == {0}
    assert ids.table.buckets == buckets
    assert ids.add(*new)
    ids.check()


def test_ids_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(_: bytes) -> int:
        return 0xABCDEF

    monkeypatch.setattr("raftq.core.id_table.hash", same, raising=False)
    random, ids = Random(3), Ids()
    task_ids = new_ids(random, 30)
    for task_id in task_ids:
        ids.add(task_id)
    ids.check()
    assert not ids.add(task_ids[17])
    for task_id in task_ids[::2]:
        ids.remove(task_id)
    ids.check()
    assert ids.table.find(task_ids[0]) == 0


def test_removing_what_is_not_there_is_noticed() -> None:
    ids = Ids()
    ids.add(bytes(16))
    for task_id, sequence in ((bytes(16), 2), (bytes([1]) * 16, 1)):
        with pytest.raises(AssertionError, match="is not in the id table"):
            ids.table.remove(task_id, sequence)
    ids.check()


def test_more_than_65_536_buckets_are_chosen_by_more_bits() -> None:
    """The bits that choose then reach into the tag."""
    random = Random(4)
    task_ids = new_ids(random, 100_000)
    table = IdTable(lambda sequence, task_id: task_ids[sequence - 1] == task_id, 1)
    assert table.add(1, task_ids)
    assert table.buckets == 100_000
    assert all(table.find(task_id) == sequence for sequence, task_id in enumerate(task_ids, 1))
    for sequence, task_id in enumerate(task_ids[:99_000], 1):
        table.remove(task_id, sequence)
    assert table.buckets <= 76_001, "one bucket goes for each task that leaves"
    assert [table.find(task_id) for task_id in task_ids[99_000:]] == list(range(99_001, 100_001))
