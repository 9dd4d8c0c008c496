"""How long a node's event loop stands still, as seen from outside.

Each node is asked for its view every few milliseconds, which it answers from memory in one turn of
its loop. The longest wait for an answer is the longest stall. This process may be held up itself,
by a scheduler that has more to run than cores: what it slept too long within a wait is taken off.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from raftq.cli.local_cluster import LocalCluster
from raftq.client.connection import Connection, open_connection
from raftq.client.endpoints import parse_addresses
from raftq.protocol.calls import ClusterCall
from raftq.protocol.errors import ConnectionLost, NoLeader

_EVERY_SECONDS: Final = 0.005
_OWN_EVERY_SECONDS: Final = 0.002
_ANSWER_SECONDS: Final = 60
_TIMER_ERROR_SECONDS: Final = 0.005
"""Timers are always a little late. Taken off a long wait, that would add up to much of it."""
_LATE_KEPT: Final = 2_000


class StallProbe:
    """Asks every node of a cluster until it is told to stop. Use `probing`."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._addresses = {node.id: node.native for node in cluster.nodes}
        self._slept_late: deque[tuple[float, float]] = deque(maxlen=_LATE_KEPT)
        self._stopping = threading.Event()
        self.longest_ms = dict.fromkeys(self._addresses, 0.0)
        """Node → the longest wait for its answer."""
        self.answers = dict.fromkeys(self._addresses, 0)

    def run(self) -> None:
        """Ask until `stop`; blocks."""
        asyncio.run(self._ask_all())

    def stop(self) -> None:
        """Let `run` end soon; may be called on another thread."""
        self._stopping.set()

    async def _ask_all(self) -> None:
        watching = asyncio.create_task(self._watch_itself())
        # Each ends with an answer: a stall that is not over yet would be missed.
        await asyncio.gather(*(self._ask(node) for node in self._addresses))
        watching.cancel()
        await asyncio.wait([watching])

    async def _watch_itself(self) -> None:
        """Note from when to when this thread slept longer than it wanted to."""
        while True:
            due = time.monotonic() + _OWN_EVERY_SECONDS
            await asyncio.sleep(_OWN_EVERY_SECONDS)
            now = time.monotonic()
            if now - due > _TIMER_ERROR_SECONDS:
                self._slept_late.append((due, now))

    async def _ask(self, node: str) -> None:
        connection: Connection | None = None
        try:
            while not self._stopping.is_set():
                asked_at = time.monotonic()
                try:
                    if connection is None or connection.is_lost:
                        connection = await self._connect(node)
                    await connection.call(ClusterCall(), _ANSWER_SECONDS * 1_000)
                    self.answers[node] += 1
                except NoLeader:
                    await asyncio.sleep(_EVERY_SECONDS)
                    continue  # It is down, which is no stall.
                except ConnectionLost:
                    pass  # The client lost its patience; the wait was real.
                await self._note(node, asked_at, time.monotonic())
        finally:
            if connection is not None:
                connection.close()

    async def _connect(self, node: str) -> Connection:
        """Connect; a node that has a listener and does not greet stands still, too."""
        (address,) = parse_addresses(self._addresses[node])
        connection, _ = await open_connection(
            address, "bench-probe", _ANSWER_SECONDS, lambda _method, _params: None, lambda: None
        )
        return connection

    async def _note(self, node: str, asked_at: float, answered_at: float) -> None:
        await asyncio.sleep(_EVERY_SECONDS)  # This thread's lateness in the wait is noted by then.
        waited = waited_ms(asked_at, answered_at, self._slept_late)
        self.longest_ms[node] = max(self.longest_ms[node], waited)


def waited_ms(
    asked_at: float, answered_at: float, slept_late: Iterable[tuple[float, float]]
) -> float:
    """Return how long an answer took, without the times at which nobody could have heard it."""
    own = sum(max(min(at, answered_at) - max(due, asked_at), 0.0) for due, at in slept_late)
    return (answered_at - asked_at - own) * 1_000


@contextmanager
def probing(cluster: LocalCluster) -> Generator[StallProbe]:
    """Ask the nodes on a thread of its own for the length of a block.

    Raises:
        RuntimeError: A node never answered, so there is no figure.
    """
    probe = StallProbe(cluster)
    with ThreadPoolExecutor(1, "stall probe") as executor:
        ending = executor.submit(probe.run)
        try:
            yield probe
        finally:
            probe.stop()
        ending.result()
    silent = [node for node, count in probe.answers.items() if not count]
    if silent:
        raise RuntimeError(f"{silent[0]} never answered while its stalls were measured")
