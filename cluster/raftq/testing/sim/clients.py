"""Clients in the world: machines of their own with raftq's real client, and what they do with it.

Every call is recorded. They are ill-behaved on purpose, in every way that the promises allow:
repeat calls with the same ids, settle leases that they lost, die or pause in the middle of a task.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final
from uuid import UUID

from raftq.protocol.commands import AckItem, ExtendItem
from raftq.protocol.errors import OutcomeUnknown, RaftqError
from raftq.protocol.fields import Consistency
from raftq.protocol.options import NewTask
from raftq.protocol.replies import LeasedTask
from raftq.testing.history import History
from raftq.testing.recording_client import RecordingClient
from raftq.testing.sim.loop import Clock, Process, new_process
from raftq.testing.sim.network import HostNetwork, SimNetwork
from raftq.testing.sim.node import NATIVE_PORT
from raftq.testing.sim.world import World
from raftq.worker import Run, Worker

QUEUES: Final = ("mail", "thumbnails", "reports")
_TOKENS_KEPT: Final = 30


@dataclass(frozen=True, slots=True)
class Load:
    """How busy the clients are; times in seconds."""

    producers: int = 2
    workers: int = 2
    runners: int = 1
    """Workers that use `raftq.worker.Worker`."""
    readers: int = 1
    levels: tuple[Consistency, ...] = (Consistency.LINEARIZABLE, Consistency.STALE)
    """What readers ask for. A stale read may go to any node, and tells who leads."""
    patient: int = 0
    """Workers that hold a task for long and must not lose it."""
    patient_lease: float = 0.7
    pause: float = 0.05
    """Between two calls of one client, on average."""
    call_timeout: float = 2.0
    lease: float = 2.0
    work: float = 0.08
    delay_max: float = 2.0


class ClientMachine:
    """A machine with one client program, which can be started anew.

    Args:
        world: Where it is.
        network: How it reaches the nodes.
        history: Where its calls are recorded.
        name: Of the machine.
        nodes: Names of the nodes.
        program: What it does, until it is told to stop.
    """

    def __init__(
        self,
        world: World,
        network: SimNetwork,
        history: History,
        name: str,
        nodes: tuple[str, ...],
        program: "Callable[[Surroundings], Awaitable[None]]",
    ) -> None:
        self._world = world
        self._network = network
        self._history = history
        self.name = name
        self.addresses = [f"{node}:{NATIVE_PORT}" for node in nodes]
        """Where the next program that is started looks for nodes first."""
        self._program = program
        self._clock = Clock(world, name, drift=0.01)
        self._lives = 0
        self.process: Process | None = None
        self.is_stopping = False
        self.is_finished = False
        self.on_bug: Callable[[str, str], None] = lambda _name, _text: None

    def start(self, timeout: float) -> None:
        """Start the program."""
        self._lives += 1
        name = f"{self.name}.{self._lives}"
        process = new_process(self._world, name, self._clock, HostNetwork(self._network, self.name))
        process.on_error = lambda text: self.on_bug(name, text)
        self.process = process
        self._network.hosts_up.add(self.name)
        process.call_soon(self._launch, process, timeout)

    def _launch(self, process: Process, timeout: float) -> None:
        chance = self._world.chance(process.name)
        client = RecordingClient(
            self._history,
            self.addresses,
            timeout=timeout,
            name=process.name,
            random=chance,
            wall_ms=self._clock.wall_ms,
        )
        around = Surroundings(client, chance, process.name, lambda: self.is_stopping)
        task = process.create_task(self._run(around), name=process.name)
        task.add_done_callback(lambda done: self._on_end(process, done))

    async def _run(self, around: "Surroundings") -> None:
        async with around.client:
            await self._program(around)

    def _on_end(self, process: Process, task: "asyncio.Task[None]") -> None:
        if process.is_alive:
            self.is_finished = True
            if not task.cancelled() and (error := task.exception()) is not None:
                self.on_bug(process.name, f"the client failed: {type(error).__name__}: {error}")

    def pause(self) -> None:
        """Let the machine stand still."""
        if self.process is not None:
            self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        if self.process is not None:
            self.process.resume()

    def kill(self) -> None:
        """End the program as SIGKILL does."""
        if self.process is not None and self.process.is_alive:
            self._world.note(f"{self.process.name} killed")
            self.process.kill()
            self._network.process_died(self.process, says_goodbye=True)


@dataclass(slots=True)
class Surroundings:
    """What a client program has."""

    client: RecordingClient
    random: Random
    name: str
    is_stopping: Callable[[], bool]

    async def pause(self, mean: float) -> None:
        """Wait for a random time."""
        await asyncio.sleep(self.random.expovariate(1 / mean))


class KnownTasks:
    """Ids of tasks that producers made, for readers to ask about."""

    def __init__(self) -> None:
        self.ids: deque[bytes] = deque(maxlen=200)


def producer(load: Load, known: KnownTasks) -> Callable[[Surroundings], Awaitable[None]]:
    """Return a program that enqueues tasks of every kind."""

    async def run(around: Surroundings) -> None:
        random, number = around.random, 0
        while not around.is_stopping():
            queue = random.choice(QUEUES)
            tasks: list[NewTask] = []
            for _ in range(1 if random.random() < 0.7 else random.randint(2, 8)):
                number += 1
                tasks.append(_new_task(around, load, number))
            known.ids.extend(task.id for task in tasks)
            with suppress(RaftqError):
                await _enqueue(around, queue, tasks)
            await around.pause(load.pause)

    return run


def _new_task(around: Surroundings, load: Load, number: int) -> NewTask:
    random = around.random
    is_delayed = random.random() < 0.15
    return around.client.new_task(
        f"{around.name}/{number}".encode() + random.randbytes(random.choice((0, 20, 200))),
        priority=random.choice((0, 5, 5, 5, 9)),
        delay=random.uniform(0.01, load.delay_max) if is_delayed else 0,
        attempts_max=random.choice((1, 2, 5)),
    )


async def _enqueue(around: Surroundings, queue: str, tasks: list[NewTask]) -> None:
    """Enqueue; repeat after an unknown outcome, and sometimes for no reason."""
    for _ in range(3):
        try:
            await around.client.enqueue_many(queue, tasks)
        except OutcomeUnknown:
            await around.pause(0.2)
        else:
            if around.random.random() < 0.95:
                return


def worker(load: Load) -> Callable[[Surroundings], Awaitable[None]]:
    """Return a program that leases tasks and treats them in every legal and illegal way."""

    async def run(around: Surroundings) -> None:
        random, client = around.random, around.client
        old_tokens: deque[int] = deque(maxlen=_TOKENS_KEPT)
        leases: list[LeasedTask] = []
        while not around.is_stopping():
            queues = random.sample(QUEUES, random.randint(1, len(QUEUES)))
            request_id = client.new_id().hex()
            wait = random.choice((0.0, 0.5, 2.0))
            try:
                for _ in range(2 if random.random() < 0.1 else 1):
                    leases = await client.lease(
                        queues,
                        worker=around.name,
                        count=random.choice((1, 1, 4)),
                        lease=load.lease,
                        wait=wait,
                        request_id=request_id,
                    )
            except RaftqError:
                await around.pause(0.2)
                continue
            old_tokens.extend(lease.token for lease in leases)
            await asyncio.gather(*(_treat(around, load, lease) for lease in leases))
            if old_tokens and random.random() < 0.1:
                with suppress(RaftqError):
                    await client.ack(random.choice(old_tokens))
            await around.pause(load.pause / 2)

    return run


async def _treat(around: Surroundings, load: Load, lease: LeasedTask) -> None:
    random, client = around.random, around.client
    await around.pause(load.work)
    fate = random.random()
    with suppress(RaftqError):
        if fate < 0.70:
            await client.ack(lease.token, random.randbytes(8))
            if fate < 0.05:
                await client.ack(lease.token)
        elif fate < 0.78:
            await client.fail(lease.token, "it did not work")
        elif fate < 0.86:
            await client.requeue(lease.token, delay=random.choice((0.0, 0.0, 0.3)))
        elif fate < 0.96:
            for _ in range(random.randint(1, 4)):
                await client.extend(lease.token, load.lease)
                await asyncio.sleep(load.lease * random.uniform(0.2, 0.7))
            await client.ack(lease.token)
        elif fate < 0.98:
            # As if this worker had been frozen: it acks when another may have the task.
            await asyncio.sleep(load.lease * random.uniform(0.9, 2.5))
            await client.ack(lease.token, b"late")


def runner(load: Load) -> Callable[[Surroundings], Awaitable[None]]:
    """Return a program that is a worker as `raftq.worker` runs it."""

    async def run(around: Surroundings) -> None:
        async def handle(run: Run) -> bytes:
            await around.pause(load.work)
            if around.random.random() < 0.05:
                raise ValueError("it did not work")
            return run.payload[:8]

        worker = Worker(
            around.client,
            list(QUEUES),
            handle,
            concurrency=3,
            lease=load.lease,
            drain_timeout=1.0,
            name=around.name,
        )
        running = asyncio.create_task(worker.run())
        while not around.is_stopping():
            await asyncio.sleep(0.1)
        worker.stop()
        await running

    return run


def patient(load: Load, on_robbed: Callable[[str], None]) -> Callable[..., Awaitable[None]]:
    """Return a program that extends a short lease in time, again and again.

    Args:
        load: How long things take.
        on_robbed: Called with words when a lease that was extended in time is lost.
    """
    lease = load.patient_lease

    async def hold(around: Surroundings, held: LeasedTask) -> None:
        while not around.is_stopping():
            await asyncio.sleep(lease / 3)
            try:
                await around.client.extend(held.token, lease, timeout=8.0)
            except RaftqError as error:
                if error.code == "lease_lost":
                    on_robbed(f"{around.name} lost lease {held.token}, which it extended in time")
                return
        await around.client.requeue(held.token)

    async def run(around: Surroundings) -> None:
        while not around.is_stopping():
            with suppress(RaftqError):
                leases = await around.client.lease(
                    list(QUEUES), worker=around.name, lease=lease, wait=0.5
                )
                if leases:
                    await hold(around, leases[0])

    return run


def reader(load: Load, known: KnownTasks) -> Callable[[Surroundings], Awaitable[None]]:
    """Return a program that looks at tasks and queues."""

    async def run(around: Surroundings) -> None:
        random, client = around.random, around.client
        while not around.is_stopping():
            level = random.choice(load.levels)
            with suppress(RaftqError):
                if known.ids and random.random() < 0.8:
                    task_id = UUID(bytes=_newer(random, known.ids))
                    await client.task(task_id, consistency=level)
                else:
                    await client.queue(random.choice(QUEUES), consistency=level)
            await around.pause(load.pause)

    return run


def _newer(random: Random, ids: deque[bytes]) -> bytes:
    """Return one of the ids, more often a newer one."""
    return ids[-1 - int(len(ids) * random.random() ** 3)]


def drainer(load: Load) -> Callable[[Surroundings], Awaitable[None]]:
    """Return a program that works until no task is left, then ends."""

    async def run(around: Surroundings) -> None:
        client = around.client
        while True:
            try:
                leases = await client.lease(
                    list(QUEUES), worker=around.name, count=50, lease=load.lease, wait=0.2
                )
                if leases:
                    await client.extend_many([ExtendItem(leases[0].token, int(load.lease * 1_000))])
                    await client.ack_many([AckItem(lease.token) for lease in leases])
                elif not [1 for queue in QUEUES if await _waiting(client, queue)]:
                    return
            except RaftqError:
                await around.pause(0.1)

    return run


async def _waiting(client: RecordingClient, queue: str) -> int:
    counts = (await client.queue(queue)).counts
    return counts["ready"] + counts["leased"] + counts["scheduled"]
