"""What is kept in memory of payloads and of the log, and what goes first."""

import pytest
from tests.support.machines import task_id

from raftq.consensus.payloads.caches import RecentPayloads
from raftq.consensus.raft.newest_commands import NewestCommands
from raftq.protocol import limits
from raftq.protocol.options import NewTask

PAYLOAD = bytes(1_000)


def payloads_of(recent: RecentPayloads, last: int) -> list[int]:
    return [sequence for sequence in range(1, last + 1) if recent.get(sequence) is not None]


def commands_of(newest: NewestCommands, last: int) -> list[int]:
    return [index for index in range(1, last + 1) if newest.get(index) is not None]


def add_payloads(recent: RecentPayloads, *sequences: int) -> None:
    for sequence in sequences:
        recent.add(sequence, [NewTask(task_id(sequence), PAYLOAD)])


def test_the_oldest_payloads_go_first_whatever_was_finished_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_CACHE_BYTES", 10_000)
    recent = RecentPayloads()
    add_payloads(recent, 1, 2, 3, 4)
    for finished in (1, 3):
        recent.drop(finished)
    add_payloads(recent, 5, 6)
    assert payloads_of(recent, 6) == [2, 4, 5, 6]
    add_payloads(recent, 7)
    assert payloads_of(recent, 7) == [4, 5, 6, 7]


def test_payloads_are_kept_again_after_all_were_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_CACHE_BYTES", 5_000)
    recent = RecentPayloads()
    add_payloads(recent, 1)
    recent.drop(1)
    add_payloads(recent, 2_000_000_000, 2_000_000_001, 2_000_000_002)
    assert recent.get(2_000_000_000) is None
    assert recent.get(2_000_000_001) == recent.get(2_000_000_002) == PAYLOAD


def test_the_oldest_commands_go_once_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_CACHE_BYTES", 2_500)
    newest = NewestCommands()
    for index in (1, 2, 3):
        newest.add(index, PAYLOAD, written_index=0)
    assert commands_of(newest, 3) == [1, 2, 3], "they are nowhere else"
    newest.add(4, PAYLOAD, written_index=2)
    assert commands_of(newest, 4) == [3, 4]


def test_commands_are_cut_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_CACHE_BYTES", 4_700)
    newest = NewestCommands()
    for index in range(1, 5):
        newest.add(index, PAYLOAD, written_index=4)
    newest.drop_before(2)
    newest.cut_from(4)
    assert commands_of(newest, 4) == [2, 3]
    newest.add(4, b"another", written_index=3)
    assert newest.get(4) == b"another"
    newest.cut_from(0)
    newest.add(90, PAYLOAD, written_index=0)
    assert commands_of(newest, 90) == [90]
