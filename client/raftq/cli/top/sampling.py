"""What `raftq top` shows: one look at the cluster, and rates from several."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from raftq.cli import moments
from raftq.cli.top.nodes import Nodes, NodeView, views
from raftq.client import AsyncClient, Consistency, QueueStatus

WAITING: Final = ("scheduled", "blocked", "ready")
_RATES_OVER_SECONDS: Final = 5.0
_LOOKS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Look:
    """The cluster at one moment."""

    at: float
    """Monotonic seconds."""
    at_ms: int
    """Wall clock of this machine."""
    cluster_id: str
    leader: str | None
    term: int
    commit_index: int
    nodes: list[NodeView]
    queues: list[QueueStatus]


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue at one moment, with the rates since some moments before."""

    name: str
    counts: dict[str, int]
    is_paused: bool
    enqueued_per_second: float
    done_per_second: float
    oldest_ready_ms: int | None
    """How long the task that is given out next has been ready."""

    @property
    def depth(self) -> int:
        """Tasks that wait or run."""
        return sum(self.counts.get(state, 0) for state in (*WAITING, "leased"))

    def count(self, state: str) -> int:
        """Return the tasks of a state."""
        return self.counts.get(state, 0)


@dataclass(frozen=True, slots=True)
class View:
    """What is shown."""

    look: Look
    queues: list[QueueView]
    """Those with the most to do first."""

    def count(self, state: str) -> int:
        """Return the tasks of a state in all queues."""
        return sum(each.count(state) for each in self.queues)

    @property
    def depth(self) -> int:
        """Tasks that wait or run, in all queues."""
        return sum(each.depth for each in self.queues)

    @property
    def enqueued_per_second(self) -> float:
        """Of all queues."""
        return sum(each.enqueued_per_second for each in self.queues)

    @property
    def done_per_second(self) -> float:
        """Of all queues."""
        return sum(each.done_per_second for each in self.queues)

    @property
    def oldest_ready_ms(self) -> int | None:
        """How long any task has been ready, at most."""
        return max((each.oldest_ready_ms or 0 for each in self.queues), default=None)


@dataclass
class Looks:
    """The newest looks, from which rates follow."""

    _looks: deque[Look] = field(default_factory=lambda: deque(maxlen=_LOOKS_MAX))

    def add(self, look: Look) -> View:
        """Add a look, and return what is shown then."""
        self._looks.append(look)
        while len(self._looks) > 2 and look.at - self._looks[0].at > _RATES_OVER_SECONDS:
            self._looks.popleft()
        first = self._looks[0]
        before = {each.queue: each for each in first.queues}
        seconds = look.at - first.at
        shown = [_queue(each, before.get(each.queue), seconds, look.at_ms) for each in look.queues]
        shown.sort(key=lambda each: (-each.depth, -each.enqueued_per_second, each.name))
        return View(look, shown)


def _queue(found: QueueStatus, before: QueueStatus | None, seconds: float, at_ms: int) -> QueueView:
    oldest = found.oldest_ready_at_ms
    done = found.counts.get("done", 0)
    # A queue that was not there has begun with nothing.
    enqueued_before = 0 if before is None else before.enqueued
    done_before = 0 if before is None else before.counts.get("done", 0)
    return QueueView(
        found.queue,
        found.counts,
        found.settings.paused,
        _rate(found.enqueued - enqueued_before, seconds),
        _rate(done - done_before, seconds),
        None if oldest is None else max(at_ms - oldest, 0),
    )


def _rate(difference: int, seconds: float) -> float:
    """Return a rate; what became less was read from a node that lags, or left for another queue."""
    return max(difference, 0) / seconds if seconds else 0.0


async def look(client: AsyncClient, nodes: Nodes, timeout: float) -> Look:
    """Look at the cluster once; every node is asked, and nothing goes through the log.

    Raises:
        RaftqError: No node answers.
    """
    found, queues = await asyncio.gather(
        client.cluster(timeout=timeout),
        # Stale: it must also work without a majority, which is when people look.
        client.queues(consistency=Consistency.STALE, timeout=timeout),
    )
    answers = await nodes.ask(found.nodes)
    shown, committed = views(found.nodes, answers)
    newest = max((found, *(each for each in answers if each is not None)), key=lambda it: it.term)
    return Look(
        time.monotonic(),
        moments.now_ms(),
        found.cluster_id,
        newest.leader,
        newest.term,
        max(committed, found.commit_index),
        shown,
        queues,
    )


def as_json(view: View) -> dict[str, object]:
    """Return what is shown, for programs."""
    look = view.look
    return {
        "at_ms": look.at_ms,
        "cluster_id": look.cluster_id,
        "leader": look.leader,
        "term": look.term,
        "commit_index": look.commit_index,
        "nodes": [
            {
                "id": node.id,
                "role": node.role,
                "is_voter": node.is_voter,
                "applied_index": node.applied_index,
                "behind": node.behind,
            }
            for node in look.nodes
        ],
        "depth": view.depth,
        "enqueued_per_second": round(view.enqueued_per_second, 1),
        "done_per_second": round(view.done_per_second, 1),
        "queues": [
            {
                "queue": each.name,
                "counts": each.counts,
                "paused": each.is_paused,
                "enqueued_per_second": round(each.enqueued_per_second, 1),
                "done_per_second": round(each.done_per_second, 1),
                "oldest_ready_ms": each.oldest_ready_ms,
            }
            for each in view.queues
        ],
    }
