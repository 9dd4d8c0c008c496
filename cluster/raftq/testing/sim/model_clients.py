"""Clients that use every option of a task: keys, joins, delays, expiry, two steps, follow-ups.

Their calls are no part of the history, whose checks know plain tasks only; what becomes of their
tasks is judged by `raftq.testing.checks.task_model`, from what the machines did.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple

from raftq.protocol.errors import OutcomeUnknown, RaftqError
from raftq.protocol.options import NewTask, TaskOptions
from raftq.protocol.replies import LeasedTask
from raftq.testing.checks.task_model import ModelTasks
from raftq.testing.sim.clients import Surroundings

MODEL_QUEUES: Final = ("orders", "charges", "order-checks")
_CHECKS: Final = MODEL_QUEUES[2]
_LIMITS: Final = {"api": 1, "printer": 2}
_ATTEMPTS_MAX: Final = 5


class _Made(NamedTuple):
    id: bytes
    options: TaskOptions


class ModelClients:
    """Programs that share what they know of their tasks."""

    def __init__(self) -> None:
        self.tasks = ModelTasks()
        self._recent: deque[_Made] = deque(maxlen=60)

    # ------------------------------------------------------------ producers

    def producer(self) -> Callable[[Surroundings], Awaitable[None]]:
        """Return a program that sets the limits, and then enqueues, confirms and cancels."""

        async def run(around: Surroundings) -> None:
            await self._set_limits(around)
            while not around.is_stopping():
                with suppress(RaftqError):
                    await self._enqueue(around)
                    await self._decide(around)
                await around.pause(0.04)

        return run

    async def _set_limits(self, around: Surroundings) -> None:
        for key, limit in _LIMITS.items():
            self.tasks.limits[key] = limit
            while not around.is_stopping():
                try:
                    await around.client.set_limit(key, concurrency=limit)
                except RaftqError:
                    await around.pause(0.2)
                else:
                    break

    async def _enqueue(self, around: Surroundings) -> None:
        queue = around.random.choice(MODEL_QUEUES[:2])
        tasks = [self._new(around) for _ in range(around.random.randint(1, 4))]
        if len(tasks) > 2:
            tasks[-1] = self._join(around, tasks[:-1])
        for _ in range(3):  # The same tasks again, when nobody knows.
            try:
                await around.client.enqueue_many(queue, tasks)
            except OutcomeUnknown:
                await around.pause(0.1)
            else:
                return

    def _new(self, around: Surroundings) -> NewTask:
        """Make a task with some options, and keep what it was asked for."""
        random = around.random
        is_prepared = random.random() < 0.2
        options = TaskOptions(
            expires_after_ms=random.choice((0, 0, 0, 300)),
            unique_key=random.choice((None, None, None, f"unique-{random.randint(1, 9)}")),
            order_key=random.choice((None, "order-1", "order-2")),
            limit_key=random.choice((None, None, *_LIMITS)),
            confirm_within_ms=400 if is_prepared else 0,
            check_queue=_CHECKS if is_prepared and random.random() < 0.5 else None,
        )
        return self._told(around, options, random.choice((0, 0, 50, 400)))

    def _join(self, around: Surroundings, members: list[NewTask]) -> NewTask:
        return self._told(around, TaskOptions(depends_on=[task.id for task in members]), 0)

    def _told(self, around: Surroundings, options: TaskOptions, delay_ms: int) -> NewTask:
        task_id = around.client.new_id()
        self.tasks.options[task_id] = options
        self._recent.append(_Made(task_id, options))
        priority = around.random.choice((0, 5, 5, 9))
        return NewTask(task_id, b"model", priority, delay_ms, _ATTEMPTS_MAX, 0, options)

    async def _decide(self, around: Surroundings) -> None:
        """Confirm most prepared tasks, and cancel any task, waiting or not."""
        chosen = around.random.choice(list(self._recent)) if self._recent else None
        if chosen is not None and chosen.options.confirm_within_ms and around.random.random() < 0.8:
            self.tasks.confirmed.add(chosen.id)
            await around.client.confirm_many([chosen.id])
        elif chosen is not None and around.random.random() < 0.3:
            await around.client.cancel_many([chosen.id])

    # ------------------------------------------------------------ workers

    def worker(self) -> Callable[[Surroundings], Awaitable[None]]:
        """Return a program that leases tasks, and ends, fails, returns or forgets them."""

        async def run(around: Surroundings) -> None:
            while not around.is_stopping():
                leases: list[LeasedTask] = []
                with suppress(RaftqError):
                    leases = await around.client.lease(
                        list(MODEL_QUEUES), worker=around.name, count=3, lease=0.8, wait=0.3
                    )
                await asyncio.gather(*(self._treat(around, lease) for lease in leases))
                await around.pause(0.02)

        return run

    async def _treat(self, around: Surroundings, lease: LeasedTask) -> None:
        random, client = around.random, around.client
        await around.pause(0.05)
        fate = random.random()
        with suppress(RaftqError):
            if fate < 0.15:
                follow_ups = {random.choice(MODEL_QUEUES[:2]): [self._new(around)]}
                await client.ack(lease.token, b"first", follow_ups=follow_ups)
            elif fate < 0.75:
                await client.ack(lease.token, b"result")
            elif fate < 0.85:
                await client.fail(lease.token, "it did not work")
            elif fate < 0.92:
                await client.requeue(lease.token, delay=random.choice((0.0, 0.1)))
            elif fate < 0.96:  # As if it had been frozen: another may have the task by now.
                await asyncio.sleep(1.2)
                await client.ack(lease.token, b"late")
