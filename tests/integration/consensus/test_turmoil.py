"""Members stop and start at random under load; what was acknowledged must be there.

The checks are the promises of docs/concepts/guarantees.md on the history that the clients saw.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import pytest
from tests.support.replicas import Group, run_group

from raftq.protocol.commands import Ack, AckItem, Enqueue, Lease
from raftq.protocol.errors import OutcomeUnknown, UnavailableError
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued, Leased, Settled

LEASE_MS = 60_000
"""Longer than the test: no lease may run out because of an election."""


@dataclass
class History:
    """What the clients were told."""

    enqueued: set[bytes] = field(default_factory=set[bytes])
    acked: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    tokens: dict[bytes, list[int]] = field(default_factory=dict[bytes, list[int]])
    refused: int = 0


async def produce(
    group: Group, history: History, numbers: Iterator[int], stop: asyncio.Event
) -> None:
    while not stop.is_set():
        tasks = [NewTask(next(numbers).to_bytes(16, "big"), b"payload") for _ in range(5)]
        reply = await group.propose(Enqueue("q", tasks))
        assert isinstance(reply, Enqueued)
        history.enqueued.update(task.id for task in reply.tasks)
        await asyncio.sleep(0.002)


async def work(group: Group, history: History, name: str, stop: asyncio.Event) -> None:
    for number in count():
        reply = await group.propose(Lease(["q"], 10, LEASE_MS, name, f"{number}"))
        assert isinstance(reply, Leased)
        if not reply.leases and stop.is_set():
            return
        for lease in reply.leases:
            history.tokens.setdefault(lease.task_id, []).append(lease.token)
        items = [AckItem(lease.token, name.encode()) for lease in reply.leases]
        if items:
            settled = await group.propose(Ack(items))
            assert isinstance(settled, Settled)
            for lease, item in zip(reply.leases, settled.items, strict=True):
                if item.state is TaskState.DONE:
                    assert lease.task_id not in history.acked, "recorded twice"
                    history.acked[lease.task_id] = name.encode()
                else:
                    history.refused += 1
        await asyncio.sleep(0.002)


async def disturb(group: Group, random: Random, rounds: int) -> None:
    """Stop one member or all of them without a word, and start them again."""
    members = list(group.members.values())
    for _ in range(rounds):
        victims = members if random.random() < 0.2 else [random.choice(members)]
        for victim in victims:
            await victim.stop()
        await asyncio.sleep(random.uniform(0.05, 0.7))
        for victim in victims:
            await victim.start()
        await asyncio.sleep(random.uniform(0.1, 0.6))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", range(4))
def test_nothing_acknowledged_is_lost_in_turmoil(tmp_path: Path, seed: int) -> None:
    async def body(group: Group) -> None:
        history, numbers = History(), count(1)
        done_producing, done_disturbing = asyncio.Event(), asyncio.Event()
        producers = [
            asyncio.create_task(produce(group, history, numbers, done_disturbing)) for _ in range(3)
        ]
        workers = [
            asyncio.create_task(work(group, history, f"w{n}", done_producing)) for n in range(3)
        ]
        try:
            await disturb(group, Random(seed), rounds=8)
            done_disturbing.set()
            await asyncio.gather(*producers)
            done_producing.set()
            await asyncio.gather(*workers)
        finally:
            for task in [*producers, *workers]:
                task.cancel()
        await check(group, history)

    run_group(tmp_path, body, snapshot_entries=300)


async def check(group: Group, history: History) -> None:
    await group.leader()
    await group.equal()
    machine = group.running[0].machine
    machine.check_invariants()
    for task_id in history.enqueued:
        status = machine.task(task_id)
        assert status is not None and status.state is TaskState.DONE, f"lost {task_id.hex()}"
        assert status.crashes == 0, "a lease ran out although its worker lived"
    for task_id, result in history.acked.items():
        status = machine.task(task_id)
        assert status is not None and status.result == result
    assert history.enqueued <= set(history.tokens)
    for tokens in history.tokens.values():
        assert tokens == sorted(set(tokens))
    assert history.refused == 0
    assert len(history.enqueued) > 100
    with pytest.raises((UnavailableError, OutcomeUnknown)):
        for member in list(group.members.values())[1:]:
            await member.stop()
        await group.propose(Enqueue("q", [NewTask(b"z" * 16, b"")]), seconds=1.5)
