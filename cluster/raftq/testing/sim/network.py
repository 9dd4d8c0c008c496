"""The simulated network: TCP-like connections between processes, and all the ways they break.

Fault model, written down before the fake:

- A connection carries bytes **in order**, each way on its own, in pieces of at most `_PIECE_BYTES`,
  each with a random delay; a link (one direction between two machines) can be slow.
- A **partition** blocks links, one way or both. Bytes wait, as TCP would send them again, and
  arrive in order after the link heals; new connections are not answered meanwhile.
- A connection that **breaks** loses a random suffix of what is in flight each way; both ends learn
  of it, perhaps at different times. One end may learn of it first and connect again while the **old
  connection still delivers** to the other.
- A **killed** process closes its connections: what it sent arrives, then the end of the stream.
- A machine that **loses power** says nothing: its peers are left with a half-open connection, which
  is reset when they send on it after the machine is back.
- Bytes are never changed, doubled or reordered within a connection: TCP prevents it.
- A sender is told that its bytes were taken while fewer than `SEND_BUFFER_BYTES` are in flight.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from raftq.consensus.peers.network import Serve, Stream
from raftq.testing.sim.loop import Process
from raftq.testing.sim.streams import SimStream, SimTransport
from raftq.testing.sim.world import World

SEND_BUFFER_BYTES: Final = 256 * 1024
_PIECE_BYTES: Final = 2_048
_RETRY_SECONDS: Final = 0.3
"""How often a connection attempt over a blocked link is made again (TCP's SYN)."""


class Receiver(Protocol):
    """What a connection's end does with what arrives; called on the process's loop."""

    def on_data(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...


class End:
    """One end of a connection; `peer` is the other."""

    def __init__(self, network: "SimNetwork", process: Process, host: str) -> None:
        self.network = network
        self.process = process
        self.host = host
        self.peer: End = self
        self.receiver: Receiver | None = None
        self.is_closed = False
        """This end sends and receives no more."""
        self.is_lost = False
        """Its machine has forgotten the connection without a word."""
        self.is_held = False
        """What is in flight waits, whatever the link does; see `SimNetwork.give_up`."""
        self.in_flight_bytes = 0
        """On the way to this end."""
        self._in_flight: deque[tuple[float, bytes | None]] = deque()
        self._last_at = 0.0
        self._senders: deque[asyncio.Future[None]] = deque()
        """The other end's writes that were not taken yet."""

    # ------------------------------------------------------------ the process's side

    def send(self, data: bytes) -> "asyncio.Future[None]":
        """Send to the other end; the future is done when the bytes are taken."""
        taken: asyncio.Future[None] = self.process.create_future()
        peer = self.peer
        if self.is_closed or not self.process.is_alive:
            taken.set_result(None)
        elif peer.is_lost:
            self.network.reset_later(self)
        else:
            for start in range(0, len(data), _PIECE_BYTES):
                peer.carry(data[start : start + _PIECE_BYTES])
            if peer.in_flight_bytes <= SEND_BUFFER_BYTES:
                taken.set_result(None)
            else:
                peer._senders.append(taken)
        return taken

    def close(self) -> None:
        """End the connection; what was sent still arrives."""
        if not self.is_closed:
            self.is_closed = True
            self._in_flight.clear()
            if not self.peer.is_lost:
                self.peer.carry(None)
            self.network.forget(self)

    # ------------------------------------------------------------ the network's side

    def carry(self, data: bytes | None) -> None:
        """Put a piece, or the end of the stream, on its way to this end."""
        network = self.network
        if self.is_closed:
            return
        when = max(self._last_at, network.world.now + network.delay(self.peer.host, self.host))
        self._last_at = when
        self._in_flight.append((when, data))
        self.in_flight_bytes += 0 if data is None else len(data)
        network.world.at(when, self.arrive)

    def arrive(self) -> None:
        """Hand over what is due, unless the link is blocked."""
        network, queue = self.network, self._in_flight
        if not queue or self.is_held or network.is_blocked(self.peer.host, self.host):
            return
        now = network.world.now
        while queue and queue[0][0] <= now:
            data = queue.popleft()[1]
            if data is None:
                self.break_now()
                return
            self.in_flight_bytes -= len(data)
            if not self.is_closed and self.receiver is not None:
                self.process.call_soon(self.receiver.on_data, data)
        while self._senders and self.in_flight_bytes <= SEND_BUFFER_BYTES:
            self._take(self._senders.popleft())

    def _take(self, sender: "asyncio.Future[None]") -> None:
        def take() -> None:
            if not sender.done():
                sender.set_result(None)

        self.peer.process.call_soon(take)

    def break_now(self) -> None:
        """Tell this end's process that the connection is over."""
        if not self.is_closed:
            self.is_closed = True
            self._in_flight.clear()
            self.network.forget(self)
            if self.receiver is not None:
                self.process.call_soon(self.receiver.on_end)

    def lose_suffix(self) -> None:
        """Lose a random part of what is in flight to this end, from some place on."""
        kept = self.network.random.randint(0, len(self._in_flight))
        while len(self._in_flight) > kept:
            data = self._in_flight.pop()[1]
            self.in_flight_bytes -= 0 if data is None else len(data)

    def delay_all(self, seconds: float) -> None:
        """Let everything in flight, and what follows, arrive later."""
        shifted = [(when + seconds, data) for when, data in self._in_flight]
        self._in_flight = deque(shifted)
        for when, _ in shifted:
            self.network.world.at(when, self.arrive)
        self._last_at = max(self._last_at, self.network.world.now) + seconds


class SimNetwork:
    """All connections of a world.

    Args:
        world: Its time and chance.
        delay_seconds: The mean delay of one piece.
    """

    def __init__(self, world: World, delay_seconds: float = 0.0004) -> None:
        self.world = world
        self.random = world.chance("network")
        self.delay_seconds = delay_seconds
        self.hosts_up: set[str] = set()
        """Machines that answer at all."""
        self.slow: dict[tuple[str, str], float] = {}
        """Links that take this many seconds more."""
        self._blocked: set[tuple[str, str]] = set()
        self._ends: dict[End, None] = {}
        self._listeners: dict[tuple[str, int], tuple[Process, Callable[[SimStream], None]]] = {}

    # ------------------------------------------------------------ links

    def delay(self, source: str, target: str) -> float:
        """Return how long a piece takes."""
        mean = self.delay_seconds
        return mean / 4 + self.random.expovariate(1 / mean) + self.slow.get((source, target), 0.0)

    def is_blocked(self, source: str, target: str) -> bool:
        """Tell whether nothing passes from one machine to another."""
        return (source, target) in self._blocked

    def block(self, source: str, target: str) -> None:
        """Let nothing pass in one direction."""
        self._blocked.add((source, target))

    def unblock(self, source: str, target: str) -> None:
        """Let pass, in one direction, what has waited and what comes."""
        self._blocked.discard((source, target))
        for end in list(self._ends):
            if (end.peer.host, end.host) == (source, target):
                end.arrive()

    def heal(self) -> None:
        """Unblock and speed up every link."""
        self._blocked.clear()
        self.slow.clear()
        self.release()
        for end in list(self._ends):
            end.arrive()

    # ------------------------------------------------------------ connections

    def listen(
        self, address: tuple[str, int], process: Process, accept: Callable[[SimStream], None]
    ) -> None:
        """Let a process accept connections."""
        self._listeners[address] = (process, accept)

    def stop_listening(self, process: Process) -> None:
        """Let a process accept no more."""
        for address in [a for a, (owner, _) in self._listeners.items() if owner is process]:
            del self._listeners[address]

    def open(self, process: Process, host: str, address: tuple[str, int]) -> End | None:
        """Connect, or return None if the machine refuses.

        Raises:
            TimeoutError: Nothing answers now; try again later.
        """
        target = address[0]
        if target not in self.hosts_up or self.is_blocked(host, target):
            raise TimeoutError
        if self.is_blocked(target, host):
            raise TimeoutError
        listener = self._listeners.get(address)
        if listener is None or not listener[0].is_alive:
            return None
        ours, theirs = End(self, process, host), End(self, listener[0], target)
        ours.peer, theirs.peer = theirs, ours
        self._ends[ours] = self._ends[theirs] = None
        listener[0].call_soon(listener[1], SimStream(theirs))
        return ours

    def forget(self, end: End) -> None:
        """Drop an end that is closed."""
        self._ends.pop(end, None)

    def reset_later(self, end: End) -> None:
        """Answer for a machine that knows nothing of a connection, once it is up again."""
        if end.peer.host in self.hosts_up and not self.is_blocked(end.host, end.peer.host):
            self.world.after(self.delay(end.peer.host, end.host), end.break_now)

    # ------------------------------------------------------------ faults

    def connections_between(self, first: str, second: str) -> list[End]:
        """Return both ends of every connection between two machines, oldest first."""
        pairs = {(first, second), (second, first)}
        return [end for end in self._ends if (end.host, end.peer.host) in pairs]

    def break_connections(self, first: str, second: str) -> None:
        """Break every connection between two machines; both ends learn of it."""
        for end in self.connections_between(first, second):
            if not end.is_closed:
                end.lose_suffix()
                end.carry(None)

    def break_one_side(self, first: str, second: str, lag: float) -> None:
        """Break every connection, but let `second` receive what is in flight, late, first."""
        for end in self.connections_between(first, second):
            if end.host == second and not end.is_closed:
                end.delay_all(lag)
                end.carry(None)
                end.peer.break_now()

    def give_up(self, first: str, second: str) -> None:
        """Let `first` forget its connections to `second`; what `second` has not received of them
        waits for `release`."""
        for end in self.connections_between(first, second):
            if end.host == second and not end.is_closed:
                end.is_held = True
                end.carry(None)
                end.peer.break_now()

    def release(self) -> None:
        """Let through what waits on connections that one side gave up."""
        for end in [end for end in self._ends if end.is_held]:
            end.is_held = False
            end.arrive()

    def process_died(self, process: Process, *, says_goodbye: bool) -> None:
        """End the connections of a process: with a word (killed) or without (power lost)."""
        self.stop_listening(process)
        for end in [end for end in self._ends if end.process is process]:
            if says_goodbye:
                end.close()
            else:
                end.is_closed = end.is_lost = True
                end.peer.lose_suffix()
                self.forget(end)


class HostNetwork:
    """The network as one process sees it; implements `consensus.peers.network.Network`.

    Args:
        network: The world's.
        host: The machine that this process is on.
    """

    def __init__(self, network: SimNetwork, host: str) -> None:
        self._network = network
        self.host = host
        self._random = network.world.chance(f"dial {host}")

    async def dial(self, host: str, port: int) -> Stream:
        """Connect a stream."""
        return SimStream(await self._connect(host, port))

    def listen(self, host: str, port: int, serve: Serve) -> None:
        """Serve accepted streams, each in a task of its own."""
        process = _running()
        tasks: dict[asyncio.Task[None], None] = {}

        async def serve_one(stream: SimStream) -> None:
            await serve(stream)

        def accept(stream: SimStream) -> None:
            task = process.create_task(serve_one(stream))
            tasks[task] = None
            task.add_done_callback(lambda done: tasks.pop(done))

        self._network.listen((host, port), process, accept)

    def stop_listening(self) -> None:
        """Accept no more."""
        self._network.stop_listening(_running())

    async def connect_protocol(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Connect an asyncio protocol."""
        end = await self._connect(host, port)
        protocol = factory()
        transport = SimTransport(end, protocol)
        protocol.connection_made(transport)
        return transport, protocol

    async def _connect(self, host: str, port: int) -> End:
        network = self._network
        await asyncio.sleep(network.delay(self.host, host) + network.delay(host, self.host))
        while True:
            try:
                end = network.open(_running(), self.host, (host, port))
            except TimeoutError:
                await asyncio.sleep(_RETRY_SECONDS * (0.5 + self._random.random()))
            else:
                break
        if end is None:
            raise ConnectionRefusedError(f"{host}:{port} refuses")
        return end


def _running() -> Process:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Process)
    return loop
