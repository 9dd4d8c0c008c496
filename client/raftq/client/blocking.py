"""The blocking client: the same methods, on one background thread with an event loop.

Safe to share between threads. Not to be used across a fork: make one in each process.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.messages import NewTask

P = ParamSpec("P")
R = TypeVar("R")


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["Client", P], R]:
    """Return the blocking twin of a method, with the same arguments."""

    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.run(lambda client: method(client, *args, **kwargs))

    update_wrapper(call, method)
    return call


class Client:
    """A blocking client of one cluster. Use it in `with`, or close it.

    Args:
        addresses: See `AsyncClient`.
        timeout: See `AsyncClient`.
        name: See `AsyncClient`.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout: Duration = 10.0,
        name: str = "python",
    ) -> None:
        self._client = AsyncClient(addresses, timeout=timeout, name=name)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="raftq-client", daemon=True
        )
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread.start()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine on the client's thread and wait for it."""
        if self._is_closed:
            raise InvalidRequest("this client is closed")
        if threading.current_thread() is self._thread:
            raise InvalidRequest("this is the client's own thread; use AsyncClient in coroutines")
        future = asyncio.run_coroutine_threadsafe(call(self._client), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Close the connections and end the thread; harmless when repeated."""
        with self._lock:
            if self._is_closed:
                return
            asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
            self._is_closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def new_task(self) -> Callable[..., NewTask]:
        """Return a task for `enqueue_many`; see `AsyncClient.new_task`."""
        return self._client.new_task

    enqueue = _blocking(AsyncClient.enqueue)
    enqueue_many = _blocking(AsyncClient.enqueue_many)
    lease = _blocking(AsyncClient.lease)
    ack = _blocking(AsyncClient.ack)
    ack_many = _blocking(AsyncClient.ack_many)
    fail = _blocking(AsyncClient.fail)
    fail_many = _blocking(AsyncClient.fail_many)
    requeue = _blocking(AsyncClient.requeue)
    requeue_many = _blocking(AsyncClient.requeue_many)
    extend = _blocking(AsyncClient.extend)
    extend_many = _blocking(AsyncClient.extend_many)
    task = _blocking(AsyncClient.task)
    queue = _blocking(AsyncClient.queue)
    cluster = _blocking(AsyncClient.cluster)
