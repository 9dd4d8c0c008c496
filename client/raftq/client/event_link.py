"""One connection that carries one subscription to events.

A connection of its own, read only as fast as the events are taken: what a program is slow to handle
waits at the node, within the node's bounds, and delays no call of the program.
"""

import asyncio
from collections.abc import Iterator
from typing import Final, cast

import msgpack
from msgspec import Struct

from raftq.client.awaited import reply_from_wire
from raftq.client.credentials import Credentials
from raftq.client.endpoints import Address
from raftq.protocol import codec, events, limits
from raftq.protocol.errors import ConnectionLost, NoLeader
from raftq.protocol.events import SUBSCRIBE, Position, Subscribe, Subscribed, TaskEvent
from raftq.protocol.replies import HelloReply
from raftq.protocol.versions import NATIVE_PROTOCOL_VERSION

SILENCE_SECONDS: Final = 3 * limits.EVENT_MARK_MS / 1_000
"""A node is given up that said nothing for so long: it tells how far it is more often."""
_READ_BYTES: Final = 64 * limits.KIB


class EventLink:
    """A connected node. Use `open_link`; close it in the end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unpacker = codec.new_reply_unpacker()
        self._last_id = 0

    async def hello(self, name: str, token: str | None) -> HelloReply:
        """Introduce this client; must be first."""
        params: list[object] = [NATIVE_PROTOCOL_VERSION, name]
        if token is not None:
            params.append(token)
        return reply_from_wire(HelloReply, await self._request("hello", params))

    async def subscribe(self, asked: Subscribe) -> Position:
        """Subscribe, and return the position behind which the events begin."""
        begins = reply_from_wire(Subscribed, await self._request(SUBSCRIBE, asked))
        return Position.after(begins.index, begins.number)

    async def _request(self, method: str, params: object) -> object:
        self._last_id += 1
        self._writer.write(codec.encode([0, self._last_id, method, params]))
        while True:
            for message in self._messages():
                match message:
                    case [1, int(call_id), None, result] if call_id == self._last_id:
                        return result
                    case [1, _, error, _] if error is not None:
                        raise codec.error_from_wire(error)
                    case _:
                        pass  # A notification about the cluster.
            await self.wait()

    def told(self) -> TaskEvent | Position | None:
        """Return what the node told next: an event, or how far this subscriber is; None if there
        is nothing yet.

        Raises:
            RaftqError: The node ended the subscription.
        """
        for message in self._messages():
            match message:
                case [2, str(name), params] if isinstance(params, list):
                    told = _told(name, cast("list[object]", params)[1:])
                    if told is not None:
                        return told
                case _:
                    pass
        return None

    def _messages(self) -> Iterator[list[object]]:
        """Iterate over the messages that have come; what is not taken waits for the next time.

        Raises:
            ConnectionLost: What came is no message.
        """
        try:
            for message in self._unpacker:
                if not isinstance(message, list):
                    raise ValueError("a message is no array")
                yield cast("list[object]", message)
        except (ValueError, msgpack.UnpackException) as error:
            raise ConnectionLost(f"the node does not speak the native protocol: {error}") from None

    async def wait(self) -> None:
        """Wait until more has come.

        Raises:
            ConnectionLost: The connection broke, or the node is silent.
        """
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                data = await self._reader.read(_READ_BYTES)
        except TimeoutError:
            raise ConnectionLost("the node is silent") from None
        except OSError as error:
            raise ConnectionLost(f"the connection to the node broke: {error}") from None
        if not data:
            raise ConnectionLost("the connection to the node broke")
        self._unpacker.feed(data)

    def close(self) -> None:
        """End the connection."""
        self._writer.transport.abort()


def _told(name: str, fields: list[object]) -> TaskEvent | Position | None:
    """Return what a notification says of a subscription; None if it is of another kind.

    Raises:
        RaftqError: It says that the subscription has ended.
    """
    match name:
        case events.EVENT:
            return reply_from_wire(TaskEvent, fields)
        case events.EVENT_MARK:
            mark = reply_from_wire(_Mark, fields)
            return Position.after(mark.index, mark.number)
        case events.EVENTS_END if fields:
            raise codec.error_from_wire(fields[0])
        case _:
            return None


class _Mark(Struct, array_like=True, frozen=True):
    index: int
    number: int | None


async def open_link(
    address: Address, name: str, credentials: Credentials, timeout: float, asked: Subscribe
) -> tuple[EventLink, HelloReply, Position]:
    """Connect to a node and subscribe.

    Args:
        address: Of the node.
        name: Who this client is.
        credentials: What nodes ask of it, and it of them.
        timeout: Seconds until the node must have answered the hello; the subscription has its own.
        asked: What to subscribe to.

    Raises:
        NoLeader: The node cannot be reached, or did not answer in time.
        ConnectionLost: The connection broke.
        RaftqError: The node refused.
    """
    host, port = address
    link: EventLink | None = None
    try:
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(
                    host, port, limit=_READ_BYTES, **credentials.connecting
                )
                link = EventLink(reader, writer)
                hello = await link.hello(name, credentials.token)
            async with asyncio.timeout(timeout + asked.timeout_ms / 1_000):
                return link, hello, await link.subscribe(asked)
        except (OSError, TimeoutError) as error:
            text = str(error) or "no answer"
            raise NoLeader(f"cannot reach {host}:{port}: {text}") from None
    except BaseException:
        if link is not None:
            link.close()
        raise
