"""A cluster in memory as `app.testing()` needs it: the broker, and clients over it."""

from raftq.client import AsyncClient, Client
from raftq.protocol.uuid7 import Uuid7
from raftq.testing.memory.broker import MemoryBroker
from raftq.testing.memory.clients import async_client, client


class Cluster(MemoryBroker):
    """A broker that makes clients of itself.

    Args:
        start_at_ms: Wall time at first, milliseconds since 1970.
    """

    def __init__(self, start_at_ms: int) -> None:
        super().__init__(start_at_ms)
        self._ids = Uuid7(lambda: self.clock.wall_ms, self.random.getrandbits)

    def client(self) -> Client:
        """Return a new blocking client; the caller closes it."""
        return client(self)

    def async_client(self) -> AsyncClient:
        """Return a new asyncio client, for any loop; the caller closes it."""
        return async_client(self)

    def new_id(self) -> bytes:
        """Return a new task id, the same in every run of a test; safe on any thread."""
        with self._lock:
            return self._ids()


def open_cluster(start_at_ms: int) -> Cluster:
    """Return a new cluster in memory.

    Args:
        start_at_ms: Wall time at first, milliseconds since 1970.
    """
    return Cluster(start_at_ms)
