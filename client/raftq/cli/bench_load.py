"""The load of `raftq bench`, in processes of its own: `python -m raftq.cli.bench_load JSON`.

Prints one JSON object: how much was done, how long it took, and the CPU that the client used.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from raftq.client import AckItem, AsyncClient, RaftqError

_LEASE: Final = "60s"
_EMPTY_WAIT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one load process does."""

    role: str
    addresses: str
    queue: str
    seconds: float
    callers: int = 1
    batch: int = 1
    payload_bytes: int = 256
    rate: int = 0
    name: str = "bench"


@dataclass(slots=True)
class Outcome:
    """What a load process did. Times are seconds; latencies milliseconds, sorted."""

    tasks: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    ended_at: float = 0.0
    latencies_ms: list[float] = field(default_factory=list[float])


async def enqueue(client: AsyncClient, load: Load, outcome: Outcome) -> None:
    """Enqueue as fast as the cluster accepts, with a number of callers."""
    payloads = [b"x" * load.payload_bytes] * load.batch
    stop_at = time.perf_counter() + load.seconds

    async def caller() -> None:
        while time.perf_counter() < stop_at:
            begun = time.perf_counter()
            await client.enqueue_many(load.queue, payloads)
            outcome.latencies_ms.append((time.perf_counter() - begun) * 1_000)
            outcome.tasks += load.batch

    await asyncio.gather(*(caller() for _ in range(load.callers)))


async def consume(client: AsyncClient, load: Load, outcome: Outcome) -> None:
    """Lease and ack until nothing has come for a while after the given time."""
    stop_at = time.perf_counter() + load.seconds

    async def caller(number: int) -> None:
        while True:
            leases = await client.lease(
                load.queue,
                worker=f"{load.name}-{number}",
                count=load.batch,
                lease=_LEASE,
                wait=_EMPTY_WAIT,
            )
            if not leases and time.perf_counter() > stop_at:
                return
            if leases:
                await client.ack_many([AckItem(lease.token) for lease in leases])
                outcome.tasks += len(leases)
                outcome.ended_at = time.time()

    await asyncio.gather(*(caller(number) for number in range(load.callers)))


async def pace(client: AsyncClient, load: Load, outcome: Outcome) -> None:
    """Enqueue at a fixed rate, whatever the answers, and note how long each took."""

    async def one() -> None:
        begun = time.perf_counter()
        await client.enqueue(load.queue, b"%015.6f" % time.time() + b"x" * load.payload_bytes)
        outcome.latencies_ms.append((time.perf_counter() - begun) * 1_000)
        outcome.tasks += 1

    running: list[asyncio.Task[None]] = []
    begun = time.perf_counter()
    for number in range(int(load.rate * load.seconds)):
        due = begun + number / load.rate
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        running.append(asyncio.create_task(one()))
    await asyncio.gather(*running)


async def receive(client: AsyncClient, load: Load, outcome: Outcome) -> None:
    """Wait for paced tasks and note how old each is when it is delivered."""
    stop_at = time.perf_counter() + load.seconds
    while time.perf_counter() < stop_at:
        leases = await client.lease(
            load.queue, worker=load.name, lease=_LEASE, wait=_EMPTY_WAIT, count=16
        )
        now = time.time()
        for lease in leases:
            outcome.latencies_ms.append((now - float(lease.payload[:15])) * 1_000)
        await client.ack_many([AckItem(lease.token) for lease in leases])
        outcome.tasks += len(leases)


_ROLES: Final[dict[str, Callable[[AsyncClient, Load, Outcome], Awaitable[None]]]] = {
    "enqueue": enqueue,
    "consume": consume,
    "pace": pace,
    "receive": receive,
}


async def run(load: Load) -> Outcome:
    """Do the load."""
    outcome = Outcome()
    async with AsyncClient(load.addresses, timeout=30, name=load.name) as client:
        await client.cluster()
        begun, cpu = time.perf_counter(), time.process_time()
        await _ROLES[load.role](client, load, outcome)
        outcome.seconds = time.perf_counter() - begun
        outcome.cpu_seconds = time.process_time() - cpu
    outcome.latencies_ms.sort()
    return outcome


def main() -> None:
    """Do the load that the command line describes."""
    load = Load(**json.loads(sys.argv[1]))
    try:
        outcome = asyncio.run(run(load))
    except RaftqError as error:
        sys.exit(f"{load.role}: {error}")
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
