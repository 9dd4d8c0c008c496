"""The way from an App to a cluster in memory, in the place of `Connections`."""

import os
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar, cast

from raftq.client.async_client import AsyncClient
from raftq.client.blocking import Client
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.options import NewTask
from raftq.worker.connections import Connections

T = TypeVar("T")
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
        self._process: Final = os.getpid()

    @property
    def is_live(self) -> bool:
        """Whether tasks go on by themselves: no, so a wait for one ends at once."""
        return False

    def new_id(self) -> bytes:
        """Return a new task id; safe on any thread."""
        self._check_process()
        return self._cluster.new_id()

    def run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine with a client on a thread of its own, and wait for its end."""
        self._check_process()
        return super().run(call)

    async def client(self) -> AsyncClient:
        """Return the client of the running loop; it is closed with the loop."""
        self._check_process()
        return await super().client()

    def _check_process(self) -> None:
        """Refuse a forked child: it would enqueue into its own copy, and nobody would notice."""
        if os.getpid() != self._process:
            raise InvalidRequest(
                "this App is in testing mode in the process of the test, whose cluster in memory "
                "another process cannot reach; use real nodes (the fixture raftq_cluster)"
            )
