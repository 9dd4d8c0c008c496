"""Scripted nodes: they speak the native protocol and do what a test tells them.

A `FakeNode` answers every call with success unless its `script` says otherwise: the first action
in it is used for the next call, and so on. `fallback` is used when the script is empty.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias, TypeVar

import msgspec

from raftq.protocol import codec
from raftq.protocol.calls import (
    AddMember,
    Call,
    ClusterCall,
    LeaseCall,
    QueueCall,
    QueuesCall,
    ReadCall,
    RemoveMember,
    ResultCall,
    SchedulesCall,
    SettingsCall,
    TaskCall,
    TasksCall,
    TransferLeadership,
    WhyCall,
)
from raftq.protocol.commands import Ack, Enqueue, EnqueueParts, Extend, Fail, Requeue
from raftq.protocol.control import (
    Cancel,
    Confirm,
    DeleteSchedule,
    Edit,
    SetLimit,
    SetQueue,
    SetQuota,
    SetSchedule,
    Sweep,
)
from raftq.protocol.errors import RaftqError
from raftq.protocol.fields import TaskState
from raftq.protocol.options import Quota
from raftq.protocol.replies import (
    Done,
    Enqueued,
    EnqueuedTask,
    HelloReply,
    Leased,
    Reply,
    Settled,
    SettledTask,
    Swept,
)
from raftq.protocol.requests import Request, RequestReader, call_of, read_request
from raftq.protocol.statuses import (
    ClusterStatus,
    NodeStatus,
    QueueList,
    QueueStatus,
    ScheduleList,
    Settings,
    TaskPage,
    TaskStatus,
    Why,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Received:
    """One call as it came."""

    method: str
    timeout_ms: int
    call: Call
    at: float
    call_id: int


class Silent:
    """Never answer."""


class Break:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class Raw:
    """Send these bytes in the place of an answer."""

    data: bytes


Action: TypeAlias = Reply | RaftqError | Silent | Break | Raw | list[object]
"""What to do with a call; a list is the result field of a response, whatever is in it."""
Script: TypeAlias = Action | Callable[[Received], Action | Awaitable[Action]]


def success(received: Received) -> Reply:
    """Return a plausible good answer."""
    match received.call:
        case LeaseCall():
            return Leased([])
        case Ack(items=items):
            return Settled([SettledTask(TaskState.DONE) for _ in items])
        case Fail(items=items) | Requeue(items=items):
            return Settled([SettledTask(TaskState.READY) for _ in items])
        case Extend(items=items):
            return Settled([SettledTask(TaskState.LEASED) for _ in items])
        case Enqueue(tasks=tasks):
            return Enqueued([EnqueuedTask(task.id, TaskState.READY, True) for task in tasks])
        case EnqueueParts(parts=parts):
            ids = [task.id for part in parts for task in part.tasks]
            return Enqueued([EnqueuedTask(each, TaskState.READY, True) for each in ids])
        case ClusterCall() | AddMember() | RemoveMember() | TransferLeadership():
            return ClusterStatus("c", "n1", "n1", 1, 1, 1, "", [])
        case SetQueue() | SetLimit() | SetQuota() | SetSchedule() | DeleteSchedule():
            return Done(True)
        case Cancel(ids=ids):
            return Settled([SettledTask(TaskState.CANCELLED) for _ in ids])
        case Confirm(ids=ids):
            return Settled([SettledTask(TaskState.READY) for _ in ids])
        case Edit():
            return Settled([SettledTask(TaskState.SCHEDULED)])
        case Sweep():
            return Swept(0, None, 1)
        case read:
            return _found(read)


def _found(call: ReadCall) -> Reply:
    """Answer a read of a cluster in which nothing happens."""
    match call:
        case TaskCall(task_id=task_id) | ResultCall(task_id=task_id):
            return task_status(task_id)
        case QueueCall(queue=queue):
            return QueueStatus(queue, 0, {})
        case TasksCall():
            return TaskPage([], 0, None)
        case WhyCall(task_id=task_id):
            return Why(task_id, TaskState.READY, [])
        case QueuesCall():
            return QueueList([])
        case SettingsCall():
            return Settings(Quota(), [])
        case SchedulesCall():
            return ScheduleList([])


def task_status(
    task_id: bytes, state: TaskState = TaskState.READY, result: bytes | None = None
) -> TaskStatus:
    """Return the status of a task of queue `q`."""
    return TaskStatus(task_id, "q", state, 5, 0, 0, 0, 5, None, result, [], 0, 0, None)


@dataclass
class FakeNode:
    """One scripted node. `received` has every call, `hellos` counts greetings."""

    id: str
    script: deque[Script] = field(default_factory=deque[Script])
    fallback: Script = success
    hello: Script | None = None
    """None: greet as the cluster says."""
    received: list[Received] = field(default_factory=list[Received])
    hellos: int = 0
    connections: int = 0
    port: int = 0
    host: str = "127.0.0.1"
    name: str = ""
    """Under which the node advertises itself, if not by its host."""
    tls: ssl.SSLContext | None = None
    tokens: list[object] = field(default_factory=list[object])
    """What each hello had after version and name."""
    _cluster: "FakeCluster | None" = None
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def address(self) -> str:
        """host:port."""
        return f"{self.name or self.host}:{self.port}"

    @property
    def calls(self) -> list[Call]:
        """The calls as they came."""
        return [each.call for each in self.received]

    async def start(self, cluster: "FakeCluster") -> None:
        """Listen; on the same port again after `stop`."""
        self._cluster = cluster
        self._server = await asyncio.start_server(
            self._on_connected, self.host, self.port, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        server, self._server = self._server, None
        if server is not None:
            await _close(server)
        self.break_connections()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # Let the transports close their sockets.

    def break_connections(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    @property
    def is_connected(self) -> bool:
        """Whether any client is."""
        return bool(self._writers)

    def send(self, data: bytes) -> None:
        """Send bytes to every client, whatever they are."""
        for writer in self._writers:
            writer.write(data)

    def push(self, method: str, params: list[object]) -> None:
        """Send a notification to every client."""
        self.send(codec.encode([2, method, params]))

    def _on_connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection over at once: a task that is cancelled before it has begun would not.

        A transport that nobody closes is found by the garbage collector, in a later test.
        """
        if self._server is None:
            writer.transport.abort()
            return
        self._writers.add(writer)
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._on_served(done, writer))

    def _on_served(self, task: "asyncio.Task[None]", writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        self._writers.discard(writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = RequestReader()
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(65_536):
                for raw in requests.feed(data):
                    self._handle(read_request(raw), writer)

    def _handle(self, request: Request, writer: asyncio.StreamWriter) -> None:
        call_id, method = request.call_id, bytes(request.method)
        if method == codec.encode("hello"):
            self.hellos += 1
            self.tokens.append(msgspec.msgpack.decode(request.params, type=list[object])[2:])
            assert self._cluster is not None
            greeting = self._cluster.greeting(self.id) if self.hello is None else None
            if greeting is not None:
                writer.write(codec.encode([1, call_id, None, greeting]))
            else:
                assert self.hello is not None and not callable(self.hello)
                _perform(self.hello, call_id, writer)
            return
        name, timeout_ms, call = call_of(method, request.params)
        now = asyncio.get_running_loop().time()
        received = Received(name, timeout_ms, call, now, call_id)
        self.received.append(received)
        step = self.script.popleft() if self.script else self.fallback
        task = asyncio.create_task(_answer(step, received, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _close(server: asyncio.Server) -> None:
    """Close a server, but first let connections that are just being accepted become transports.

    Without a server asyncio cannot make one, and forgets the socket that it has accepted.
    """
    loop = asyncio.get_running_loop()
    for each in server.sockets:
        loop.remove_reader(each.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()


async def _answer(step: Script, received: Received, writer: asyncio.StreamWriter) -> None:
    outcome = step(received) if callable(step) else step
    action = await outcome if isinstance(outcome, Awaitable) else outcome
    _perform(action, received.call_id, writer)


def _perform(action: Action, call_id: int, writer: asyncio.StreamWriter) -> None:
    match action:
        case Silent():
            pass
        case Break():
            writer.transport.abort()
        case Raw(data=data):
            writer.write(data)
        case RaftqError():
            writer.write(codec.encode([1, call_id, codec.error_to_wire(action), None]))
        case _:
            writer.write(codec.encode([1, call_id, None, action]))


class FakeCluster:
    """Several scripted nodes that tell the same about each other. Use it in `async with`."""

    def __init__(self, size: int = 3, leader: str | None = "n1") -> None:
        self.nodes = [FakeNode(f"n{number}") for number in range(1, size + 1)]
        self.leader = leader

    async def __aenter__(self) -> "FakeCluster":
        for node in self.nodes:
            await node.start(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self.nodes:
            await node.stop()
        with contextlib.suppress(Exception):
            await asyncio.sleep(0)

    def __getitem__(self, node_id: str) -> FakeNode:
        return next(node for node in self.nodes if node.id == node_id)

    @property
    def addresses(self) -> str:
        """Every address, as clients take them."""
        return ",".join(node.address for node in self.nodes)

    @property
    def calls(self) -> list[Call]:
        """The calls of all nodes."""
        return [call for node in self.nodes for call in node.calls]

    def greeting(self, node_id: str) -> HelloReply:
        """Return what a node answers to hello."""
        nodes = [NodeStatus(node.id, node.address, "", "", "follower", True) for node in self.nodes]
        return HelloReply(1, node_id, "c", self.leader, nodes)


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run a test's coroutine; what was logged as an error by the loop fails it."""
    problems: list[dict[str, object]] = []

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        async with asyncio.timeout(60):
            result = await main()
        await asyncio.sleep(0)
        return result

    result = asyncio.run(watched())
    assert problems == []
    return result


def slowly(
    delay: float, then: Action | Callable[[Received], Action]
) -> Callable[[Received], Awaitable[Action]]:
    """Return a step of a script that does something after a while."""

    async def answer(received: Received) -> Action:
        await asyncio.sleep(delay)
        return then(received) if callable(then) else then

    return answer


def enqueued_ids(cluster: FakeCluster) -> list[bytes]:
    """Return the id of the first task of each enqueue that arrived, tries and all."""
    return [call.tasks[0].id for call in cluster.calls if isinstance(call, Enqueue)]
