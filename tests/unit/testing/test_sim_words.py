""" "Nothing happened" is a lie, whoever hears it, once the command is applied."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from raftq.consensus.leader_clock import LeaderClock
from raftq.consensus.peers.forwarding import Forwarder
from raftq.consensus.peers.messages import ForwardedCall, ForwardedError, ForwardMessage
from raftq.consensus.proposer import Proposer
from raftq.consensus.raft.engine import Engine
from raftq.core.applied import AppliedReply
from raftq.protocol.calls import Call
from raftq.protocol.commands import Ack, AckItem
from raftq.protocol.errors import CommitTimeout, NoLeader, QueueFull, RaftqError
from raftq.protocol.replies import CommandReply, Reply, Settled
from raftq.testing.facts import AppliedEntry
from raftq.testing.sim.patching import patched
from raftq.testing.sim.words import RULE, Words

ACK = Ack([AckItem(1)])
SECOND_OF_TERM_3 = AppliedEntry(0.0, "n2", 2, 3, 0, "")
DEADLINE = 1e9


class Log:
    """A log of which every entry is of term 3."""

    last_index = 1

    def term_at(self, _index: int) -> int:
        return 3


class Leader:
    """A leader of term 3 whose log has one entry, and what it was asked for."""

    def __init__(self) -> None:
        self.log = Log()
        self.is_leader = True
        self._raft = SimpleNamespace(_applyCommand=self._append, _checkCommandsToApply=lambda: None)
        self.proposer = Proposer(self._propose, _clock(), lambda: None, _as_it_is)
        self.futures: list[asyncio.Future[CommandReply]] = []

    def _append(self, *_what: object) -> None:
        self.log.last_index += 1

    def _propose(self, entry: bytes, done: Callable[[object, bool], None]) -> None:
        Engine.propose(cast(Engine, self), entry, done)

    def propose(self) -> "asyncio.Future[CommandReply]":
        """Propose an ack."""
        future = self.proposer.submit(ACK, DEADLINE)
        self.futures.append(future)
        self.proposer.flush()
        return future

    async def lead(self, _call: Call, _deadline: float) -> Reply:
        return cast(Reply, await self.propose())


def _clock() -> LeaderClock:
    return LeaderClock(lambda: 0.0, lambda: 0, lambda: 1, lambda: 1)


def _as_it_is(reply: AppliedReply) -> CommandReply:
    return cast(CommandReply, reply)


@pytest.fixture
def words() -> Iterator[Words]:
    followed = Words()
    with patched(followed.patches()):
        yield followed


def rules(words: Words, *events: AppliedEntry) -> list[str]:
    return [violation.rule for violation in words.judge(events)]


def run(test: Callable[[Words], Awaitable[None]]) -> Callable[[Words], None]:
    """Let a test run on a loop of its own."""

    def on_a_loop(words: Words) -> None:
        async def whole() -> None:
            await test(words)

        asyncio.run(whole())

    return on_a_loop


@run
async def test_a_leader_may_not_deny_what_is_applied_later(words: Words) -> None:
    Leader().propose().set_exception(NoLeader("leadership was lost"))
    assert not rules(words), "another entry may have taken its place"
    assert rules(words, SECOND_OF_TERM_3) == [RULE]


@pytest.mark.parametrize("word", [CommitTimeout("not in time"), QueueFull("the queue is full")])
def test_doubts_and_answers_of_the_machine_are_no_denials(words: Words, word: RaftqError) -> None:
    async def say() -> None:
        Leader().propose().set_exception(word)
        assert not rules(words, SECOND_OF_TERM_3)

    asyncio.run(say())


@run
async def test_an_entry_of_another_term_is_another_entry(words: Words) -> None:
    Leader().propose().set_exception(NoLeader("leadership was lost"))
    assert not rules(words, AppliedEntry(0.0, "n2", 2, 4, 0, ""))


@run
async def test_who_forwarded_a_call_may_not_deny_what_its_leader_did(words: Words) -> None:
    leader, sent = Leader(), list[ForwardMessage]()

    def send(_peer: str, message: ForwardMessage) -> bool:
        sent.append(message)
        return True

    door, served = Forwarder(send, lambda: 0.0), Forwarder(lambda _peer, _m: True, lambda: 0.0)
    served.serve(leader.lead)
    asked = asyncio.ensure_future(door.forward("n1", ACK, DEADLINE))
    await asyncio.sleep(0)
    forwarded = sent[0]
    assert isinstance(forwarded, ForwardedCall)
    served.on_message("n2", forwarded)
    await asyncio.sleep(0)
    door.on_message("n1", ForwardedError(forwarded.call_id, NoLeader.code, "the link broke", {}))
    with pytest.raises(NoLeader):
        await asked
    leader.futures[0].set_result(Settled([]))
    await asyncio.sleep(0)
    assert rules(words, SECOND_OF_TERM_3) == [RULE]
