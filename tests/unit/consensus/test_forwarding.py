"""Calls between nodes: each gets exactly one truthful answer."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from raftq.consensus.peers.forwarding import Forwarder
from raftq.consensus.peers.messages import (
    ForwardedCall,
    ForwardedCancel,
    ForwardedError,
    ForwardedReply,
    ForwardMessage,
)
from raftq.protocol import codec
from raftq.protocol.calls import Call, QueueCall
from raftq.protocol.errors import (
    CommitTimeout,
    ConnectionLost,
    InternalError,
    InvalidRequest,
    LeaseLost,
    NoLeader,
    NotLeader,
    RaftqError,
)
from raftq.protocol.replies import Reply
from raftq.protocol.statuses import QueueStatus

CALL = QueueCall("q")
REPLY = QueueStatus("q", 3, {"ready": 3})
NEVER = 20.0


class Pair:
    """Two nodes' forwarders, n1 and n2, joined directly; n2 leads."""

    def __init__(self) -> None:
        self.is_linked = True
        self.to_leader: list[ForwardMessage] = []
        clock = asyncio.get_running_loop().time
        self.leader = Forwarder(self._from_leader, clock)
        self.follower = Forwarder(self._from_follower, clock)

    def _from_follower(self, peer: str, message: ForwardMessage) -> bool:
        assert peer == "n2"
        if self.is_linked:
            self.to_leader.append(message)
            self.leader.on_message("n1", message)
        return self.is_linked

    def _from_leader(self, peer: str, message: ForwardMessage) -> bool:
        assert peer == "n1"
        self.follower.on_message("n2", message)
        return True

    async def call(self, seconds: float = NEVER) -> Reply:
        deadline = asyncio.get_running_loop().time() + seconds
        return await self.follower.forward("n2", CALL, deadline)


def run(body: Callable[[Pair], Awaitable[None]]) -> None:
    async def main() -> None:
        pair = Pair()
        await body(pair)
        await pair.leader.stop()

    asyncio.run(main())


async def _answer(call: Call, deadline: float) -> Reply:
    assert call == CALL
    assert 0 < deadline - asyncio.get_running_loop().time() <= NEVER
    return REPLY


class Endless:
    """A handler that never answers, and tells when it began and when it was cancelled."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, call: Call, deadline: float) -> Reply:
        self.began.set()
        try:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def test_the_leader_s_reply_reaches_the_caller() -> None:
    async def body(pair: Pair) -> None:
        pair.leader.serve(_answer)
        assert await pair.call() == REPLY
        assert await asyncio.gather(*[pair.call() for _ in range(5)]) == [REPLY] * 5

    run(body)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (LeaseLost("gone", token=7), LeaseLost),
        (NotLeader("n3 leads", leader="n3"), NotLeader),
        (CommitTimeout("late"), CommitTimeout),
        (ZeroDivisionError("bug"), InternalError),
    ],
)
def test_the_leader_s_error_reaches_the_caller_typed_and_with_its_facts(
    raised: Exception, expected: type[RaftqError]
) -> None:
    async def fail(call: Call, deadline: float) -> Reply:
        raise raised

    async def body(pair: Pair) -> None:
        pair.leader.serve(fail)
        with pytest.raises(expected) as caught:
            await pair.call()
        if isinstance(raised, RaftqError):
            assert (caught.value.message, caught.value.facts) == (raised.message, raised.facts)

    run(body)


def test_without_a_link_nothing_happened() -> None:
    async def body(pair: Pair) -> None:
        pair.is_linked = False
        with pytest.raises(NoLeader):
            await pair.call()

    run(body)


def test_a_node_that_is_starting_says_so() -> None:
    async def body(pair: Pair) -> None:
        with pytest.raises(NoLeader):
            await pair.call()

    run(body)


def test_a_call_without_an_answer_is_unknown_at_its_deadline() -> None:
    async def body(pair: Pair) -> None:
        pair.leader.serve(Endless())
        with pytest.raises(CommitTimeout):
            await pair.call(seconds=0.02)

    run(body)


def test_a_broken_link_makes_calls_unknown_and_ends_what_is_served_for_it() -> None:
    async def body(pair: Pair) -> None:
        handler = Endless()
        pair.leader.serve(handler)
        calling = asyncio.ensure_future(pair.call())
        async with asyncio.timeout(NEVER):
            await handler.began.wait()
            pair.follower.on_link_down("n3")
            pair.leader.on_link_down("n3")
            await asyncio.sleep(0)  # So that an answer would have reached the caller.
            await asyncio.sleep(0)
            assert not calling.done() and not handler.cancelled.is_set()
            pair.follower.on_link_down("n2")
            pair.leader.on_link_down("n1")
            with pytest.raises(ConnectionLost):
                await calling
            await handler.cancelled.wait()

    run(body)


def test_a_caller_who_gives_up_ends_the_call_on_the_leader() -> None:
    async def body(pair: Pair) -> None:
        handler = Endless()
        pair.leader.serve(handler)
        calling = asyncio.ensure_future(pair.call())
        async with asyncio.timeout(NEVER):
            await handler.began.wait()
            calling.cancel()
            await handler.cancelled.wait()
        assert isinstance(pair.to_leader[-1], ForwardedCancel)

    run(body)


def test_stopping_ends_every_call_that_is_served() -> None:
    async def body(pair: Pair) -> None:
        handler = Endless()
        pair.leader.serve(handler)
        calling = asyncio.ensure_future(pair.call())
        async with asyncio.timeout(NEVER):
            await handler.began.wait()
            await pair.leader.stop()
        assert handler.cancelled.is_set()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)

    run(body)


def test_answers_that_nobody_waits_for_are_ignored() -> None:
    async def body(pair: Pair) -> None:
        raw = msgspec.Raw(codec.encode(REPLY))
        pair.follower.on_message("n2", ForwardedReply(99, raw))
        pair.follower.on_message("n2", ForwardedError(99, "conflict", "text", {}))
        pair.leader.on_message("n1", ForwardedCancel(99))
        pair.leader.serve(_answer)
        assert await pair.call() == REPLY

    run(body)


def test_a_malformed_call_is_refused_and_its_handler_never_asked() -> None:
    async def body(pair: Pair) -> None:
        answers: list[ForwardMessage] = []

        def send(peer: str, message: ForwardMessage) -> bool:
            answers.append(message)
            return True

        leader = Forwarder(send, asyncio.get_running_loop().time)
        leader.serve(Endless())
        leader.on_message("n1", ForwardedCall(1, 1_000, msgspec.Raw(b"\x92\x09\xa1\xff")))
        async with asyncio.timeout(NEVER):
            while not answers:
                await asyncio.sleep(0)
        (answer,) = answers
        assert isinstance(answer, ForwardedError) and answer.code == InvalidRequest.code

    run(body)


def test_a_malformed_reply_is_an_error_of_its_caller_only() -> None:
    async def body(pair: Pair) -> None:
        handler = Endless()
        pair.leader.serve(handler)
        calling = asyncio.ensure_future(pair.call())
        async with asyncio.timeout(NEVER):
            await handler.began.wait()
            pair.follower.on_message("n2", ForwardedReply(1, msgspec.Raw(b"\x91\xa1\xff")))
            with pytest.raises(InvalidRequest):
                await calling

    run(body)


def test_an_error_may_carry_facts_of_any_name() -> None:
    async def body(pair: Pair) -> None:
        handler = Endless()
        pair.leader.serve(handler)
        calling = asyncio.ensure_future(pair.call())
        async with asyncio.timeout(NEVER):
            await handler.began.wait()
            facts: dict[str, int | str | None] = {"message": "x", "self": 1}
            pair.follower.on_message("n2", ForwardedError(1, "conflict", "text", facts))
            with pytest.raises(RaftqError) as caught:
                await calling
        assert caught.value.facts == facts

    run(body)
