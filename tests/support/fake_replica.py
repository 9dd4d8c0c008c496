"""A fake of `raftq.consensus.contract.Replica` on the real queue machine.

It commits by itself in the next turn of the loop, or, while `is_holding`, when a test says so. All
commands of one turn share an entry, as the contract promises. Nothing else is replicated.
"""

import asyncio
from collections.abc import Awaitable, Callable

from raftq.consensus.contract import CallHandler, ReplicaListener, ReplicaView
from raftq.core.applied import Applied
from raftq.core.machine import Machine
from raftq.protocol import codec
from raftq.protocol.calls import Call
from raftq.protocol.commands import Command, Entry
from raftq.protocol.errors import LeadershipLost, NoLeader, NotLeader, RaftqError
from raftq.protocol.replies import CommandReply, Reply
from raftq.protocol.versions import ENTRY_VERSION

Forward = Callable[[Call, float], Awaitable[Reply]]
_WALL_AT_MS = 1_700_000_000_000


class FakeReplica:
    """One member of a group whose other members agree with everything.

    Args:
        is_leader: Whether it leads at first.
    """

    def __init__(self, is_leader: bool = True) -> None:
        self._machine = Machine()
        self._is_leader = is_leader
        self._leader: str | None = "n1" if is_leader else "n2"
        self._term = 1
        self._index = 0
        self._listener: ReplicaListener | None = None
        self._handler: CallHandler | None = None
        self._waiting: list[tuple[Command, asyncio.Future[CommandReply]]] = []
        self.base_index = 0
        self.wall_ms = _WALL_AT_MS
        self.lag_ms: int | None = None
        self.is_holding = False
        self.barrier_error: RaftqError | None = None
        self.propose_error: RaftqError | None = None
        self.on_forward: Forward = _no_leader
        self.forwarded: list[Call] = []
        self.entries: list[list[Command]] = []
        """The commands of each entry, in order."""
        self.barriers = 0
        self.added: list[tuple[str, str]] = []
        self.removed: list[str] = []
        self.transfers: list[str | None] = []
        self.not_ready_reason: str | None = None

    # ------------------------------------------------------------ contract.Replica

    @property
    def machine(self) -> Machine:
        return self._machine

    @property
    def is_leader(self) -> bool:
        return self._is_leader

    def view(self) -> ReplicaView:
        return ReplicaView(
            node="n1",
            leader=self._leader,
            is_leader=self._is_leader,
            has_quorum=True,
            term=self._term,
            commit_index=self._index,
            applied_index=self._index,
            log_entries=self._index,
            reachable={"n1": True, "n2": True, "n3": False},
            not_ready_reason=self.not_ready_reason,
            lag_ms=0 if self._is_leader else self.lag_ms,
        )

    def propose(self, command: Command, deadline: float) -> "asyncio.Future[CommandReply]":
        if self.propose_error is not None:
            raise self.propose_error
        if not self._is_leader:
            raise NotLeader("n1 does not lead")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CommandReply] = loop.create_future()
        if not self._waiting and not self.is_holding:
            loop.call_soon(self.commit)
        self._waiting.append((command, future))
        return future

    async def read_barrier(self, deadline: float) -> None:
        self.barriers += 1
        await asyncio.sleep(0)
        if self.barrier_error is not None:
            raise self.barrier_error

    async def forward(self, call: Call, deadline: float) -> Reply:
        self.forwarded.append(call)
        return await self.on_forward(call, deadline)

    def attach(self, listener: ReplicaListener, handler: CallHandler) -> None:
        self._listener, self._handler = listener, handler

    async def transfer_leadership(self, deadline: float, to: str | None = None) -> bool:
        self.transfers.append(to)
        self.lead(False)
        return True

    async def add_member(self, node: str, address: str, deadline: float) -> None:
        self.added.append((node, address))

    async def remove_member(self, node: str, deadline: float) -> None:
        self.removed.append(node)

    # ------------------------------------------------------------ for tests

    @property
    def handler(self) -> CallHandler:
        """Who executes calls that other nodes forward here."""
        assert self._handler is not None
        return self._handler

    @property
    def proposed(self) -> int:
        """Commands that wait to be committed."""
        return len(self._waiting)

    @property
    def commands(self) -> list[Command]:
        """Every committed command."""
        return [command for entry in self.entries for command in entry]

    def commit(self) -> None:
        """Commit what waits, as one entry, and resolve its callers."""
        waiting, self._waiting = self._waiting, []
        live = [(command, future) for command, future in waiting if not future.done()]
        applied = self.apply([command for command, _ in live])
        for (_, future), reply in zip(live, applied.replies, strict=True):
            if not future.done():
                future.set_result(self._machine.answer(reply))

    def apply(self, commands: list[Command], lease_advance_ms: int = 0) -> Applied:
        """Apply an entry, as if it came from wherever."""
        self._index += 1
        self.entries.append(commands)
        self.wall_ms += 1
        entry = Entry(ENTRY_VERSION, lease_advance_ms, self.wall_ms, commands)
        applied = self._machine.apply(codec.encode(entry), self._index)
        assert applied.rejected is None
        if self._listener is not None:
            self._listener.on_applied(applied)
        return applied

    def install(self, *entries: list[Command]) -> None:
        """Come to the state after some entries by a snapshot: nobody is told of them."""
        listener, self._listener = self._listener, None
        for commands in entries:
            self.apply(commands)
        self._listener = listener
        self.base_index = self._index

    def lead(self, is_leader: bool) -> None:
        """Gain or lose leadership; what waits to be committed is lost with it."""
        self._is_leader = is_leader
        self._leader = "n1" if is_leader else "n2"
        self._term += 1
        waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_exception(LeadershipLost("leadership was lost"))
        if self._listener is not None:
            self._listener.on_leader_changed(self.view())


async def _no_leader(_call: Call, _deadline: float) -> Reply:
    raise NoLeader("the cluster has no leader at the moment")
