"""Backups of a cluster that is being hurt."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from raftq.testing.chaos.arena import Arena
from raftq.testing.chaos.faults.fault import Fault
from raftq.testing.chaos.watcher import look

_TIMEOUT_SECONDS: Final = 40


def backup_meanwhile(arena: Arena, _round: int) -> None:
    """Take a backup, then one while the leader dies; each must be whole and of one state."""
    _take(arena, "calm")
    leader = arena.leader()
    taking = _begin(arena, "killed")
    arena.hold(arena.random.uniform(0.1, 0.5))
    arena.note(f"{leader.id} is killed")
    leader.kill_at_once()
    _finish(arena, "killed", taking)
    leader.start()
    arena.hold(0.5)
    _take(arena, "again")


def _applied(arena: Arena) -> int:
    views = [look(node) for node in arena.nodes if node.is_running]
    return max((view.applied_index for view in views if view is not None), default=0)


def _take(arena: Arena, name: str) -> None:
    before = _applied(arena)
    index = _finish(arena, name, _begin(arena, name))
    text = f"backup {name} is of index {index}, but {before} had been applied before"
    arena.expect(index >= before, "backup-old", text)


def _begin(arena: Arena, name: str) -> "subprocess.Popen[str]":
    command = ["backup", "take", str(_file(arena, name)), "--address", arena.cluster.addresses]
    return subprocess.Popen(
        [sys.executable, "-m", "raftq.cli.main", *command, "--timeout", "30s", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(arena: Arena, name: str, taking: "subprocess.Popen[str]") -> int:
    """Wait for a backup, check it, and return its index."""
    out, words = taking.communicate(timeout=_TIMEOUT_SECONDS)
    taken = taking.returncode == 0
    arena.expect(taken, "no-backup", f"backup {name} ended with {taking.returncode}: {words}")
    if not taken:
        return 0
    told: dict[str, Any] = json.loads(out)
    index, state_hash = told["index"], told["state_hash"]
    arena.note(f"backup {name} is of index {index}")
    command = [sys.executable, "-m", "raftq.cli.main", "backup", "verify", "--json"]
    checked = subprocess.run(
        [*command, str(_file(arena, name))], capture_output=True, text=True, check=False
    )
    found: dict[str, Any] = json.loads(checked.stdout) if checked.returncode == 0 else {}
    same = (found.get("index"), found.get("state_hash")) == (index, state_hash)
    arena.expect(same, "backup-damaged", f"{told} was taken, {found or checked.stderr} is there")
    seen = arena.watcher.hash_at(index)
    text = f"backup {name} has the state {state_hash} at index {index}, a node had {seen}"
    arena.expect(seen in (None, state_hash), "backup-divergence", text)
    return int(index)


def _file(arena: Arena, name: str) -> Path:
    return arena.folder / f"{name}.backup"


FAULTS: Final = (
    Fault("backup-meanwhile", "backups under load, one while the leader dies", backup_meanwhile),
)
