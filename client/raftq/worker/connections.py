"""How an App reaches its cluster: connections that are made when they are needed.

One blocking client for all threads of the process, and one asyncio client for each event loop. A
loop that ends closes its own; the interpreter's end closes the rest. After a fork the child has
none and makes its own: two processes on one connection would read each other's answers.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from raftq.client.async_client import AsyncClient, now_ms
from raftq.client.blocking import Client
from raftq.client.random_bits import RandomBits
from raftq.protocol.uuid7 import Uuid7

T = TypeVar("T")


class ClusterAccess(Protocol):
    """What an App needs of a cluster; tests put a broker in memory in its place."""

    @property
    def is_live(self) -> bool:
        """Whether tasks go on by themselves, so that it makes sense to wait for them."""
        ...

    def new_id(self) -> bytes:
        """Return a new task id; safe on any thread."""
        ...

    def run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine with a client and wait for its end."""
        ...

    async def client(self) -> AsyncClient:
        """Return the client of the running loop."""
        ...

    def close(self) -> None:
        """Close what blocking code uses."""
        ...

    async def aclose(self) -> None:
        """Close what the running loop uses, and what blocking code does."""
        ...


class Connections:
    """The clients of one App in this process.

    Args:
        blocking: Makes a client for blocking code.
        asynchronous: Makes a client for the running loop.
    """

    @property
    def is_live(self) -> bool:
        """Whether tasks go on by themselves; not on a cluster in memory."""
        return True

    def __init__(
        self, blocking: Callable[[], Client], asynchronous: Callable[[], AsyncClient]
    ) -> None:
        self._make_blocking: Final = blocking
        self._make_asynchronous: Final = asynchronous
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._blocking: Client | None = None
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _OfLoop]
        self._of_loops = weakref.WeakKeyDictionary()
        self._new_id = Uuid7(now_ms, RandomBits())

    def new_id(self) -> bytes:
        """Return a new task id; safe on any thread."""
        with self._lock:
            return self._new_id()

    def run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine with a client on a thread of its own, and wait for its end."""
        with self._lock:
            if self._blocking is None:
                self._blocking = self._make_blocking()
            client = self._blocking
        return client.run(call)

    async def client(self) -> AsyncClient:
        """Return the client of the running loop; it is closed with the loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            found = self._of_loops.get(loop)
            if found is not None:
                return found.client
            self._forget_closed()
            client = self._make_asynchronous()
            made = self._of_loops[loop] = _OfLoop(client)
        # `asyncio.run` ends the generators of its loop before it closes it, and this one then
        # closes the client: nobody has to remember to.
        await anext(made.closing)
        return client

    def _forget_closed(self) -> None:
        """Let go of the clients of closed loops.

        A client knows its loop, so the keys would never become weak: a server that gives each
        request a loop of its own would keep them all.
        """
        for loop in list(self._of_loops):
            if loop.is_closed():
                del self._of_loops[loop]

    def close(self) -> None:
        """Close what blocking code uses; the next use opens it again."""
        with self._lock:
            client, self._blocking = self._blocking, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close what the running loop uses, and what blocking code does."""
        with self._lock:
            found = self._of_loops.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.closing.aclose()
        if self._blocking is not None:
            await asyncio.to_thread(self.close)

    def forget_parent(self) -> None:
        """Start anew in a forked child; the parent's connections are not touched."""
        _of_parents.append((self._blocking, self._of_loops))
        self._begin()


class _OfLoop:
    """The client of one loop, and the generator that closes it."""

    def __init__(self, client: AsyncClient) -> None:
        self.client: Final = client
        self.closing: Final = _close_at_end(client)


async def _close_at_end(client: AsyncClient) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.close()


_all: Final[weakref.WeakSet[Connections]] = weakref.WeakSet()
_of_parents: Final[list[object]] = []
"""What a forked child must not close: closing would reach into its parent's sockets."""


def _after_fork() -> None:
    for connections in list(_all):
        connections.forget_parent()


os.register_at_fork(after_in_child=_after_fork)
