"""The way from an App to a cluster in memory, in the place of `Connections`."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from importlib import import_module
from typing import Final, Protocol, cast

from raftq.client.async_client import AsyncClient
from raftq.client.blocking import Client
from raftq.protocol.messages import NewTask
from raftq.worker.connections import Connections

_MODULE: Final = "raftq.testing.memory.cluster"


class Clock(Protocol):
    """The time of a cluster in memory; only `Testing.advance` moves it."""

    @property
    def now(self) -> datetime:
        """Wall time in UTC."""
        ...

    @property
    def elapsed(self) -> timedelta:
        """How far it was moved since the test began."""
        ...


class MemoryCluster(Protocol):
    """What a test needs of a cluster in memory beside its clients."""

    @property
    def clock(self) -> Clock:
        """Its time."""
        ...

    @property
    def enqueued(self) -> Sequence[tuple[str, NewTask]]:
        """Queue and task of all that was enqueued, in order."""
        ...

    def ready_queues(self) -> list[str]:
        """Return the queues that have ready tasks, oldest queue first."""
        ...

    def advance(self, by_ms: int) -> None:
        """Let time pass: both clocks move alike, and all falls due in its order."""
        ...

    def client(self) -> Client:
        """Return a new blocking client; the caller closes it."""
        ...

    def async_client(self) -> AsyncClient:
        """Return a new asyncio client, for any loop; the caller closes it."""
        ...

    def new_id(self) -> bytes:
        """Return a new task id, the same in every run of a test."""
        ...


def open_cluster(start_at_ms: int) -> MemoryCluster:
    """Return a new cluster in memory.

    By name, and only now: programs that use the App must not load the broker, nor depend on it.
    """
    opener = cast(Callable[[int], MemoryCluster], import_module(_MODULE).open_cluster)
    return opener(start_at_ms)


class MemoryAccess(Connections):
    """The clients of an App in testing mode.

    Args:
        cluster: Where they lead.
    """

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster.client, cluster.async_client)
        self._cluster: Final = cluster

    @property
    def is_live(self) -> bool:
        """Whether tasks go on by themselves: no, so a wait for one ends at once."""
        return False

    def new_id(self) -> bytes:
        """Return a new task id; safe on any thread."""
        return self._cluster.new_id()
