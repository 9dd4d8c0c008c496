"""The real clients, over a broker in memory.

Below the clients' methods nothing is imitated: a call becomes the frame that would be sent and is
read by the node's own codec, and so does its answer.
"""

import asyncio
from typing import Final, cast

from raftq.client import AsyncClient, Client
from raftq.client.awaited import reply_from_wire
from raftq.client.calling import WaitingCall, closed_error, with_wait
from raftq.client.connection import REPLIES, request_frame
from raftq.protocol import codec, limits
from raftq.protocol.calls import Call
from raftq.protocol.errors import RaftqError
from raftq.protocol.replies import Reply
from raftq.protocol.requests import call_of, read_request
from raftq.testing.memory.broker import MemoryBroker
from raftq.testing.memory.following import MemoryFollower

_CALL_ID: Final = 1


class MemoryCalls:
    """Executes a client's calls on a broker in memory; any event loop may use it.

    A wait ends when what it is for is there, or when its time has passed on the broker's clock, or
    on the real one: a test that lets no virtual time pass is not held for ever.

    Args:
        broker: Who answers.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    @property
    def is_connected(self) -> bool:
        """Whether there is anybody to call."""
        return not self._is_closed

    async def close(self) -> None:
        """Execute no more calls."""
        self._is_closed = True

    async def call(self, call: Call, timeout: float) -> object:
        """Execute a call and return its reply."""
        if self._is_closed:
            raise closed_error(may_have_happened=False)
        try:
            reply = await self._execute(_as_received(call, timeout))
        except RaftqError as error:
            raise codec.error_from_wire(codec.error_to_wire(error)) from None
        return _as_answered(call, reply)

    async def _execute(self, call: Call) -> Reply:
        if isinstance(call, WaitingCall) and call.wait_ms:
            return await self._wait(call)
        reply = self._broker.execute(call)
        await asyncio.sleep(0)  # A loop that only makes calls must let others run, as with nodes.
        return reply

    async def _wait(self, call: WaitingCall) -> Reply:
        poll = self._broker.poll(call)
        try:
            async with asyncio.timeout(call.wait_ms / 1_000):
                return await asyncio.wrap_future(poll.future)
        except TimeoutError:
            pass
        finally:
            self._broker.leave(poll)
        # Asked once more: it may have been granted in this very moment.
        return self._broker.execute(with_wait(call, 0))


def async_client(broker: MemoryBroker) -> AsyncClient:
    """Return an `AsyncClient` over a broker in memory."""
    return AsyncClient.over(
        MemoryCalls(broker),
        random=broker.random,
        wall_ms=lambda: broker.clock.wall_ms,
        follower=MemoryFollower(broker),
    )


def client(broker: MemoryBroker) -> Client:
    """Return a `Client` over a broker in memory."""
    return Client.over(async_client(broker))


def _as_received(call: Call, timeout: float) -> Call:
    """Return a call as a node gets it from the wire.

    Raises:
        RequestError: The client does not send it, or the node refuses it.
    """
    timeout_ms = min(max(int(timeout * 1_000), 1), limits.TIMEOUT_MS_MAX)
    request = read_request(request_frame(_CALL_ID, timeout_ms, call))
    return call_of(bytes(request.method), request.params)[2]


def _as_answered(call: Call, reply: Reply) -> Reply:
    """Return a reply as a client gets it from the wire."""
    unpacker = codec.new_reply_unpacker()
    unpacker.feed(codec.encode([1, _CALL_ID, None, reply]))
    _, _, _, result = cast("list[object]", next(unpacker))
    return reply_from_wire(REPLIES[type(call)], result)
