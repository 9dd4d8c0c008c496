"""Calls from one node to the leader over the peer link, and their answers."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from raftq.consensus.contract import CallHandler
from raftq.consensus.peers.messages import (
    ForwardedCall,
    ForwardedCancel,
    ForwardedError,
    ForwardedReply,
    ForwardMessage,
)
from raftq.protocol import codec
from raftq.protocol.calls import Call
from raftq.protocol.errors import (
    CommitTimeout,
    ConnectionLost,
    InternalError,
    NoLeader,
    RaftqError,
    error_from_code,
)
from raftq.protocol.replies import Reply

_log = logging.getLogger(__name__)


class Forwarder:
    """Both ends of forwarded calls on one node.

    Args:
        send: Sends a message to a peer; False if there is no link.
        clock: Monotonic seconds, the clock of deadlines.
    """

    def __init__(
        self, send: Callable[[str, ForwardMessage], bool], clock: Callable[[], float]
    ) -> None:
        self._send = send
        self._clock = clock
        self._handler: CallHandler | None = None
        self._next_id = 0
        self._pending: dict[int, tuple[str, asyncio.Future[Reply]]] = {}
        self._serving: dict[tuple[str, int], asyncio.Task[None]] = {}

    def serve(self, handler: CallHandler) -> None:
        """Set who executes the calls of other nodes."""
        self._handler = handler

    async def forward(self, leader: str, call: Call, deadline: float) -> Reply:
        """Have another node execute a call; see `Replica.forward` for the errors."""
        remaining = deadline - self._clock()
        self._next_id += 1
        call_id = self._next_id
        timeout_ms = max(int(remaining * 1_000), 1)
        message = ForwardedCall(call_id, timeout_ms, msgspec.Raw(codec.encode(call)))
        if not self._send(leader, message):
            raise NoLeader(f"there is no connection to the leader {leader}", leader=leader)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[call_id] = (leader, future)
        try:
            async with asyncio.timeout_at(deadline):
                return await future
        except TimeoutError:
            raise CommitTimeout("the leader did not answer before the deadline") from None
        except asyncio.CancelledError:
            self._send(leader, ForwardedCancel(call_id))
            raise
        finally:
            self._pending.pop(call_id, None)

    def on_message(self, peer: str, message: ForwardMessage) -> None:
        """Handle a forwarded call or the answer to one of ours."""
        match message:
            case ForwardedCall():
                key = (peer, message.call_id)
                task = asyncio.create_task(self._execute(peer, message))
                self._serving[key] = task
                task.add_done_callback(lambda _: self._serving.pop(key, None))
            case ForwardedCancel(call_id=call_id):
                served = self._serving.get((peer, call_id))
                if served is not None:
                    served.cancel()
            case ForwardedReply(call_id=call_id, reply=raw):
                pending = self._pending.get(call_id)
                if pending is not None and not pending[1].done():
                    try:
                        pending[1].set_result(codec.decode_reply(bytes(raw)))
                    except RaftqError as error:
                        pending[1].set_exception(error)
            case ForwardedError(call_id=call_id, code=code, message=text, facts=facts):
                pending = self._pending.get(call_id)
                if pending is not None and not pending[1].done():
                    pending[1].set_exception(error_from_code(code, text, facts))

    def on_link_down(self, peer: str) -> None:
        """Give up calls to and from a peer whose link broke."""
        for leader, future in self._pending.values():
            if leader == peer and not future.done():
                future.set_exception(
                    ConnectionLost(f"the connection to {peer} broke before its answer")
                )
        for (caller, _), task in self._serving.items():
            if caller == peer:
                task.cancel()

    async def stop(self) -> None:
        """End every call that is being served."""
        tasks = list(self._serving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _execute(self, peer: str, message: ForwardedCall) -> None:
        deadline = self._clock() + message.timeout_ms / 1_000
        try:
            if self._handler is None:
                raise NoLeader("this node is starting")
            reply = await self._handler(codec.decode_call(bytes(message.call)), deadline)
        except RaftqError as error:
            self._refuse(peer, message.call_id, error)
        except Exception:
            _log.exception("forwarded_call_failed", extra={"peer": peer})
            self._refuse(peer, message.call_id, InternalError("the leader failed; see its log"))
        else:
            self._send(peer, ForwardedReply(message.call_id, msgspec.Raw(codec.encode(reply))))

    def _refuse(self, peer: str, call_id: int, error: RaftqError) -> None:
        facts = dict(error.facts)
        self._send(peer, ForwardedError(call_id, error.code, error.message, facts))
