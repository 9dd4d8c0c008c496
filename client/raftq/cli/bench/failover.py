"""How long nobody can enqueue when the leader dies or hangs, and whether retries repeat work."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from raftq.cli.bench.figures import Pick, Sample
from raftq.cli.bench.stage import Stage
from raftq.cli.local_cluster import NodeProcess
from raftq.client import AckItem, AsyncClient, OutcomeUnknown, RaftqError

_WARM_CALLS: Final = 50
_CALL_SECONDS: Final = 10.0
_PATIENCE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.005
_EMPTY_WAIT: Final = 1.0
_LEASES_AT_A_TIME: Final = 16
_LEASE: Final = "600s"
"""Longer than any round: a task that is leased twice was repeated by a retry, not by its age."""


def killed_leaders(stage: Stage, case: str) -> list[Sample]:
    """SIGKILL the leader under a steady caller, several times."""
    gaps = [
        measure_gap(stage, lambda leader: leader.send(signal.SIGKILL), _start_again)
        for _ in range(stage.scale.disturbances)
    ]
    return _samples(case, gaps)


def hung_leaders(stage: Stage, case: str) -> list[Sample]:
    """SIGSTOP the leader under a steady caller, several times; later let it go on."""
    gaps = [
        measure_gap(
            stage,
            lambda leader: leader.send(signal.SIGSTOP),
            lambda leader: leader.send(signal.SIGCONT),
        )
        for _ in range(stage.scale.disturbances)
    ]
    return _samples(case, gaps)


def _start_again(leader: NodeProcess) -> None:
    leader.kill()  # It is dead; this also ends what it left behind.
    leader.start()


def _samples(case: str, gaps_ms: list[float]) -> list[Sample]:
    picks = {"gap, median": Pick.MEDIAN, "gap, worst": Pick.WORST}
    return [Sample(case, what, "ms", gap, pick) for what, pick in picks.items() for gap in gaps_ms]


@dataclass(slots=True)
class Traffic:
    """What a producer and a worker saw."""

    accepted: list[tuple[bytes, float, float]] = field(
        default_factory=list[tuple[bytes, float, float]]
    )
    """Payload, when its call began, and when it was accepted; one after the other."""
    unknown: set[bytes] = field(default_factory=set[bytes])
    runs: Counter[bytes] = field(default_factory=Counter[bytes])

    def first_since(self, instant: float) -> float | None:
        """Return when the first call that began after an instant was accepted."""
        if not self.accepted or self.accepted[-1][1] < instant:
            return None
        return next(at for _, began_at, at in self.accepted if began_at >= instant)

    def broken_promise(self) -> str | None:
        """Return in words what was lost or repeated; None if each task was run exactly once."""
        repeated = [payload for payload, count in self.runs.items() if count > 1]
        if repeated:
            return f"{len(repeated)} tasks of {len(self.runs)} were run twice"
        accepted = {payload for payload, _, _ in self.accepted}
        if lost := accepted - self.runs.keys():
            return f"{len(lost)} accepted tasks of {len(accepted)} were never delivered"
        if strange := self.runs.keys() - accepted - self.unknown:
            return f"{len(strange)} tasks were delivered that the cluster had refused"
        return None


def measure_gap(
    stage: Stage, hurt: Callable[[NodeProcess], None], heal: Callable[[NodeProcess], None]
) -> float:
    """Return the milliseconds from a leader's harm to the next accepted enqueue.

    A producer and a worker are busy all the while, and go on until the leader is back. Then every
    task must have been run exactly once.

    Raises:
        RuntimeError: A task was lost or repeated, or the cluster did not come back.
    """
    traffic = Traffic()
    try:
        gap_ms = asyncio.run(_under_traffic(stage, traffic, hurt, heal))
    except ExceptionGroup as errors:  # What one of several tasks raised comes in a group.
        raise RuntimeError(str(errors.exceptions[0])) from None
    broken = traffic.broken_promise()
    if broken:
        raise RuntimeError(f"a promise was broken by a failover: {broken}")
    return gap_ms


async def _under_traffic(
    stage: Stage,
    traffic: Traffic,
    hurt: Callable[[NodeProcess], None],
    heal: Callable[[NodeProcess], None],
) -> float:
    queue = stage.new_queue()
    stopping = asyncio.Event()
    async with (
        AsyncClient(stage.cluster.addresses, timeout=_CALL_SECONDS) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(_produce(client, queue, traffic, stopping))
        tasks.create_task(_work(client, queue, traffic, stopping))
        await _until(lambda: len(traffic.accepted) >= _WARM_CALLS)
        leader = await asyncio.to_thread(stage.cluster.wait_leader)
        hurt_at = time.monotonic()
        hurt(leader)
        hurt_by = time.monotonic()  # The old leader's last answers are to calls from before.
        await _until(lambda: traffic.first_since(hurt_by) is not None)
        await asyncio.to_thread(heal, leader)
        await asyncio.to_thread(stage.cluster.wait_ready, _PATIENCE_SECONDS)
        stopping.set()
    first = traffic.first_since(hurt_by)
    assert first is not None
    return (first - hurt_at) * 1_000


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the cluster accepted nothing for {_PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)


async def _produce(
    client: AsyncClient, queue: str, traffic: Traffic, stopping: asyncio.Event
) -> None:
    number = 0
    while not stopping.is_set():
        number += 1
        payload = b"%d" % number
        began_at = time.monotonic()
        try:
            await client.enqueue(queue, payload)
        except OutcomeUnknown:
            traffic.unknown.add(payload)
        except RaftqError:
            continue
        else:
            traffic.accepted.append((payload, began_at, time.monotonic()))


async def _work(client: AsyncClient, queue: str, traffic: Traffic, stopping: asyncio.Event) -> None:
    request = 0
    while True:
        try:
            leases = await client.lease(
                queue,
                worker=f"worker-of-{queue}",  # One that was before has used these request ids.
                count=_LEASES_AT_A_TIME,
                lease=_LEASE,
                wait=_EMPTY_WAIT,
                request_id=f"request-{request}",
            )
        except RaftqError:
            continue  # What it may have been granted, the same request returns.
        request += 1
        traffic.runs.update(lease.payload for lease in leases)
        with suppress(RaftqError):  # Its lease outlives this round, so it is not run again.
            await client.ack_many([AckItem(lease.token) for lease in leases])
        if not leases and stopping.is_set():
            return
