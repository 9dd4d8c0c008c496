"""The blocking client: the same methods, on one background thread with an event loop.

Safe to share between threads, but not with a forked child, in which it refuses every call: two
processes on one connection would read each other's answers. A client that nobody closed is closed
when the interpreter ends.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, Unpack

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration
from raftq.client.events import BlockingEvents, Events
from raftq.client.keywords.filters import FilterKeywords
from raftq.client.submitting import Submissions
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import Consistency
from raftq.protocol.statuses import TaskStatus

P = ParamSpec("P")
R = TypeVar("R")
_END_SECONDS: Final = 2.0


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["Client", P], R]:
    """Return the blocking twin of a method, with the same arguments."""

    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.run(lambda client: method(client, *args, **kwargs))

    update_wrapper(call, method)
    return call


def _direct(
    method: Callable[Concatenate[AsyncClient, P], R],
) -> Callable[Concatenate["Client", P], R]:
    """Return a method that does not wait, as it is."""

    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._client, *args, **kwargs)  # pyright: ignore[reportPrivateUsage]

    update_wrapper(call, method)
    return call


def _followed(
    method: Callable[Concatenate[AsyncClient, P], Events],
) -> Callable[Concatenate["Client", P], BlockingEvents]:
    """Return the blocking twin of a method that follows events."""

    def call(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> BlockingEvents:
        return BlockingEvents(method(self._client, *args, **kwargs), self.run)  # pyright: ignore[reportPrivateUsage]

    update_wrapper(call, method)
    return call


class Client:
    """A blocking client of one cluster. Use it in `with`, or close it.

    Args:
        addresses: See `AsyncClient`.
        timeout: See `AsyncClient`.
        name: See `AsyncClient`.
        token: See `AsyncClient`.
        tls_ca: See `AsyncClient`.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout: Duration = 10.0,
        name: str = "python",
        token: str | None = None,
        tls_ca: str | os.PathLike[str] | None = None,
    ) -> None:
        self._begin(AsyncClient(addresses, timeout=timeout, name=name, token=token, tls_ca=tls_ca))

    @classmethod
    def over(cls, client: AsyncClient) -> Self:
        """Return a blocking client with the methods of an asynchronous one, which it owns.

        No other loop may use that one from now on.
        """
        blocking = cls.__new__(cls)
        blocking._begin(client)
        return blocking

    def _begin(self, client: AsyncClient) -> None:
        self._client = client
        self._loop = asyncio.new_event_loop()
        self._submissions = Submissions(self._loop)
        self._thread = threading.Thread(
            target=_serve, args=(self._loop,), name="raftq-client", daemon=True
        )
        self._lock = threading.Lock()
        self._is_closed = False
        self._closed_because = "this client is closed"
        self._thread.start()
        # Also at exit: a loop that still runs while the interpreter ends warns of itself.
        self._end = weakref.finalize(self, _stop, self._client, self._loop, self._thread)
        _open_clients.add(self)

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
        """Run a coroutine on the client's thread and wait for it.

        Raises:
            InvalidRequest: The client is closed, or this is its own thread.
            ConnectionLost: Another thread closed the client meanwhile.
        """
        self._refuse_own_thread()
        with self._lock:  # Once `close` has begun, nothing may reach a loop that ends.
            if self._is_closed:
                raise InvalidRequest(self._closed_because)
            submission = self._submissions.submit(lambda: call(self._client))
        return submission.wait()

    def close(self) -> None:
        """Close the connections and end the thread; harmless when repeated.

        Raises:
            InvalidRequest: This is the client's own thread, which cannot wait for itself.
        """
        self._refuse_own_thread()
        with self._lock:
            self._is_closed = True
        self._end()

    def _leave_to_parent(self) -> None:
        """Become unusable in a forked child, without touching what the parent goes on using."""
        self._end.detach()  # It would close the parent's sockets, and wait for its thread.
        self._lock = threading.Lock()  # Another thread may have held it.
        self._is_closed = True
        self._closed_because = "this client was made before the fork; make one in each process"

    def _refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise InvalidRequest("this is the client's own thread; use AsyncClient in coroutines")

    @property
    def last_index(self) -> int:
        """The newest log index of which an answer told this client; see `AsyncClient`."""
        return self._client.last_index

    new_id = _direct(AsyncClient.new_id)
    new_task = _direct(AsyncClient.new_task)
    enqueue = _blocking(AsyncClient.enqueue)
    enqueue_many = _blocking(AsyncClient.enqueue_many)
    enqueue_parts = _blocking(AsyncClient.enqueue_parts)
    prepare = _blocking(AsyncClient.prepare)
    confirm = _blocking(AsyncClient.confirm)
    confirm_many = _blocking(AsyncClient.confirm_many)
    lease = _blocking(AsyncClient.lease)
    ack = _blocking(AsyncClient.ack)
    ack_many = _blocking(AsyncClient.ack_many)
    fail = _blocking(AsyncClient.fail)
    fail_many = _blocking(AsyncClient.fail_many)
    requeue = _blocking(AsyncClient.requeue)
    requeue_many = _blocking(AsyncClient.requeue_many)
    extend = _blocking(AsyncClient.extend)
    extend_many = _blocking(AsyncClient.extend_many)
    cancel = _blocking(AsyncClient.cancel)
    cancel_many = _blocking(AsyncClient.cancel_many)
    edit = _blocking(AsyncClient.edit)
    retry = _blocking(AsyncClient.retry)
    cancel_where = _blocking(AsyncClient.cancel_where)
    purge = _blocking(AsyncClient.purge)
    redrive = _blocking(AsyncClient.redrive)
    discard = _blocking(AsyncClient.discard)
    move = _blocking(AsyncClient.move)
    task = _blocking(AsyncClient.task)
    result = _blocking(AsyncClient.result)
    why = _blocking(AsyncClient.why)
    tasks_page = _blocking(AsyncClient.tasks_page)

    def tasks(
        self,
        *,
        consistency: Consistency = Consistency.LINEARIZABLE,
        timeout: Duration | None = None,
        **where: Unpack[FilterKeywords],
    ) -> Iterator[TaskStatus]:
        """Iterate over all tasks that match, in the order of their enqueue; see `AsyncClient`."""
        after: int | None = 0
        while after is not None:
            page = self.tasks_page(after=after, consistency=consistency, timeout=timeout, **where)
            yield from page.tasks
            after = page.next_after

    events = _followed(AsyncClient.events)
    queue = _blocking(AsyncClient.queue)
    queues = _blocking(AsyncClient.queues)
    quota = _blocking(AsyncClient.quota)
    limits = _blocking(AsyncClient.limits)
    schedules = _blocking(AsyncClient.schedules)
    schedule = _blocking(AsyncClient.schedule)
    set_queue = _blocking(AsyncClient.set_queue)
    pause = _blocking(AsyncClient.pause)
    resume = _blocking(AsyncClient.resume)
    set_limit = _blocking(AsyncClient.set_limit)
    set_quota = _blocking(AsyncClient.set_quota)
    set_schedule = _blocking(AsyncClient.set_schedule)
    put_schedule = _blocking(AsyncClient.put_schedule)
    pause_schedule = _blocking(AsyncClient.pause_schedule)
    resume_schedule = _blocking(AsyncClient.resume_schedule)
    delete_schedule = _blocking(AsyncClient.delete_schedule)
    cluster = _blocking(AsyncClient.cluster)
    add_member = _blocking(AsyncClient.add_member)
    remove_member = _blocking(AsyncClient.remove_member)
    transfer_leadership = _blocking(AsyncClient.transfer_leadership)


_open_clients: Final[weakref.WeakSet[Client]] = weakref.WeakSet()


def _after_fork() -> None:
    for client in list(_open_clients):
        client._leave_to_parent()  # pyright: ignore[reportPrivateUsage]  # Its own module.


os.register_at_fork(after_in_child=_after_fork)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run a client's loop; what its thread opened, its thread closes."""
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_default_executor())  # Where names were resolved.
    finally:
        loop.close()


def _stop(client: AsyncClient, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """End a client's calls, then its loop and its thread."""
    asyncio.run_coroutine_threadsafe(_end_calls(client), loop).add_done_callback(
        lambda _: loop.call_soon_threadsafe(loop.stop)
    )
    if threading.current_thread() is not thread:  # The collector may run on any thread.
        thread.join()


async def _end_calls(client: AsyncClient) -> None:
    """Close the client and wait until each of its calls has told its caller."""
    await client.close()
    calls = asyncio.all_tasks() - {asyncio.current_task()}
    if calls:
        _, late = await asyncio.wait(calls, timeout=_END_SECONDS)
        for call in late:
            call.cancel()
        if late:
            await asyncio.wait(late, timeout=_END_SECONDS)
