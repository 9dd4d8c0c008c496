"""A whole server in this process, on a fake replica and real sockets."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgpack
from tests.support.fake_replica import FakeReplica
from tests.support.replicas import free_ports

from raftq.protocol.statuses import ClusterStatus
from raftq.server.gate import Access
from raftq.server.http_listener import HttpPatience
from raftq.server.native_connection import NativePatience
from raftq.server.server import Server

ANSWER_SECONDS = 10.0


class NativeClient:
    """A native client that can misbehave."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)

    def send(self, *messages: Any) -> None:
        """Send messages, well-formed or not."""
        for message in messages:
            self.writer.write(msgpack.packb(message, use_bin_type=True))

    async def receive(self) -> Any:
        """Return the next message; None once the server has closed the connection."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                for message in self._unpacker:
                    return message
                try:
                    data = await self.reader.read(65_536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._unpacker.feed(data)

    async def hello(self) -> Any:
        """Introduce this client and return the answer."""
        self.send([0, 0, "hello", [1, "test"]])
        return await self.receive()

    async def call(self, call_id: int, method: str, *params: Any) -> Any:
        """Make one call with five seconds and return its answer, skipping notifications."""
        self.send([0, call_id, method, [5_000, *params]])
        while True:
            message = await self.receive()
            if message is None or message[0] != 2:
                return message

    async def is_closed_by_server(self) -> bool:
        """Wait until the server closes the connection."""
        while await self.receive() is not None:
            pass
        return True


class ServerBench:
    """A started server."""

    def __init__(
        self,
        patience: HttpPatience | None = None,
        native_patience: NativePatience | None = None,
        access: Access | None = None,
    ) -> None:
        self.replica = FakeReplica()
        self.disk_is_full = False
        numbers = itertools.count(1)
        self.server = Server(
            self.replica,
            self._status,
            lambda: self.disk_is_full,
            lambda: next(numbers).to_bytes(16),
            Random(1),
            "0.0.0",
            patience,
            native_patience,
            access,
        )
        self.native_port, self.http_port = free_ports(2)
        self._writers: list[asyncio.StreamWriter] = []

    def _status(self) -> ClusterStatus:
        view = self.replica.view()
        state_hash = self.replica.machine.state_hash
        return ClusterStatus("c", "n1", view.leader, view.term, 0, 0, state_hash, [])

    async def connect(
        self, port: int, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection that the bench closes at its end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        self._writers.append(writer)
        return reader, writer

    async def native(self, *, hello: bool = True) -> NativeClient:
        """Open a native connection."""
        client = NativeClient(*await self.connect(self.native_port))
        if hello:
            assert (await client.hello())[2] is None
        return client

    async def http(self, head: str, body: bytes = b"") -> bytes:
        """Send one request on a connection of its own and return everything that comes back."""
        reader, writer = await self.connect(self.http_port)
        lines = [head, "Host: x", "Connection: close", f"Content-Length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await reader.read()

    async def close(self) -> None:
        """Close the connections of clients, then the server."""
        for writer in self._writers:
            writer.close()
        await self.server.stop()


@asynccontextmanager
async def serving(
    patience: HttpPatience | None = None,
    native_patience: NativePatience | None = None,
    access: Access | None = None,
) -> AsyncGenerator[ServerBench]:
    """Run a server for the length of a block."""
    bench = ServerBench(patience, native_patience, access)
    bench.server.start_native(("127.0.0.1", bench.native_port))
    bench.server.start_http(("127.0.0.1", bench.http_port))
    try:
        yield bench
    finally:
        await bench.close()


def refusal(message: Any, code: str) -> str:
    """Check that a message refuses the whole stream, and return its words."""
    kind, call_id, error, result = message
    assert (kind, call_id, result) == (1, None, None)
    assert error[0] == code, error
    return str(error[1])


def error_of(answer: Any, call_id: int, code: str) -> str:
    """Check that an answer refuses one call, and return its words."""
    kind, answered_id, error, result = answer
    assert (kind, answered_id, result) == (1, call_id, None), answer
    assert error[0] == code, error
    return str(error[1])
