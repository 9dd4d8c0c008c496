"""Broken promises on purpose: what the judge must see, or its silence means nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from raftq.protocol.commands import Ack
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Settled, SettledTask
from raftq.testing.chaos.arena import Arena, Plan
from raftq.testing.chaos.faults import Fault, Need
from raftq.testing.chaos.faults.disks import power_cut_all
from raftq.testing.chaos.faults.workers import freeze_workers
from raftq.testing.chaos.shim import Sync
from raftq.testing.history import History, Operation, Outcome


def _no_change(_history: History) -> None:
    """Leave the history as it is."""


@dataclass(frozen=True, slots=True)
class Sabotage:
    """A way to break a promise."""

    fault: Fault
    rules: frozenset[str]
    """At least one of these must be reported."""
    tamper: Callable[[History], None] = _no_change


def _lie_and_cut(arena: Arena, round_number: int) -> None:
    """Let every sync do nothing, then cut the power of everybody."""
    arena.note("syncs lie from now on")
    for node in arena.nodes:
        assert node.shim is not None
        node.shim.set_sync(Sync.LIES)
    arena.hold(2.0)
    power_cut_all(arena, round_number)


def _accept_stale_ack(history: History) -> None:
    """Make the newest refused ack of a lease that somebody was granted an accepted one, as if a
    node had not looked at its token."""
    for operation in reversed(list(history)):
        if isinstance(operation.call, Ack) and isinstance(operation.reply, Settled):
            items = operation.reply.items
            if items and all(item.state is None for item in items):
                _accept(history, operation)
                return
    raise AssertionError("no ack was refused in this round; play another one")


def _accept(history: History, refused: Operation) -> None:
    assert isinstance(refused.reply, Settled)
    items = [SettledTask(TaskState.DONE) for _ in refused.reply.items]
    history.operations[refused.number] = msgspec.structs.replace(
        refused, reply=Settled(items), outcome=Outcome.OK, error_code=""
    )


SABOTAGES: Final = {
    "fsync-lies": Sabotage(
        Fault(
            "fsync-lies",
            "every fsync does nothing, then all lose power",
            _lie_and_cut,
            frozenset({Need.DISKS, Need.SHIM}),
        ),
        frozenset({"lost"}),
    ),
    "stale-ack": Sabotage(
        Fault(
            "stale-ack",
            "the history says that a stale ack counted",
            freeze_workers,
            plan=Plan(workers_apart=True),
        ),
        frozenset({"stale-accepted", "double-ack", "released-accepted"}),
        _accept_stale_ack,
    ),
}
"""By name; `raftq chaos --fault NAME` runs them, and must end with 1."""
