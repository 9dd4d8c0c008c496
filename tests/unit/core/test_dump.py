"""Whole states as bytes and back."""

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest
from msgspec import structs
from tests.support.machines import LEASE_MS, Driver, task_id

from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.commands import FoundCluster
from raftq.protocol.errors import CorruptRecord


def varied() -> Driver:
    """Return a driver whose machine holds a task in every state and place."""
    driver = Driver()
    driver.one(FoundCluster("c1"))
    driver.run(1, 2, result=b"result")
    driver.enqueue(10, queue="x", delay_ms=5_000)
    driver.enqueue(20, 21, 22, 23, 24, priority=1)
    first = driver.request("known", 4, worker="w1").leases
    driver.requeue(first[1].token)
    driver.fail(first[0].token, "broken")
    driver.extend(first[2].token, 2 * LEASE_MS)
    driver.enqueue(30, attempts_max=1, priority=0)
    driver.fail(driver.lease()[0].token, "dead")
    driver.enqueue(40, priority=0)
    driver.requeue(driver.lease()[0].token, delay_ms=7_000)
    return driver


def go_on(driver: Driver) -> list[object]:
    """Use everything that a machine remembers; returns what it answered."""
    answers: list[object] = [driver.request("known", 4, worker="w1")]
    answers += [driver.ack(token) for token in range(1, 9)]
    answers += [driver.fail(token) for token in range(1, 9)]
    answers += [driver.requeue(token) for token in range(1, 9)]
    driver.pass_wall_ms(6_000)
    answers.append(driver.request("middle", 3))
    driver.pass_lease_ms(2 * LEASE_MS)
    driver.pass_wall_ms(limits.RESULT_RETENTION_MS)
    answers.append(driver.request("end", 100, queues=("x", "q")))
    return [*answers, driver.hashes()]


def test_a_loaded_state_has_the_same_content() -> None:
    driver = varied()
    loaded = Machine.load(driver.machine.dump())
    loaded.check_invariants()
    assert (loaded.state_hash, loaded.content_hash()) == driver.hashes()
    assert list(loaded.dump()) == list(driver.machine.dump())


def test_a_loaded_state_answers_as_the_other_does_ever_after() -> None:
    driver = varied()
    loaded = Driver(Machine.load(driver.machine.dump()))
    assert go_on(loaded) == go_on(driver)


def test_a_loaded_state_reads_alike() -> None:
    driver = varied()
    one, two = driver.machine, Machine.load(driver.machine.dump())
    assert one.queues() == two.queues() and one.cluster_id == two.cluster_id == "c1"
    for name in one.queues():
        assert one.queue(name) == two.queue(name)
        assert one.ready_count(name) == two.ready_count(name)
    assert one.next_lease_deadline_ms() == two.next_lease_deadline_ms()
    assert one.next_wall_due_at_ms() == two.next_wall_due_at_ms()
    assert (one.live_tasks, one.live_payload_bytes) == (two.live_tasks, two.live_payload_bytes)


def test_tasks_that_came_back_keep_their_place_through_a_snapshot() -> None:
    driver = Driver()
    driver.enqueue(1, 2, 3, 4)
    leases = driver.lease(3)
    driver.requeue(leases[0].token)
    loaded = Driver(Machine.load(driver.machine.dump()))
    loaded.requeue(leases[2].token)
    loaded.requeue(leases[1].token)
    assert [each.task_id[-1] for each in loaded.request("end", 4).leases] == [1, 2, 3, 4]


def test_a_dump_of_format_1_is_still_read() -> None:
    """`varied`, as the version before dumped it: payloads in the rows of their tasks.

    One chunk in a line, base64.
    """
    driver = varied()
    lines = (Path(__file__).parent / "dump_of_format_1.txt").read_text().split()
    loaded = Machine.load([b64decode(line) for line in lines])
    loaded.check_invariants()
    assert loaded.state_hash == driver.machine.state_hash
    for number in range(20):
        known, found = driver.machine.task(task_id(number)), loaded.task(task_id(number))
        # Of attempts it has the errors only.
        assert found == (known and structs.replace(known, history=found.history if found else []))
    assert go_on(Driver(loaded))[:-1] == go_on(driver)[:-1]  # The last is of the content.


def test_an_empty_state_survives() -> None:
    assert Machine.load(Machine().dump()).content_hash() == Machine().content_hash()


def test_large_states_come_in_chunks_of_bounded_size() -> None:
    driver = Driver()
    driver.checks_invariants = False
    driver.enqueue(*range(1, 10_001), payload=bytes(300))
    chunks = list(driver.machine.dump())
    assert len(chunks) > 10 and max(map(len, chunks)) < 512 * limits.KIB


def test_recorded_errors_count_for_the_size_of_a_chunk() -> None:
    driver = Driver()
    driver.checks_invariants = False
    driver.enqueue(*range(1, 501))
    for lease in driver.lease(500):
        driver.fail(lease.token, "x" * limits.ERROR_TEXT_CHARACTERS_MAX)
    assert max(map(len, driver.machine.dump())) < 512 * limits.KIB


# ---------------------------------------------------------------- damage

Chunk = list[object]


def _chunks() -> list[Chunk]:
    return [msgspec.msgpack.decode(chunk, type=list[object]) for chunk in varied().machine.dump()]


def _load(chunks: list[Chunk]) -> Machine:
    return Machine.load([msgspec.msgpack.encode(chunk) for chunk in chunks])


def test_every_missing_chunk_of_the_state_but_a_worker_s_requests_is_noticed() -> None:
    """Payloads may be elsewhere: who asks for one that is nowhere hears it."""
    chunks = _chunks()
    for position, chunk in enumerate(chunks):
        if chunk[0] in (5, 6):
            continue
        with pytest.raises(CorruptRecord):
            _load(chunks[:position] + chunks[position + 1 :])


def test_every_doubled_chunk_of_tasks_or_lines_is_noticed() -> None:
    chunks = _chunks()
    for position, chunk in enumerate(chunks):
        if chunk[0] in (0, 2, 4, 7, 8):
            with pytest.raises(CorruptRecord):
                _load([*chunks[: position + 1], *chunks[position:]])


def test_no_chunks_are_no_state() -> None:
    with pytest.raises(CorruptRecord):
        Machine.load([])


def _tasks(chunks: list[Chunk]) -> list[list[object]]:
    (rows,) = [chunk[1] for chunk in chunks if chunk[0] == 2]
    return cast("list[list[object]]", rows)


def _row(chunks: list[Chunk], state: str) -> list[object]:
    return next(row for row in _tasks(chunks) if row[9] == state)


def _set(state: str, position: int, value: object) -> Callable[[list[Chunk]], None]:
    def change(chunks: list[Chunk]) -> None:
        _row(chunks, state)[position] = value

    return change


def _line_with(state: str) -> Callable[[list[Chunk]], None]:
    def change(chunks: list[Chunk]) -> None:
        part = next(cast("list[object]", chunk[2]) for chunk in chunks if chunk[0] == 8)
        cast("list[int]", part[2])[0] = cast("int", _row(chunks, state)[0])

    return change


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_set("leased", 15, None), id="a leased task without a lease"),
        pytest.param(_set("ready", 5, 10), id="a priority that does not exist"),
        pytest.param(_set("ready", 5, -1), id="a negative priority"),
        pytest.param(_set("ready", 9, "leased"), id="a ready task that says it is leased"),
        pytest.param(_set("ready", 9, "done"), id="a ready task that says it is done"),
        pytest.param(_set("ready", 9, "sleeping"), id="an unknown state"),
        pytest.param(_set("ready", 2, b"short"), id="an id that is too short"),
        pytest.param(_set("ready", 1, "nowhere"), id="a task in an unknown queue"),
        pytest.param(_set("ready", 0, 10**6), id="a sequence that no line knows"),
        pytest.param(_set("done", 14, 9), id="a settling that does not exist"),
        pytest.param(_set("done", 16, "text"), id="a result of another type"),
        pytest.param(_line_with("leased"), id="a leased task in a line"),
        pytest.param(_line_with("done"), id="a done task in a line"),
        pytest.param(_set("ready", 0, 2**48), id="a sequence that is too large"),
        pytest.param(_set("dead", 0, 1), id="a sequence out of order"),
    ],
)
def test_damaged_content_is_noticed(damage: Callable[[list[Chunk]], None]) -> None:
    chunks = _chunks()
    damage(chunks)
    with pytest.raises(CorruptRecord):
        _load(chunks)


def test_no_cut_or_flipped_byte_raises_anything_but_corrupt_record() -> None:
    chunks = list(varied().machine.dump())
    for position, chunk in enumerate(chunks):
        for offset in range(len(chunk)):
            for damaged in (
                chunk[:offset],
                chunk[:offset] + bytes([chunk[offset] ^ 0xFF]) + chunk[offset + 1 :],
                chunk[:offset] + bytes([chunk[offset] ^ 0x01]) + chunk[offset + 1 :],
            ):
                try:
                    Machine.load([*chunks[:position], damaged, *chunks[position + 1 :]])
                except CorruptRecord:
                    continue


@pytest.mark.parametrize("junk", [b"", b"\xc1", b"\x91" * 100_000, b"\x92\x09\xa1\xff", b"\x00"])
def test_junk_is_a_corrupt_record(junk: bytes) -> None:
    chunks = list(varied().machine.dump())
    for position in range(len(chunks) + 1):
        with pytest.raises(CorruptRecord):
            Machine.load([*chunks[:position], junk, *chunks[position:]])
