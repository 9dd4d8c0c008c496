"""One call, one deadline, any node: the retry rule.

A call is tried on the leader if it is known and well, else on the node that failed least; a stale
read on any of those that failed least. When a
node cannot be reached, answers that it cannot serve the call now, or is silent for longer than
`PATIENCE_SECONDS` (plus what the call itself may wait), the call is tried on another one with the
same ids, until its deadline. Errors of the request are raised at once.
"""

import asyncio
from random import Random
from typing import Final, Protocol, TypeAlias, TypeVar, get_args

from msgspec import structs

from raftq.client.connection import PATIENCE_SECONDS, Connection, open_connection
from raftq.client.credentials import Credentials
from raftq.client.endpoints import Address, Endpoints
from raftq.protocol import limits
from raftq.protocol.calls import Call, ClusterCall, LeaseCall, ReadCall, ResultCall
from raftq.protocol.commands import Enqueue, EnqueueParts
from raftq.protocol.control import Cancel, Confirm, Edit
from raftq.protocol.errors import (
    CommitTimeout,
    ConnectionLost,
    Forbidden,
    InternalError,
    InvalidRequest,
    NoLeader,
    NotLeader,
    NotReady,
    OutcomeUnknown,
    RaftqError,
    ShuttingDown,
    UnavailableError,
    UnknownMethod,
    UnsupportedVersion,
)
from raftq.protocol.fields import Consistency
from raftq.protocol.replies import Enqueued, Leased, Settled

_PAUSE_SECONDS: Final = 0.01
_PAUSE_MAX_SECONDS: Final = 0.2
_READS: Final = (*get_args(ReadCall), ClusterCall)
WaitingCall: TypeAlias = LeaseCall | ResultCall
"""A call that may wait at its node, on top of its deadline."""
W = TypeVar("W", bound=WaitingCall)


class Calls(Protocol):
    """Who executes a client's calls: `Calling`, or something that stands in for a cluster."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether there is anybody to call."""
        ...

    async def call(self, call: Call, timeout: float) -> object:
        """Execute a call and return its reply; see `Calling.call`."""
        ...

    async def close(self) -> None:
        """Execute no more calls."""
        ...


class Calling:
    """Executes calls on the nodes of one cluster, and owns the connections to them.

    Args:
        endpoints: Which node to try next.
        name: Who this client is, for the nodes' logs.
        random: Jitter of the pauses.
        credentials: What nodes ask of this client, and it of them.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        name: str,
        random: Random,
        credentials: Credentials | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._name = name
        self._random = random
        self._connections: dict[Address, Connection] = {}
        self._opening: dict[Address, asyncio.Task[Connection]] = {}
        self._closed = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to any node."""
        return bool(self._connections)

    async def close(self) -> None:
        """Close every connection; calls that are open end at once with an error."""
        self._closed.set()
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        for connection in list(self._connections.values()):
            connection.close()
        if opening:
            await asyncio.wait(opening)
        await asyncio.sleep(0)  # Let the transports tell their connections that they are closed.

    async def call(self, call: Call, timeout: float) -> object:
        """Execute a call and return its reply, checked for type and length.

        Args:
            call: What is asked.
            timeout: Seconds until the call is given up; what the call itself may wait comes
                on top.

        Raises:
            RequestError: The first node that judged the call refused it. A node that refuses this
                client, or does not know the call, says nothing of what an earlier try did.
            UnavailableError: Nothing happened by the deadline.
            OutcomeUnknown: It may have happened; never of a read.
        """
        loop = asyncio.get_running_loop()
        wait_ms = call.wait_ms if isinstance(call, WaitingCall) else 0
        wait_ends_at = loop.time() + wait_ms / 1_000
        deadline = wait_ends_at + timeout
        may_have_happened = False
        # Whoever takes less than the newest wants to spare the leader.
        is_stale = getattr(call, "consistency", None) is Consistency.STALE
        tries = 0
        last: RaftqError | None = None
        while True:
            if self.is_closed:
                raise closed_error(may_have_happened)
            address = self._endpoints.choose(any_will_do=is_stale)
            try:
                reply = await self._try(address, call, deadline, wait_ends_at)
            except UnavailableError as error:
                if last is None or loop.time() < deadline:
                    last = error  # A try that the deadline cut off tells less than the one before.
                self._learn_from(address, error)
            except OutcomeUnknown as error:
                last = error
                may_have_happened = may_have_happened or not isinstance(call, _READS)
                self._endpoints.failed(address)
            except (Forbidden, UnsupportedVersion, UnknownMethod, InternalError) as error:
                if not may_have_happened:
                    raise
                raise _refused_later(error) from error
            else:
                self._endpoints.succeeded(address)
                _check(call, reply)
                return reply
            pause = self._pause_seconds(tries, last)
            tries += 1
            if loop.time() + pause >= deadline and not self.is_closed:
                raise _at_deadline(last, may_have_happened)
            await self._sleep(pause)

    def _learn_from(self, address: Address, error: UnavailableError) -> None:
        """Decide from a node's refusal where the next try goes."""
        if isinstance(error, NotLeader):
            leader = error.facts.get("leader")
            self._endpoints.not_leader(address, leader if isinstance(leader, str) else None)
        elif isinstance(error, NoLeader | NotReady | ShuttingDown):
            self._endpoints.failed(address)

    def _pause_seconds(self, tries: int, error: RaftqError) -> float:
        """Return a jittered pause, never shorter than the node's advice."""
        pause = min(_PAUSE_SECONDS * 2.0 ** min(tries, 16), _PAUSE_MAX_SECONDS)
        advice_ms = error.facts.get("retry_after_ms")
        advised = advice_ms / 1_000 if isinstance(advice_ms, int) else 0.0
        return max(advised, 0.0) + pause * (0.5 + self._random.random())

    async def _sleep(self, pause: float) -> None:
        """Pause, but not beyond `close`."""
        try:
            async with asyncio.timeout(pause):
                await self._closed.wait()
        except TimeoutError:
            pass

    # ------------------------------------------------------------ one try

    async def _try(
        self, address: Address, call: Call, deadline: float, wait_ends_at: float
    ) -> object:
        """Send a call to one node and wait for its answer, but not longer than it deserves."""
        loop = asyncio.get_running_loop()
        connection = self._connections.get(address)
        if connection is None or connection.is_lost:
            connection = await self._connected(address, deadline)
        now = loop.time()
        wait_left = max(wait_ends_at - now, 0.0)
        if isinstance(call, WaitingCall) and call.wait_ms:
            call = with_wait(call, int(wait_left * 1_000))
        timeout_ms = int((deadline - now - wait_left) * 1_000)
        future = connection.call(call, min(max(timeout_ms, 1), limits.TIMEOUT_MS_MAX))
        limit = min(deadline, now + wait_left + PATIENCE_SECONDS)
        # Not `asyncio.timeout_at`, which costs as much as all the rest of this function.
        timer = loop.call_at(limit, _give_up, connection, future, address)
        try:
            return await future
        finally:
            timer.cancel()

    async def _connected(self, address: Address, deadline: float) -> Connection:
        """Return a connection; calls that need the same one wait for the same attempt."""
        opening = self._opening.get(address)
        if opening is None:
            opening = asyncio.create_task(self._open(address))
            self._opening[address] = opening
            opening.add_done_callback(lambda done: self._on_opened(address, done))
        await asyncio.wait([opening], timeout=deadline - asyncio.get_running_loop().time())
        if not opening.done() or opening.cancelled():
            raise NoLeader(f"cannot reach {address[0]}:{address[1]}: no answer yet")
        return opening.result()

    def _on_opened(self, address: Address, done: "asyncio.Task[Connection]") -> None:
        del self._opening[address]
        if not done.cancelled():
            done.exception()  # Seen, even if every caller has left.

    async def _open(self, address: Address) -> Connection:
        connection, hello = await open_connection(
            address,
            self._name,
            PATIENCE_SECONDS,
            lambda method, params: self._on_notification(address, method, params),
            lambda: self._on_lost(address),
            self._credentials,
        )
        self._connections[address] = connection
        self._endpoints.learn(hello.nodes, hello.leader)
        return connection

    # ------------------------------------------------------------ what connections tell

    def _on_lost(self, address: Address) -> None:
        self._connections.pop(address, None)
        self._endpoints.failed(address)

    def _on_notification(self, address: Address, method: str, params: list[object]) -> None:
        match method, params:
            case "leader", [str() | None as leader, int(term)]:
                self._endpoints.set_leader(leader, term)
            case "shutting_down", _:
                self._endpoints.leaving(address)
            case _:
                pass  # A newer server may say more.


def _give_up(connection: Connection, future: "asyncio.Future[object]", address: Address) -> None:
    if not future.done():
        future.set_exception(CommitTimeout(f"{address[0]}:{address[1]} did not answer in time"))
    connection.forget(future)


def with_wait(call: W, wait_ms: int) -> W:
    """Return the same request with another wait."""
    return structs.replace(call, wait_ms=max(wait_ms, 0))


def _check(call: Call, reply: object) -> None:
    """Raise InternalError if a reply does not have the length that its call implies."""
    match call, reply:
        case Enqueue(tasks=asked), Enqueued(tasks=answered):
            fits = len(asked) == len(answered)
        case EnqueueParts(parts=parts), Enqueued(tasks=answered):
            fits = sum(len(part.tasks) for part in parts) == len(answered)
        case LeaseCall(), Leased():
            fits = True
        case Cancel(ids=asked) | Confirm(ids=asked), Settled(items=answered):
            fits = len(asked) == len(answered)
        case Edit(), Settled(items=answered):
            fits = len(answered) == 1
        case _, Settled(items=answered):
            fits = len(answered) == len(getattr(call, "items", ()))
        case _:
            fits = True
    if not fits:
        raise InternalError("the server's answer has not as many items as the call")


def closed_error(may_have_happened: bool) -> RaftqError:
    """Return what the calls of a closed client hear."""
    if may_have_happened:
        return ConnectionLost("this client was closed before the answer came")
    return InvalidRequest("this client is closed")


def _refused_later(error: RaftqError) -> CommitTimeout:
    """Return what a caller hears when a try may have succeeded and another node refused the next.

    What is wrong with the call itself every node sees; but tokens and versions are a node's own.
    """
    return CommitTimeout(f"an earlier try may have succeeded; the next was refused: {error}")


def _at_deadline(last: RaftqError, may_have_happened: bool) -> RaftqError:
    """Return what a caller hears: unknown if any try may have succeeded, else that none did."""
    if may_have_happened and not isinstance(last, OutcomeUnknown):
        return CommitTimeout(
            f"no answer before the deadline; an earlier try may have succeeded ({last.message})"
        )
    if isinstance(last, OutcomeUnknown) and not may_have_happened:
        return NoLeader(f"no node answered before the deadline ({last.message})")
    return last
