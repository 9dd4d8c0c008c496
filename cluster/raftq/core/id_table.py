"""From task ids to sequences, without a Python object for each task.

A hash table of buckets. A bucket has one byte of the hash of each of its tasks, its tags, in a
string that C searches; and, at the same places, one number each: the sequence and 16 more bits of
the hash. The table grows and shrinks by one bucket at a time (linear hashing), so that no call
does work for all tasks. The hash is Python's own, keyed anew in each process: nobody can choose
ids that meet in one bucket, and nothing that a replica answers depends on it.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final

_HASH_MASK: Final = 2**24 - 1
"""What is used of the hash: the tag, then the bits that are kept with the sequence."""
_REST_BITS: Final = 16
_REST_MASK: Final = 2**_REST_BITS - 1
SEQUENCE_MAX: Final = 2 ** (64 - _REST_BITS) - 1
"""The last sequence that fits; at 100,000 tasks a second it comes after 89 years."""
RECORDS_PER_BUCKET: Final = 64
"""On average, before one more bucket is made: more cost time, fewer cost memory."""
_SHRINK: Final = 4
"""A bucket is merged away when so many times fewer tasks are left than would make it."""


class IdTable:
    """Sequences by task id.

    Args:
        is_id_of: Tells whether a sequence is that of a task with an id, because two ids may have
            one hash; not so for a task that is about to be added.
        records_per_bucket: On average at most.
    """

    def __init__(self, is_id_of: Callable[[int, bytes], bool], records_per_bucket: int) -> None:
        self._is_id_of = is_id_of
        self._records_per_bucket = records_per_bucket
        self._tags = [bytearray()]
        self._records = [array("Q")]
        self._mask = 0
        """Chooses a bucket as if their number were the next power of two."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return len(self._tags)

    def find(self, task_id: bytes) -> int:
        """Return the sequence of a task, or 0 if there is none."""
        number = hash(task_id) & _HASH_MASK
        bucket = number & self._mask
        if bucket >= len(self._tags):  # It is not split off yet.
            bucket &= self._mask >> 1
        tags, tag = self._tags[bucket], number >> _REST_BITS
        if tag not in tags:  # Twice as fast as `find`, and mostly true.
            return 0
        at = tags.find(tag)
        while at >= 0:
            record = self._records[bucket][at]
            if not (record ^ number) & _REST_MASK:
                sequence = record >> _REST_BITS
                if self._is_id_of(sequence, task_id):
                    return sequence
            at = tags.find(tag, at + 1)
        return 0

    def add(self, first_sequence: int, task_ids: Sequence[bytes]) -> bool:
        """Enter tasks of consecutive sequences, whose ids differ, if none of them is known.

        Returns:
            Whether they were; else nothing is entered.
        """
        all_tags, all_records = self._tags, self._records
        buckets, mask, half = len(all_tags), self._mask, self._mask >> 1
        sequence = first_sequence
        for task_id in task_ids:
            number = hash(task_id) & _HASH_MASK
            bucket = number & mask
            if bucket >= buckets:
                bucket &= half
            tags, tag = all_tags[bucket], number >> _REST_BITS
            if tag in tags and self.find(task_id):
                self._undo(task_ids, first_sequence, sequence)
                return False
            tags.append(tag)
            all_records[bucket].append(sequence << _REST_BITS | number & _REST_MASK)
            sequence += 1
        self._count += len(task_ids)
        while self._count > len(all_tags) * self._records_per_bucket:
            self._split()
        return True

    def _undo(self, task_ids: Sequence[bytes], first_sequence: int, end: int) -> None:
        """Remove the first ones of what is being entered."""
        self._count += end - first_sequence
        for sequence in range(first_sequence, end):
            self.remove(task_ids[sequence - first_sequence], sequence)

    def remove(self, task_id: bytes, sequence: int) -> None:
        """Remove a task that is in the table."""
        number = hash(task_id) & _HASH_MASK
        bucket = number & self._mask
        if bucket >= len(self._tags):
            bucket &= self._mask >> 1
        tags, records = self._tags[bucket], self._records[bucket]
        tag, record = number >> _REST_BITS, sequence << _REST_BITS | number & _REST_MASK
        at = tags.find(tag)
        while at >= 0 and records[at] != record:
            at = tags.find(tag, at + 1)
        assert at >= 0, f"task {task_id.hex()} is not in the id table"
        tags.pop(at)
        records.pop(at)
        self._count -= 1
        if self._count * _SHRINK < (len(self._tags) - 1) * self._records_per_bucket:
            self._merge()

    def _split(self) -> None:
        """Make one more bucket, and move there what belongs there from now on."""
        new = len(self._tags)
        self._mask = (1 << new.bit_length()) - 1
        bit = self._mask + 1 >> 1
        old = new ^ bit
        tags, records = self._tags[old], self._records[old]
        numbers: Iterable[int] = records
        if bit > _REST_MASK:
            numbers = [tag << _REST_BITS for tag in tags]
        parts = (bytearray(), array("Q")), (bytearray(), array("Q"))
        for tag, record, number in zip(tags, records, numbers, strict=True):
            of_tags, of_records = parts[number & bit != 0]
            of_tags.append(tag)
            of_records.append(record)
        (self._tags[old], self._records[old]), (new_tags, new_records) = parts
        self._tags.append(new_tags)
        self._records.append(new_records)

    def _merge(self) -> None:
        """Merge the newest bucket into the one that it was split off from."""
        tags, records = self._tags.pop(), self._records.pop()
        last = len(self._tags)
        old = last ^ (self._mask + 1 >> 1)
        self._tags[old] += tags
        self._records[old] += records
        self._mask = (1 << (last - 1).bit_length()) - 1
