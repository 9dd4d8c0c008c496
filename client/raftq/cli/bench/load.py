"""The load of `raftq bench`, in processes of its own: `python -m …load ADDRESSES JSON`.

Connects, prints `ready`, begins when a line comes on stdin, and prints one JSON object: how much
was done, when, how long calls took, and the CPU that this client used. Instants are those of the
monotonic clock, which all processes of a machine share.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from raftq.cli.bench.figures import percentile
from raftq.client import AckItem, AsyncClient, LeasedTask, RaftqError

READY: Final = "ready"
_LEASE: Final = "600s"
_EMPTY_WAIT: Final = 1.0
_CALL_SECONDS: Final = 60.0
_STAMP: Final = "%018.6f"
_STAMP_BYTES: Final = 18
_TIMER_ERROR_SECONDS: Final = 0.002
"""How late a timer may wake this process: that is not the cluster's doing, and does not count."""
_CALLS_WITHOUT_PAUSE: Final = 100
"""A load that cannot keep up still reads answers."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one load process does.

    Attributes:
        role: What it does, as the program calls it: a name in `_ROLES`.
        queue: Where tasks go or come from.
        seconds: How long it goes on, if `tasks` does not say how far; consumers also wait for
            tasks so long.
        tasks: How many tasks it does; 0 for as many as the time allows.
        callers: Calls that are open at a time.
        batch: Tasks in a call.
        payload_bytes: Of each task.
        rate: Tasks a second that are offered; for `pace`.
        name: The worker's.
        module: The program that knows the role.
    """

    role: str
    queue: str
    seconds: float = 0.0
    tasks: int = 0
    callers: int = 1
    batch: int = 1
    payload_bytes: int = 256
    rate: int = 0
    name: str = "bench"
    module: str = "raftq.cli.bench.load"


@dataclass(slots=True)
class Outcome:
    """What a load process did."""

    tasks: int = 0
    began_at: float = 0.0
    ended_at: float = 0.0
    cpu_seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class LoadRun:
    """One load while it runs."""

    def __init__(self, client: AsyncClient, load: Load) -> None:
        self.client = client
        self.load = load
        self.tasks = 0
        self.latencies_ms: list[float] = []
        self.ended_at = self.began_at = time.monotonic()
        self._claimed = 0

    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.began_at + self.load.seconds

    def claim(self) -> int:
        """Return how many tasks the next call is for; 0 if there is no next one."""
        load = self.load
        if not load.tasks:
            return 0 if self.is_over() else load.batch
        count = min(load.batch, load.tasks - self._claimed)
        self._claimed += count
        return count

    def unclaim(self, count: int) -> None:
        """Leave tasks that were claimed and not done to others."""
        self._claimed -= count

    def did(self, tasks: int, since: float) -> None:
        """Note that tasks were done by a call that began at an instant."""
        self.ended_at = time.monotonic()
        self.latencies_ms.append((self.ended_at - since) * 1_000)
        self.tasks += tasks

    async def acked(self, leases: list[LeasedTask]) -> None:
        """Record leased tasks as done."""
        if len(leases) == 1:
            await self.client.ack(leases[0].token)
        else:
            await self.client.ack_many([AckItem(lease.token) for lease in leases])

    async def leased(self, worker: str, count: int) -> list[LeasedTask]:
        """Wait a while for tasks."""
        queue = self.load.queue
        return await self.client.lease(
            queue, worker=worker, count=count, lease=_LEASE, wait=_EMPTY_WAIT
        )


async def enqueue(run: LoadRun) -> None:
    """Enqueue as fast as the cluster accepts, with a number of callers."""
    load = run.load
    payload = b"x" * load.payload_bytes

    async def caller() -> None:
        while count := run.claim():
            since = time.monotonic()
            if load.batch == 1:
                await run.client.enqueue(load.queue, payload)
            else:
                await run.client.enqueue_many(load.queue, [payload] * count)
            run.did(count, since)

    await asyncio.gather(*(caller() for _ in range(load.callers)))


async def consume(run: LoadRun) -> None:
    """Lease and ack: so many tasks, or until nothing has come for a while after the given time."""
    load = run.load

    async def caller(number: int) -> None:
        while count := run.claim() if load.tasks else load.batch:
            since = time.monotonic()
            leases = await run.leased(f"{load.name}-{number}", count)
            run.unclaim(count - len(leases))
            if leases:
                await run.acked(leases)
                run.did(len(leases), since)
            elif run.is_over():
                return

    await asyncio.gather(*(caller(number) for number in range(load.callers)))


async def pace(run: LoadRun) -> None:
    """Offer tasks at a fixed rate, whatever the answers.

    A call that begins late, because this process had too much to do, counts from the instant at
    which it was due: else a slow answer would hide the wait of those behind it.
    """
    load = run.load
    filler = b"x" * max(load.payload_bytes - _STAMP_BYTES, 0)
    count = int(load.rate * load.seconds)

    async def one(since: float) -> None:
        await run.client.enqueue(load.queue, (_STAMP % since).encode() + filler)
        run.did(1, since)

    async with asyncio.TaskGroup() as calls:
        sent = 0
        while sent < count:
            due = run.began_at + sent / load.rate
            now = time.monotonic()
            if now < due:
                await asyncio.sleep(due - now)
            else:
                calls.create_task(one(now if now - due < _TIMER_ERROR_SECONDS else due))
                sent += 1
                if not sent % _CALLS_WITHOUT_PAUSE:
                    await asyncio.sleep(0)


async def receive(run: LoadRun) -> None:
    """Wait for so many paced tasks; a task's latency is its age when it is delivered."""
    while run.tasks < run.load.tasks and not run.is_over():
        leases = await run.leased(run.load.name, count=16)
        now = time.monotonic()
        for lease in leases:
            run.latencies_ms.append((now - float(lease.payload[:_STAMP_BYTES])) * 1_000)
        if leases:
            await run.acked(leases)
            run.tasks += len(leases)
            run.ended_at = time.monotonic()


Role: TypeAlias = Callable[[LoadRun], Awaitable[None]]
_ROLES: Final[dict[str, Role]] = {
    "enqueue": enqueue,
    "consume": consume,
    "pace": pace,
    "receive": receive,
}


async def perform(addresses: str, load: Load, role: Role) -> Outcome:
    """Connect, wait for the word, do the load."""
    async with AsyncClient(addresses, timeout=_CALL_SECONDS, name=load.name) as client:
        await client.cluster()
        print(READY, flush=True)
        if not await asyncio.to_thread(sys.stdin.readline):
            sys.exit("nobody waits for this load any more")
        cpu = time.process_time()
        run = LoadRun(client, load)
        await role(run)
        used = time.process_time() - cpu
    times = run.latencies_ms or [0.0]
    p50, p99 = percentile(times, 50), percentile(times, 99)
    return Outcome(run.tasks, run.began_at, run.ended_at, used, p50, p99)


def main(roles: Mapping[str, Role] = _ROLES) -> None:
    """Do the load that the command line describes, with one of these roles."""
    addresses, text = sys.argv[1:]
    load = Load(**json.loads(text))
    failures: list[Exception] = []
    try:
        print(json.dumps(asdict(asyncio.run(perform(addresses, load, roles[load.role])))))
    except* RaftqError as errors:  # Alone, or in the group of one of several tasks.
        failures += errors.exceptions
    if failures:
        sys.exit(f"{load.role}: {failures[0]}")


if __name__ == "__main__":
    main()
