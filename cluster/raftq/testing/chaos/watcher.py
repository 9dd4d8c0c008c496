"""Looks at every node all the time, and records what it says about itself."""

import threading
from dataclasses import dataclass
from typing import Final

from raftq.testing.chaos.nodes import ChaosNode
from raftq.testing.chaos.records import now_ms
from raftq.testing.checks import Violation
from raftq.testing.facts import ClusterFacts, LeaderSeen, NodeSeen, NodeStarted

_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class View:
    """What a node says about itself."""

    term: int
    commit_index: int
    applied_index: int
    state_hash: str
    is_leader: bool


def look(node: ChaosNode) -> View | None:
    """Ask a node for its view; None if it does not answer."""
    found = node.view()
    if found is None:
        return None
    term, commit, applied = found["term"], found["commit_index"], found["applied_index"]
    assert isinstance(term, int) and isinstance(commit, int) and isinstance(applied, int)
    return View(term, commit, applied, str(found["state_hash"]), found["leader"] == node.id)


class Watcher:
    """Watches nodes on threads of its own, from their first start until `stop`.

    Args:
        nodes: Whom to watch.
        facts: Where it is recorded.
    """

    def __init__(self, nodes: list[ChaosNode], facts: ClusterFacts) -> None:
        self._facts = facts
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._hashes: dict[int, tuple[str, str | None]] = {}
        self.violations: list[Violation] = []
        self._threads = [
            threading.Thread(target=self._watch, args=(node,), name=f"watch {node.id}")
            for node in nodes
        ]
        for node in nodes:
            node.on_start = self._on_start
        for thread in self._threads:
            thread.start()

    def _on_start(self, node: ChaosNode) -> None:
        with self._lock:
            self._facts.events.append(NodeStarted(now_ms(), node.id, node.is_wiped))

    def _watch(self, node: ChaosNode) -> None:
        while not self._stopping.wait(_PAUSE_SECONDS):
            life = node.lives
            view = look(node) if node.is_running else None
            if view is None:
                continue
            with self._lock:
                if node.lives == life:  # Else this is of a process that is no more.
                    self._record(node.id, view)

    def _record(self, node: str, view: View) -> None:
        events, at_ms = self._facts.events, now_ms()
        events.append(NodeSeen(at_ms, node, view.term, view.commit_index, view.applied_index))
        if view.is_leader:
            events.append(LeaderSeen(at_ms, node, view.term))
        other, known = self._hashes.setdefault(view.applied_index, (node, view.state_hash))
        if known != view.state_hash:
            text = (
                f"at index {view.applied_index}, {node} has the state {view.state_hash} and "
                f"{other} had {known}"
            )
            self.violations.append(Violation("state-divergence", text))

    def hash_at(self, index: int) -> str | None:
        """Return the state hash that a node had at an index, if one was seen there."""
        with self._lock:
            return self._hashes.get(index, ("", None))[1]

    def stop(self) -> None:
        """Watch no more. Harmless when repeated."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
