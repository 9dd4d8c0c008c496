"""Applying is total: any bytes give a deterministic answer, and a refused entry changes nothing."""

import random

import msgspec
import pytest
from tests.support.machines import Driver, entry, task_id

from raftq.core.applied import AppliedReply
from raftq.core.machine import Machine
from raftq.core.payloads import PayloadsInMemory
from raftq.core.state import State
from raftq.protocol import limits
from raftq.protocol.commands import Command, Enqueue, FoundCluster, Lease
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued, Founded, Rejected
from raftq.protocol.versions import ENTRY_VERSION


def raw(*fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


def used() -> Driver:
    driver = Driver()
    driver.enqueue(1, 2)
    driver.lease()
    return driver


EMPTY: list[object] = []
ENQUEUE = [1, "q", [[task_id(9), b"x"]]]
LEASE = [2, ["q"], 1, 1_000, "w", "r"]

MALFORMED = {
    "nothing": b"",
    "an integer": b"\x01",
    "nil": b"\xc0",
    "a reserved byte": b"\xc1",
    "a map": b"\x84\x01\x01\x02\x02\x03\x03\x04\x90",
    "an empty array": raw(),
    "a missing field": raw(ENTRY_VERSION, 0, 0),
    "an additional field": raw(ENTRY_VERSION, 0, 0, [], 1),
    "bytes after the end": raw(ENTRY_VERSION, 0, 0, []) + b"\x00",
    "a negative version": raw(-1, 0, 0, []),
    "a boolean version": raw(True, 0, 0, []),
    "a negative lease advance": raw(ENTRY_VERSION, -1, 0, []),
    "a lease advance over its bound": raw(ENTRY_VERSION, limits.LEASE_TIME_STEP_MAX_MS + 1, 0, []),
    "a fractional lease advance": raw(ENTRY_VERSION, 0.5, 0, []),
    "a huge wall time": raw(ENTRY_VERSION, 0, 2**63, []),
    "a huger wall time": raw(ENTRY_VERSION, 0, 2**64 - 1, []),
    "a negative wall time": raw(ENTRY_VERSION, 0, -1, []),
    "a wall time that is no number": raw(ENTRY_VERSION, 0, float("nan"), []),
    "commands that are a map": raw(ENTRY_VERSION, 0, 0, {}),
    "commands that are nil": raw(ENTRY_VERSION, 0, 0, None),
    "an unknown command": raw(ENTRY_VERSION, 0, 0, [[99, "q"]]),
    "a command without a tag": raw(ENTRY_VERSION, 0, 0, [EMPTY]),
    "a reply in place of a command": raw(ENTRY_VERSION, 0, 0, [[103, b"x"]]),
    "one bad command behind a good one": raw(ENTRY_VERSION, 0, 0, [ENQUEUE, [2, EMPTY]]),
    "an id of 15 bytes": raw(ENTRY_VERSION, 0, 0, [[1, "q", [[b"x" * 15, b""]]]]),
    "a text id": raw(ENTRY_VERSION, 0, 0, [[1, "q", [["x" * 16, b""]]]]),
    "a queue name with a slash": raw(ENTRY_VERSION, 0, 0, [[1, "a/b", [[task_id(9), b""]]]]),
    "a queue name with a line end": raw(ENTRY_VERSION, 0, 0, [[1, "q\n", [[task_id(9), b""]]]]),
    "no tasks": raw(ENTRY_VERSION, 0, 0, [[1, "q", EMPTY]]),
    "a priority over 9": raw(ENTRY_VERSION, 0, 0, [[1, "q", [[task_id(9), b"", 10]]]]),
    "a negative delay": raw(ENTRY_VERSION, 0, 0, [[1, "q", [[task_id(9), b"", 5, -1]]]]),
    "negative attempts": raw(ENTRY_VERSION, 0, 0, [[1, "q", [[task_id(9), b"", 5, 0, -1]]]]),
    "a negative token": raw(ENTRY_VERSION, 0, 0, [[3, [[-1, None]]]]),
    "a token over 63 bits": raw(ENTRY_VERSION, 0, 0, [[3, [[2**63, None]]]]),
    "a count of 0": raw(ENTRY_VERSION, 0, 0, [[2, ["q"], 0, 1_000, "w", "r"]]),
    "a lease that is too short": raw(ENTRY_VERSION, 0, 0, [[2, ["q"], 1, 99, "w", "r"]]),
    "invalid UTF-8 in a name": raw(ENTRY_VERSION, 0, 0, [[7, "qqqq"]]).replace(
        b"qqqq", b"\xff" * 4
    ),
    "deep nesting": b"\x94\x01\x00\x00" + b"\x91" * 100_000,
    "an extension type": b"\x94\x01\x00\x00\xd6\xff\x00\x00\x00\x00",
    "an invalid timestamp": b"\x94\x01\x00\xc7\x0c\xff" + b"\xff" * 12 + b"\x90",
    "a length beyond the end": b"\x94\x01\x00\x00\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("bytes_", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_entry_is_rejected_alike_everywhere_and_changes_nothing(bytes_: bytes) -> None:
    drivers = [used(), used()]
    before = drivers[0].hashes()
    results = [driver.machine.apply(bytes_) for driver in drivers]
    assert results[0] == results[1]
    rejected = results[0].rejected
    assert rejected is not None and rejected.code == "invalid_request" and rejected.message
    assert results[0].replies == []
    assert [driver.hashes() for driver in drivers] == [before, before]


@pytest.mark.parametrize(
    "bytes_",
    [
        raw(ENTRY_VERSION + 1, 0, 0, []),
        raw(0, 0, 0, []),
        raw(ENTRY_VERSION + 1, 0, 0, [], "a field that this version does not have"),
        raw(ENTRY_VERSION + 1, {"another": "shape"}),
        raw(ENTRY_VERSION + 1, 0, 0, [[200, "a command that this version does not have"]]),
    ],
)
def test_an_entry_of_another_version_is_told_from_damage_whatever_its_shape(bytes_: bytes) -> None:
    driver = used()
    before = driver.hashes()
    rejected = driver.machine.apply(bytes_).rejected
    assert rejected is not None and rejected.code == "unsupported_version"
    assert driver.hashes() == before


def test_every_truncation_of_an_entry_is_rejected() -> None:
    whole = entry(Enqueue("q", [NewTask(task_id(9), b"payload")]), Lease(["q"], 1, 1_000, "w", "r"))
    driver = used()
    before = driver.hashes()
    for length in range(len(whole)):
        assert driver.machine.apply(whole[:length]).rejected is not None
    assert driver.hashes() == before
    assert driver.machine.apply(whole).rejected is None


def test_random_and_mutated_bytes_are_applied_alike_by_two_machines() -> None:
    source = random.Random(20_260_101)
    whole = raw(ENTRY_VERSION, 5, 10, [ENQUEUE, LEASE, [3, [[1, None]]], [4, [[1, "x"]]]])
    one, two = used().machine, used().machine
    for _ in range(20_000):
        if source.random() < 0.2:
            bytes_ = source.randbytes(source.randrange(40))
        else:
            mutable = bytearray(whole)
            for _ in range(source.randrange(1, 4)):
                mutable[source.randrange(len(mutable))] = source.randrange(256)
            bytes_ = bytes(mutable)
        before = one.state_hash
        results = one.apply(bytes_), two.apply(bytes_)
        assert results[0] == results[1] and results[0].errors == 0
        if results[0].rejected is not None:
            assert one.state_hash == before
    one.check_invariants()
    assert one.content_hash() == two.content_hash()


def test_replies_come_in_the_order_of_the_commands() -> None:
    driver = Driver()
    applied = driver.apply(
        FoundCluster("c"), Enqueue("q", [NewTask(task_id(1), b"")]), FoundCluster("d")
    )
    first, second, third = applied.replies
    assert first == third == Founded("c") and isinstance(second, Enqueued)


def test_the_first_identity_counts() -> None:
    driver = Driver()
    driver.one(FoundCluster("first"))
    before = driver.hashes()
    assert driver.one(FoundCluster("second")) == Founded("first")
    assert driver.machine.cluster_id == "first" and driver.hashes() == before


class _Broken(Machine):
    """A machine with a bug, and with no memory left, for two queue names."""

    def execute(self, command: Command) -> AppliedReply:
        if isinstance(command, Enqueue) and command.queue == "bug":
            raise ZeroDivisionError("bug")
        if isinstance(command, Enqueue) and command.queue == "memory":
            raise MemoryError
        return super().execute(command)


def test_a_bug_in_one_command_is_counted_and_stops_no_other() -> None:
    machine = _Broken()
    tasks = [NewTask(task_id(1), b"")]
    applied = machine.apply(entry(Enqueue("bug", tasks), Enqueue("q", tasks)))
    assert applied.errors == 1
    refused, created = applied.replies
    assert refused == Rejected("internal", "ZeroDivisionError: bug")
    assert isinstance(created, Enqueued)


def test_a_bug_in_enqueues_that_are_done_together_is_counted_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> bool:
        raise ZeroDivisionError("bug")

    machine = Machine()
    monkeypatch.setattr(State, "enqueue", broken)
    commands = [Enqueue("q", [NewTask(task_id(number), b"")]) for number in (1, 2, 3)]
    applied = machine.apply(entry(*commands, FoundCluster("c")))
    assert applied.errors == 3
    assert applied.replies == [*[Rejected("internal", "ZeroDivisionError: bug")] * 3, Founded("c")]


def test_lack_of_memory_is_no_rejection_because_other_replicas_have_some() -> None:
    with pytest.raises(MemoryError):
        _Broken().apply(entry(Enqueue("memory", [NewTask(task_id(1), b"")])))


def test_lack_of_memory_passes_from_enqueues_that_are_done_together_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def out_of_memory(*_: object) -> bool:
        raise MemoryError

    machine = Machine()
    monkeypatch.setattr(State, "enqueue", out_of_memory)
    with pytest.raises(MemoryError):
        machine.apply(entry(*[Enqueue("q", [NewTask(task_id(n), b"")]) for n in (1, 2)]))


def test_an_illegal_move_is_refused_by_the_state() -> None:
    state = State(PayloadsInMemory())
    queue = state.add_queue("q")
    with pytest.raises(AssertionError, match="illegal move"):
        state.count(queue, TaskState.READY, TaskState.DONE)
