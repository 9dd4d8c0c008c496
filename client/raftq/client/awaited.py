"""Calls on their way: who waits for the answer to each request, and which calls share one.

Calls of one item that are made in the same turn of the loop, like the enqueues of many coroutines,
leave as one call with all their items: a node then handles one request and one command. Each caller
still gets its own answer. A node takes a batch of tasks whole or not at all, so when it refuses one
its calls are made again one by one, and only the call that was at fault hears of it.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from raftq.protocol import codec, limits
from raftq.protocol.calls import Call
from raftq.protocol.commands import Ack, Enqueue, Extend, Fail, Requeue
from raftq.protocol.errors import ConnectionLost, InternalError, QueueFull, RequestError
from raftq.protocol.replies import Enqueued, HelloReply, Reply, Settled

T = TypeVar("T")
_SHARED_BYTES_MAX: Final = 256 * limits.KIB
"""A request takes no further calls when it holds this much: large ones gain nothing by it."""
_SHARED_CALLS_MAX: Final = 1_000
_OF_ONE_CALL: Final = (RequestError, QueueFull, InternalError)
"""Errors that the calls of a group may owe to one of them. The others are those of the node; a rate
that is used up is one, because a group of any size passes once there is something left of it, and
a node that has too many calls must not get a thousand in the place of one."""


class Lone:
    """A call with a request of its own."""

    __slots__ = ("_future", "_kind")

    def __init__(
        self, kind: type[Reply] | type[HelloReply], future: "asyncio.Future[object]"
    ) -> None:
        self._kind: type[Reply] | type[HelloReply] = kind
        self._future = future

    def answer(self, error: object, result: object) -> "Sequence[Group]":
        """Give the caller the answer; nothing needs to be sent again."""
        if not self._future.done():
            if error is not None:
                self._future.set_exception(codec.error_from_wire(error))
            else:
                try:
                    self._future.set_result(reply_from_wire(self._kind, result))
                except InternalError as problem:
                    self._future.set_exception(problem)
        return ()

    def fail(self, text: str) -> None:
        """The connection has ended."""
        if not self._future.done():
            self._future.set_exception(ConnectionLost(text))

    def forget(self, future: "asyncio.Future[object]") -> bool:
        """Tell whether nobody waits any more, now that the caller with this future does not."""
        return future is self._future


class Group:
    """Calls of one item that share a request. Alone in its group, a call is sent as it is.

    Args:
        kind: Of each call.
        prefix: The bytes of each before its item's array: the tag, and the queue of an enqueue.
    """

    __slots__ = ("_futures", "_items", "_prefix", "_size", "kind", "timeout_ms")

    def __init__(self, kind: type[Call], prefix: bytes) -> None:
        self.kind = kind
        self.timeout_ms = 0
        """The longest of all; each caller ends its own wait."""
        self._prefix = prefix
        self._items: list[bytes] = []
        self._futures: list[asyncio.Future[object]] = []
        self._size = 0

    def add(self, item: bytes, future: "asyncio.Future[object]", timeout_ms: int) -> None:
        """Let a call share the request."""
        self.timeout_ms = max(self.timeout_ms, timeout_ms)
        self._items.append(item)
        self._futures.append(future)
        self._size += len(item)

    @property
    def is_full(self) -> bool:
        """Whether another call should not share the request."""
        return self._size >= _SHARED_BYTES_MAX or len(self._items) >= _SHARED_CALLS_MAX

    def raw(self) -> bytes:
        """Return the bytes of the call with all items; empty if nobody waits any more."""
        if any(future.done() for future in self._futures):
            self._drop_done()
        count = len(self._items)
        if not count:
            return b""
        header = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
        return b"".join((self._prefix, header, *self._items))

    def _drop_done(self) -> None:
        waiting = [
            (item, future)
            for item, future in zip(self._items, self._futures, strict=True)
            if not future.done()
        ]
        self._items = [item for item, _ in waiting]
        self._futures = [future for _, future in waiting]

    def answer(self, error: object, result: object) -> "Sequence[Group]":
        """Give each caller its answer; return groups of one to be sent if all were refused."""
        if error is not None:
            return self._refuse(error)
        try:
            answers = _answers(self.kind, result)
        except InternalError as problem:
            self._fail_all(problem.message)
            return ()
        if len(answers) != len(self._futures):
            self._fail_all("the server's answer has not as many items as the call")
            return ()
        for future, each in zip(self._futures, answers, strict=True):
            if not future.done():
                future.set_result(each)
        return ()

    def _refuse(self, error: object) -> "Sequence[Group]":
        if len(self._items) > 1 and isinstance(codec.error_from_wire(error), _OF_ONE_CALL):
            self._drop_done()
            return [self._alone(*each) for each in zip(self._items, self._futures, strict=True)]
        for future in self._futures:
            if not future.done():
                future.set_exception(codec.error_from_wire(error))
        return ()

    def _alone(self, item: bytes, future: "asyncio.Future[object]") -> "Group":
        group = Group(self.kind, self._prefix)
        group.add(item, future, self.timeout_ms)
        return group

    def _fail_all(self, text: str) -> None:
        for future in self._futures:
            if not future.done():
                future.set_exception(InternalError(text))

    def fail(self, text: str) -> None:
        """The connection has ended."""
        for future in self._futures:
            if not future.done():
                future.set_exception(ConnectionLost(text))

    def forget(self, future: "asyncio.Future[object]") -> bool:
        """Tell whether nobody waits any more, now that the caller with this future does not."""
        return future in self._futures and all(
            each is future or each.done() for each in self._futures
        )


def _answers(kind: type[Call], result: object) -> Sequence[Reply]:
    """Return the answer of each call of a group.

    Raises:
        InternalError: The result is none of such calls.
    """
    if kind is Enqueue:
        enqueued = reply_from_wire(Enqueued, result)
        return [Enqueued([task], enqueued.index) for task in enqueued.tasks]
    settled = reply_from_wire(Settled, result)
    return [Settled([item], settled.index) for item in settled.items]


def item_at(call: Call, raw: bytes) -> int | None:
    """Return where the array of a call's only item begins in its bytes; None if it travels alone.

    Args:
        call: Any call.
        raw: Its bytes, `[tag, …]`.
    """
    if len(raw) > _SHARED_BYTES_MAX:
        return None
    if isinstance(call, Enqueue):
        at = 2 + len(codec.encode(call.queue)) if len(call.tasks) == 1 else None
    elif isinstance(call, Ack | Fail | Requeue | Extend):
        at = 2 if len(call.items) == 1 else None
    else:
        at = None
    return at


def reply_from_wire(kind: type[T], result: object) -> T:
    """Return the typed reply of an unpacked response.

    Raises:
        InternalError: It is none.
    """
    try:
        return msgspec.convert(result, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as problem:
        raise InternalError(f"the server's answer is malformed: {problem}") from None
