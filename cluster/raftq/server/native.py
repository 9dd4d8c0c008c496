"""MessagePack-RPC over TCP, as docs/reference/native-protocol.md describes it byte by byte.

Who is connected, and what is told to all of them; what one client says and hears is in
`native_connection`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from raftq.consensus.contract import ReplicaView
from raftq.consensus.peers.network import Stream
from raftq.protocol import limits
from raftq.protocol.replies import HelloReply
from raftq.server.gate import Gate
from raftq.server.listening import PoliteServer
from raftq.server.metrics import Metrics
from raftq.server.native_connection import NativeConnection, NativeParts, NativePatience
from raftq.server.service import Service


class NativeServer(PoliteServer):
    """Accepts clients.

    Args:
        service: Executes their calls.
        greet: Returns the answer to a hello.
        metrics: Counts calls.
        gate: Lets clients in.
        patience: With silent clients.
    """

    def __init__(
        self,
        service: Service,
        greet: Callable[[], HelloReply],
        metrics: Metrics,
        gate: Gate,
        patience: NativePatience | None = None,
    ) -> None:
        super().__init__(max_buffer_size=2 * limits.REQUEST_BYTES_MAX)
        self.gate = gate
        self._parts = NativeParts(service, greet, metrics, gate, patience or NativePatience())
        self.connections: dict[NativeConnection, None] = {}
        self._per_address: Counter[str] = Counter()
        service.on_leader.append(self._tell_leader)
        if gate.tokens is not None:
            gate.tokens.on_change.append(self._end_revoked)

    async def handle_stream(self, stream: Stream, address: tuple[str, int]) -> None:
        """Serve one connection to its end."""
        host = address[0]
        if self._per_address[host] >= limits.CONNECTIONS_PER_ADDRESS_MAX:
            stream.close()
            return
        self._per_address[host] += 1
        connection = NativeConnection(stream, host, self._parts)
        self.connections[connection] = None
        try:
            await connection.serve()
        finally:
            del self.connections[connection]
            self._per_address[host] -= 1
            if not self._per_address[host]:
                del self._per_address[host]

    def _end_revoked(self) -> None:
        """Close the connections of clients whose token does not count any more."""
        for connection in list(self.connections):
            connection.end_if_revoked()

    def _tell_leader(self, view: ReplicaView) -> None:
        for connection in self.connections:
            connection.notify("leader", [view.leader, view.term])

    def tell_shutting_down(self) -> None:
        """Ask every client to send its next calls elsewhere."""
        for connection in self.connections:
            connection.notify("shutting_down", [])

    @property
    def calls_running(self) -> int:
        """Calls that are not answered yet."""
        return sum(len(connection.running) for connection in self.connections)

    async def close_connections(self) -> None:
        """Close every connection; what was answered has left."""
        await asyncio.gather(*(connection.close() for connection in list(self.connections)))
