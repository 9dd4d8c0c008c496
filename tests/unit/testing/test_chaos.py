"""The parts of a chaos run that can be tried alone: records, figures, the switch, the shim."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Ack, AckItem, Enqueue
from raftq.protocol.errors import LeaseLost
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued, EnqueuedTask, Leased, LeasedTask, Settled, SettledTask
from raftq.testing.chaos.equipment import missing_equipment, why_left_out
from raftq.testing.chaos.faults import FAULTS, SHORT, Need
from raftq.testing.chaos.figures import figures_of
from raftq.testing.chaos.records import WrittenHistory, read_histories
from raftq.testing.chaos.sabotage import SABOTAGES
from raftq.testing.chaos.shim import Shim, Sync, compile_shim, compiler
from raftq.testing.chaos.switch import Switch, Way, mac_of
from raftq.testing.checks import Violation, check_all
from raftq.testing.history import History, Outcome

# ---------------------------------------------------------------- records


def test_a_call_of_a_killed_client_is_one_that_never_ended(tmp_path: Path) -> None:
    written = WrittenHistory(tmp_path / "one")
    done = written.invoke("c", Ack([AckItem(1)]))
    written.ok(done, Settled([SettledTask(TaskState.DONE)]))
    written.invoke("c", Ack([AckItem(2)]))
    with (tmp_path / "one").open("ab") as file:
        file.write(b'{"client":"c","num')  # Killed while it wrote.
    first, second = read_histories([tmp_path / "one"])
    assert (first.outcome, first.reply) == (Outcome.OK, done.reply)
    assert (second.outcome, second.ended_at_ms) == (Outcome.NEVER_ENDED, None)


def test_histories_of_several_clients_become_one_in_the_order_of_invocation(
    tmp_path: Path,
) -> None:
    names = ("a", "b", "a", "b")
    histories = {name: WrittenHistory(tmp_path / name) for name in ("a", "b")}
    for name in names:
        operation = histories[name].invoke(name, Ack([AckItem(1)]))
        histories[name].fail(operation, LeaseLost("no"))
    merged = list(read_histories([tmp_path / "b", tmp_path / "a"]))
    assert [each.client for each in merged] == list(names)
    assert [each.number for each in merged] == [0, 1, 2, 3]
    assert {each.outcome for each in merged} == {Outcome.REFUSED}


# ---------------------------------------------------------------- figures


def enqueued_at(history: History, at_ms: float) -> None:
    history.now_ms = lambda: at_ms
    task = NewTask(int(at_ms).to_bytes(16, "big"), b"")
    reply = Enqueued([EnqueuedTask(task.id, TaskState.READY, True)])
    history.ok(history.invoke("p", Enqueue("q", [task])), reply)


def test_unavailability_is_the_longest_time_between_two_successful_enqueues() -> None:
    history = History()
    for at_ms in (100.0, 110.0, 900.0, 950.0):
        enqueued_at(history, at_ms)
    history.now_ms = lambda: 500.0
    history.fail(history.invoke("p", Enqueue("q", [NewTask(bytes(16), b"")])), LeaseLost("no"))
    assert figures_of(history, []).unavailable_ms == 790.0


def test_figures_count_redeliveries_losses_and_double_records() -> None:
    history = History()
    for token in (7, 8, 8):  # The third is the answer to a repeated call, no delivery.
        lease = LeasedTask(bytes(16), "q", token, 1, b"", 1_000)
        history.ok(history.invoke("w", LeaseCall(["q"], 1, 1_000, "w", "r")), Leased([lease]))
    violations = [Violation(rule, "") for rule in ("lost", "lost", "double-ack", "early")]
    figures = figures_of(history, violations)
    assert (figures.redeliveries, figures.lost, figures.recorded_twice) == (1, 2, 1)


# ---------------------------------------------------------------- the switch


@pytest.fixture
def wires() -> Iterator[tuple[Switch, dict[str, socket.socket]]]:
    pairs = {name: socket.socketpair(type=socket.SOCK_DGRAM) for name in ("n1", "n2", "n3")}
    for pair in pairs.values():
        for end in pair:
            end.setblocking(False)
    switch = Switch({name: pair[1].fileno() for name, pair in pairs.items()}, Random(1))
    yield switch, {name: pair[0] for name, pair in pairs.items()}
    for pair in pairs.values():
        for end in pair:
            end.close()


def frame(target: int, text: bytes) -> bytes:
    return mac_of(target) + mac_of(1) + text


def received(end: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            found.append(end.recv(100)[12:])
        except BlockingIOError:
            return found


def test_a_frame_goes_to_its_port_and_a_broadcast_to_all_others(
    wires: tuple[Switch, dict[str, socket.socket]],
) -> None:
    switch, ends = wires
    ends["n1"].send(frame(2, b"two"))
    ends["n1"].send(b"\xff" * 6 + mac_of(1) + b"all")
    switch.read("n1")
    assert [received(ends[name]) for name in ("n1", "n2", "n3")] == [[], [b"two", b"all"], [b"all"]]


def test_a_cut_way_passes_nothing_and_the_way_back_all(
    wires: tuple[Switch, dict[str, socket.socket]],
) -> None:
    switch, ends = wires
    switch.set_rules({"n1>n2": Way(loss=1.0)})
    ends["n1"].send(frame(2, b"lost"))
    ends["n2"].send(frame(1, b"heard"))
    switch.read("n1")
    switch.read("n2")
    assert (received(ends["n2"]), received(ends["n1"])) == ([], [b"heard"])
    switch.set_rules({})
    ends["n1"].send(frame(2, b"healed"))
    switch.read("n1")
    assert received(ends["n2"]) == [b"healed"]


def test_jitter_reorders_and_loses_nothing(
    wires: tuple[Switch, dict[str, socket.socket]],
) -> None:
    switch, ends = wires
    switch.set_rules({"n1>n2": Way(delay_ms=1, jitter_ms=30)})
    sent = [b"%d" % number for number in range(20)]
    for text in sent:
        ends["n1"].send(frame(2, text))
    switch.read("n1")
    assert received(ends["n2"]) == [], "late"
    deadline = time.monotonic() + 5
    while (wait := switch.send_late()) is not None and time.monotonic() < deadline:
        time.sleep(wait)
    arrived = received(ends["n2"])
    assert arrived != sent and sorted(arrived) == sorted(sent)


def test_a_doubled_frame_arrives_twice(wires: tuple[Switch, dict[str, socket.socket]]) -> None:
    switch, ends = wires
    switch.set_rules({"n1>n2": Way(doubled=1.0)})
    ends["n1"].send(frame(2, b"again"))
    switch.read("n1")
    assert received(ends["n2"]) == [b"again", b"again"]


# ---------------------------------------------------------------- the shim


@pytest.fixture
def shim(tmp_path: Path) -> Iterator[Shim]:
    if compiler() is None:
        pytest.skip("there is no C compiler")
    made = Shim(compile_shim(tmp_path), tmp_path / "control")
    yield made
    made.close()


def under(shim: Shim, program: str) -> str:
    """Return what a Python program prints when it is shimmed."""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **shim.environment},
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )
    return ended.stdout.strip()


CLOCKS = "import time; print(time.time_ns() // 10**9, round(time.time()), time.monotonic())"


@pytest.mark.parametrize("step", [86_400.0, -86_400.0])
def test_a_stepped_clock_moves_wall_time_and_not_monotonic_time(shim: Shim, step: float) -> None:
    shim.step_clock(step)
    wall, also, monotonic = under(shim, CLOCKS).split()
    assert abs(int(wall) - time.time() - step) < 10
    assert abs(int(also) - time.time() - step) < 10
    assert abs(float(monotonic) - time.monotonic()) < 10


SYNCED = (
    "import os, time; f = os.open('/', 0); t = time.monotonic(); os.{}(f); "
    "print(time.monotonic() - t)"
)


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_a_slow_sync_takes_longer_and_succeeds(shim: Shim, call: str) -> None:
    shim.slow_syncs(0.2)
    assert float(under(shim, SYNCED.format(call))) >= 0.2
    assert shim.syncs == 1


def test_a_failing_sync_fails_with_an_input_output_error(shim: Shim) -> None:
    program = "import os\ntry: os.fdatasync(os.open('/', 0))\nexcept OSError as e: print(e.errno)"
    shim.set_sync(Sync.FAILS)
    assert under(shim, program) == "5"
    shim.heal()
    assert under(shim, program) == ""


def test_a_lying_sync_does_not_reach_the_kernel(shim: Shim) -> None:
    program = "import os\ntry: os.fsync(os.pipe()[0])\nexcept OSError: print('refused')"
    assert under(shim, program) == "refused", "a pipe cannot be synced"
    shim.set_sync(Sync.LIES)
    assert under(shim, program) == ""


# ---------------------------------------------------------------- names and needs


def test_a_fault_is_left_out_only_for_a_reason_that_is_told() -> None:
    missing = missing_equipment("namespaces and mounts need root")
    for fault in FAULTS.values():
        reason = why_left_out(fault, missing)
        assert (reason is None) == fault.needs.isdisjoint(missing)
        assert reason is None or "need root" in reason or "compiler" in reason
    assert why_left_out(FAULTS["kill-leader"], missing) is None
    assert Need.NETWORK not in missing_equipment(None)


def test_names_are_unique_and_known() -> None:
    assert FAULTS.keys().isdisjoint(SABOTAGES)
    assert set(SHORT) <= FAULTS.keys()
    assert all(name == fault.name for name, fault in FAULTS.items())


def test_the_sabotaged_history_shows_a_stale_ack() -> None:
    history, now = History(), iter(range(0, 10_000, 100))
    history.now_ms = lambda: float(next(now))
    task = NewTask(bytes(16), b"x")
    reply = Enqueued([EnqueuedTask(task.id, TaskState.READY, True)])
    history.ok(history.invoke("p", Enqueue("q", [task])), reply)
    for token, worker in ((1, "w1"), (2, "w2")):
        lease = LeasedTask(task.id, "q", token, token, b"x", 100)
        call = LeaseCall(["q"], 1, 100, worker, "r")
        history.ok(history.invoke(worker, call), Leased([lease]))
    refused = Settled([SettledTask(None, "lease_lost")])
    history.ok(history.invoke("w1", Ack([AckItem(1)])), refused)
    sabotage = SABOTAGES["stale-ack"]
    assert not sabotage.rules & {each.rule for each in check_all(history)}
    sabotage.tamper(history)
    assert sabotage.rules & {each.rule for each in check_all(history)}
