"""What nodes say of commands: when a node says "nothing happened", nothing did.

Judged where it is said, whoever hears it: a client that tries again and succeeds would hide it.
Each command that is proposed is followed to its log entry, together with the calls that led to it:
on the node that the client asked, and on the way to the leader. Lease calls are not followed, they
share their commands.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple, TypeAlias, cast

from raftq.consensus.peers.forwarding import Forwarder
from raftq.consensus.peers.messages import ForwardedCall
from raftq.consensus.proposer import Proposer
from raftq.consensus.raft.engine import Engine
from raftq.protocol.calls import Call
from raftq.protocol.commands import Ack, Command, Enqueue, Extend, Fail, Requeue
from raftq.protocol.errors import NoLeader, NotLeader, NotReady, ShuttingDown
from raftq.protocol.replies import CommandReply, Reply
from raftq.server.service import Service
from raftq.testing.checks import Violation
from raftq.testing.facts import AppliedEntry, NodeEvent
from raftq.testing.sim.patching import Patch, original

RULE: Final = "false-word"
_DENIALS: Final = (NoLeader, NotLeader, NotReady, ShuttingDown)
"""Errors that say that nothing happened, and never follow from what the machine answered."""
_CALLS_PER_LIFE: Final = 1_000_000
_FOLLOWED: Final = (Enqueue, Ack, Fail, Requeue, Extend)
Inside: TypeAlias = Any
"""Production objects, seen from the patches: they reach into private parts on purpose."""
_Key: TypeAlias = tuple[int, int]
"""(term, index) of a log entry."""


class _Try(NamedTuple):
    """A call that a node is executing, or has given to another one."""

    what: str
    number: int


class _Followed(NamedTuple):
    entry: _Key
    command: Command
    future: "asyncio.Future[CommandReply]"
    tries: tuple[_Try, ...]


_tries: ContextVar[tuple[_Try, ...]] = ContextVar("tries", default=())
"""The calls in whose course something is proposed."""


class Words:
    """Follows the commands of one world."""

    def __init__(self) -> None:
        self._followed: list[_Followed] = []
        self._denied: dict[_Try, str] = {}
        self._submitted: dict[asyncio.Future[CommandReply], tuple[Command, tuple[_Try, ...]]] = {}
        self._appended: _Key | None = None
        self._calls = 0
        self._forwarders = 0

    def judge(self, events: Iterable[NodeEvent]) -> list[Violation]:
        """Return the first false word, once the run is over.

        Args:
            events: What was seen inside the nodes.
        """
        applied = {(e.term, e.index) for e in events if isinstance(e, AppliedEntry)}
        for each in self._followed:
            word = self._denial(each)
            if word is not None and each.entry in applied:
                term, index = each.entry
                text = f"of a command in entry {index} of term {term}, which was applied: {word}"
                return [Violation(RULE, f"{text}; {each.command!r:.300}")]
        return []

    def _denial(self, followed: _Followed) -> str | None:
        """Return by whom and how it was denied that a command had been proposed."""
        future = followed.future
        if future.done() and not future.cancelled():
            error = future.exception()
            if isinstance(error, _DENIALS):
                return f"its leader said {error.code}: {error}"
        for each in reversed(followed.tries):
            if each in self._denied:
                return f"{each.what} said {self._denied[each]}"
        return None

    @contextmanager
    def _trying(self, which: _Try) -> Generator[None]:
        """Note what a node says of a call in the end."""
        token = _tries.set((*_tries.get(), which))
        try:
            yield
        except _DENIALS as error:
            self._denied[which] = f"{error.code}: {error}"
            raise
        finally:
            _tries.reset(token)

    # ------------------------------------------------------------ patches

    def patches(self) -> list[Patch]:
        """Return the patches that tell what was proposed, and what was said of it."""
        return [*self._leader_patches(), *self._forwarding_patches(), *self._service_patches()]

    def _leader_patches(self) -> list[Patch]:
        submit = cast("Callable[..., asyncio.Future[CommandReply]]", original(Proposer, "submit"))
        send = cast("Callable[..., None]", original(Proposer, "_send"))
        propose = cast("Callable[..., None]", original(Engine, "propose"))

        def submitted(
            proposer: Proposer, command: Command, deadline: float
        ) -> "asyncio.Future[CommandReply]":
            future = submit(proposer, command, deadline)
            if isinstance(command, _FOLLOWED):
                self._submitted[future] = command, _tries.get()
            return future

        def sent(proposer: Proposer, batch: list[Inside]) -> None:
            self._appended = None
            send(proposer, batch)
            for item in batch:
                known = self._submitted.pop(item.future, None)
                if known is not None and self._appended is not None:
                    command, tries = known
                    self._followed.append(_Followed(self._appended, command, item.future, tries))

        def proposed(engine: Engine, entry: bytes, done: object) -> None:
            index = engine.log.last_index + 1
            propose(engine, entry, done)
            if engine.log.last_index == index:
                self._appended = engine.log.term_at(index), index

        return [
            (Proposer, "submit", submitted),
            (Proposer, "_send", sent),
            (Engine, "propose", proposed),
        ]

    def _forwarding_patches(self) -> list[Patch]:
        init = cast("Callable[..., None]", original(Forwarder, "__init__"))
        forward = cast("Callable[..., Awaitable[Reply]]", original(Forwarder, "forward"))
        execute = cast("Callable[..., Awaitable[None]]", original(Forwarder, "_execute"))

        def started(forwarder: Inside, *arguments: object) -> None:
            init(forwarder, *arguments)
            self._forwarders += 1
            # Ids of calls that no other process of the run uses, so that they name a call.
            forwarder._next_id = self._forwarders * _CALLS_PER_LIFE

        async def forwarded(forwarder: Inside, leader: str, call: Call, deadline: float) -> Reply:
            with self._trying(_Try("the node that forwarded it", forwarder._next_id + 1)):
                return await forward(forwarder, leader, call, deadline)

        async def executed(forwarder: Forwarder, peer: str, message: ForwardedCall) -> None:
            _tries.set((_Try("the node that forwarded it", message.call_id),))
            await execute(forwarder, peer, message)

        return [
            (Forwarder, "__init__", started),
            (Forwarder, "forward", forwarded),
            (Forwarder, "_execute", executed),
        ]

    def _service_patches(self) -> list[Patch]:
        execute = cast("Callable[..., Awaitable[Reply]]", original(Service, "execute"))

        async def executed(service: Service, call: Call, *rest: object, **named: object) -> Reply:
            self._calls += 1
            with self._trying(_Try("the node that was asked", self._calls)):
                return await execute(service, call, *rest, **named)

        return [(Service, "execute", executed)]
