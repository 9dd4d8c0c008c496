"""Damaged journals: torn ends are cut off, everything else is refused, nothing is made up."""

from pathlib import Path

import pytest

from raftq.protocol.errors import CorruptRecord, StorageError
from raftq.storage.journal import Journal, JournalEntry
from raftq.storage.record import ENTRY, HEAD_BYTES, PREFIX, encode_record
from raftq.storage.segment import HEADER_BYTES, segment_name
from raftq.testing.memory_files import Keep, MemoryFiles

FOLDER = Path("/data/journal")
FIRST = FOLDER / segment_name(1)


def _sync(journal: Journal) -> None:
    while (job := journal.begin_sync()) is not None:
        job.run()
        journal.finish_sync(job)


def _journal(*batches: list[bytes], segment_bytes: int = 10_000) -> MemoryFiles:
    """Return a disk with a journal of synced batches."""
    disk = MemoryFiles()
    journal = Journal.open(disk, FOLDER, segment_bytes=segment_bytes)
    index = 0
    for batch in batches:
        for command in batch:
            index += 1
            journal.append(index, 1, command)
        _sync(journal)
    return disk.crash(Keep.EVERYTHING)


def _recover(disk: MemoryFiles) -> list[JournalEntry]:
    return list(Journal.open(disk, FOLDER).entries())


def _commands(disk: MemoryFiles) -> list[bytes]:
    return [entry.command for entry in _recover(disk)]


def test_every_flipped_bit_of_a_synced_journal_is_refused_or_harmless() -> None:
    disk = MemoryFiles()
    journal = Journal.open(disk, FOLDER, segment_bytes=150)
    for index in (1, 2, 3):
        journal.append(index, 1, b"abc" * index)
    _sync(journal)
    journal.truncate_after(2)
    journal.append(3, 2, b"other")
    _sync(journal)
    journal.append(4, 2, b"")
    _sync(journal)
    pristine = _recover(disk.crash(Keep.EVERYTHING))
    assert [entry.index for entry in pristine] == [1, 2, 3, 4]
    harmless = 0
    for name in disk.names(FOLDER):
        for bit in range(8 * len(disk.read(FOLDER / name))):
            damaged = disk.crash(Keep.EVERYTHING)
            damaged.flip_bit(FOLDER / name, bit)
            try:
                assert _recover(damaged) == pristine, f"bit {bit} of {name}"
                harmless += 1
            except StorageError:
                continue
    marker_and_next_header_bits = 8 * (HEAD_BYTES + HEADER_BYTES)
    assert harmless <= marker_and_next_header_bits


@pytest.mark.parametrize("missing", range(1, HEAD_BYTES + 5))
def test_a_torn_end_is_cut_off(missing: int) -> None:
    disk = _journal([b"first"])
    whole = disk.read(FIRST)
    torn = encode_record(0, ENTRY, 2, 1, body=b"next")
    disk.put(FIRST, whole + torn[: len(torn) - missing])
    assert _commands(disk) == [b"first"]
    assert disk.read(FIRST) == whole


def test_zeros_at_the_end_are_cut_off() -> None:
    disk = _journal([b"first"])
    disk.put(FIRST, disk.read(FIRST) + bytes(4096))
    assert _commands(disk) == [b"first"]


def test_zeros_in_the_middle_are_refused_with_path_and_offset() -> None:
    disk = _journal([b"first"], [b"second"])
    content = bytearray(disk.read(FIRST))
    content[HEADER_BYTES : HEADER_BYTES + HEAD_BYTES] = bytes(HEAD_BYTES)
    disk.put(FIRST, bytes(content))
    with pytest.raises(CorruptRecord, match="had been durable") as caught:
        _recover(disk)
    assert caught.value.facts == {"path": str(FIRST), "offset": HEADER_BYTES}
    assert "healthy majority" in caught.value.message


def test_damage_to_the_newest_batch_of_an_idle_journal_is_refused() -> None:
    disk = _journal([b"first"])
    disk.flip_bit(FIRST, 8 * (HEADER_BYTES + HEAD_BYTES))
    with pytest.raises(CorruptRecord, match="had been durable"):
        _recover(disk)


def test_damage_in_a_segment_with_a_successor_is_refused() -> None:
    disk = _journal([b"first"], [b"second"], segment_bytes=1)
    disk.flip_bit(FIRST, 8 * (HEADER_BYTES + HEAD_BYTES))
    with pytest.raises(CorruptRecord, match="later segments exist"):
        _recover(disk)


def test_bytes_behind_the_end_of_a_segment_with_a_successor_are_refused() -> None:
    disk = _journal([b"first"], [b"second"], segment_bytes=1)
    disk.put(FIRST, disk.read(FIRST) + b"\0")
    with pytest.raises(CorruptRecord, match="later segments exist"):
        _recover(disk)


@pytest.mark.parametrize("records_left", [0, 1])
def test_a_segment_with_a_successor_that_lost_its_last_records_is_refused(
    records_left: int,
) -> None:
    disk = _journal([b"first", b"second"], [b"third"], segment_bytes=1)
    size = HEADER_BYTES + records_left * (HEAD_BYTES + len(b"first"))
    disk.put(FIRST, disk.read(FIRST)[:size])
    with pytest.raises(CorruptRecord, match="the segment had 1") as caught:
        _recover(disk)
    assert caught.value.facts == {"path": str(FIRST), "offset": size}


def test_a_segment_with_a_successor_that_lost_its_header_is_refused() -> None:
    disk = _journal([b"first"], segment_bytes=1)
    disk.put(FIRST, disk.read(FIRST)[: HEADER_BYTES - 1])
    with pytest.raises(CorruptRecord, match="header is unreadable"):
        _recover(disk)


def test_an_empty_last_segment_still_tells_the_size_of_the_one_before() -> None:
    disk = _journal([b"first"], segment_bytes=1)
    disk.put(FIRST, disk.read(FIRST)[:HEADER_BYTES])
    with pytest.raises(CorruptRecord, match="the segment had"):
        _recover(disk)


def test_an_unreadable_header_before_records_is_refused() -> None:
    disk = _journal([b"first"])
    disk.flip_bit(FIRST, 8 * HEAD_BYTES)
    with pytest.raises(CorruptRecord, match="header is unreadable"):
        _recover(disk)


def test_a_record_of_an_older_file_on_the_same_blocks_is_not_taken_for_ours() -> None:
    disk, older = _journal([b"first"]), _journal([b"first", b"stale"])
    disk.put(FIRST, disk.read(FIRST) + older.read(FIRST)[len(disk.read(FIRST)) - HEAD_BYTES :])
    assert _commands(disk) == [b"first"]


def test_a_payload_that_imitates_records_cannot_turn_a_torn_end_into_damage() -> None:
    imitation = encode_record(0, ENTRY, 9, 1, 2**31, b"imitated") + PREFIX * 50
    disk = _journal([b"first"])
    journal = Journal.open(disk, FOLDER)
    journal.append(2, 1, b"whole")
    _sync(journal)
    journal.append(3, 1, b"torn")
    journal.append(4, 1, imitation)
    journal.begin_sync()
    torn_segment = FOLDER / segment_name(2)
    content = bytearray(disk.read(torn_segment))
    content[content.index(b"torn")] ^= 1
    disk.put(torn_segment, bytes(content))
    assert _commands(disk) == [b"first", b"whole"]


def test_a_commands_prefix_is_no_obstacle() -> None:
    commands = [PREFIX, PREFIX * 3, b"", bytes(100)]
    assert _commands(_journal(commands)) == commands


@pytest.mark.parametrize(
    ("record", "message"),
    [((ENTRY, 7, 1, 0), "entry 7 is there, 2 was expected"),
     ((PREFIX + b"?", 2, 1, 0), "makes no sense"),
     ((ENTRY, 2, 1, 99_999), "makes no sense")],
)  # fmt: skip
def test_a_valid_record_that_contradicts_the_log_is_refused(
    record: tuple[bytes, int, int, int], message: str
) -> None:
    disk = _journal([b"first"])
    content = disk.read(FIRST)
    seed = int.from_bytes(content[HEAD_BYTES - 4 : HEAD_BYTES], "little")
    disk.put(FIRST, content + encode_record(seed, *record))
    with pytest.raises(CorruptRecord, match=message):
        _recover(disk)
