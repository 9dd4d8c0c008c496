"""A queue in a few lines, as the answer of a scripted node: what a worker does can be read off."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.asyncs import until
from tests.support.fake_node import Action, FakeCluster, Received, run, success

from raftq.client import AsyncClient
from raftq.protocol.calls import LeaseCall
from raftq.protocol.commands import Ack, AckItem, EnqueuePart, Extend, Fail, FailItem, Requeue
from raftq.protocol.fields import TaskState
from raftq.protocol.replies import Leased, LeasedTask, Settled, SettledTask
from raftq.worker import Handler, Worker

LOST = SettledTask(None, "lease_lost")
CANCELLED = SettledTask(TaskState.CANCELLED, "cancelled")


class FakeQueue:
    """Grants its tasks once each; a repeated request gets the same leases again."""

    def __init__(self, payloads: list[bytes]) -> None:
        self.waiting = [*payloads]
        self.held: dict[int, bytes] = {}
        self.granted: dict[str, list[LeasedTask]] = {}
        self.counts_asked: list[int] = []
        self.held_most = 0
        self.done: dict[bytes, bytes | None] = {}
        self.failed: dict[bytes, str] = {}
        self.crashed: dict[bytes, str] = {}
        self.delays: dict[bytes, tuple[int | None, bool]] = {}
        """Of each failure: the pause that it asked for, and whether it is final."""
        self.given_back: list[bytes] = []
        self.cancelled: set[bytes] = set()
        """Tasks that somebody cancelled."""
        self.released: list[bytes] = []
        """Of these, those whose worker has let go of them."""
        self.refuses: str = ""
        """The error code for acks with follow-ups."""
        self.follow_ups: dict[bytes, list[EnqueuePart]] = {}
        self.progress: list[bytes] = []
        self.batches: list[int] = []
        """Items of each ack call."""
        self.extended: list[set[int]] = []
        self._token = 100

    def __call__(self, received: Received) -> Action | Awaitable[Action]:
        match received.call:
            case LeaseCall() as call:
                return self._lease(call)
            case Ack(items=items):
                self.batches.append(len(items))
                return Settled([self._settle(item) for item in items])
            case Fail(items=items):
                return Settled([self._settle(item) for item in items])
            case Requeue(items=items):
                return Settled([self._requeue(item.token) for item in items])
            case Extend(items=items):
                self.extended.append({item.token for item in items})
                self.progress += [each.progress for each in items if each.progress is not None]
                return Settled([self._extend(item.token) for item in items])
            case _:
                return success(received)

    async def _lease(self, call: LeaseCall) -> Action:
        self.counts_asked.append(call.count)
        deadline = asyncio.get_running_loop().time() + call.wait_ms / 1_000
        while not self.waiting and call.request_id not in self.granted:
            if asyncio.get_running_loop().time() >= deadline:
                return Leased([])
            await asyncio.sleep(0.005)
        if call.request_id not in self.granted:
            taken, self.waiting = self.waiting[: call.count], self.waiting[call.count :]
            self.granted[call.request_id] = [self._grant(payload) for payload in taken]
        granted = self.granted[call.request_id]
        return Leased([each for each in granted if each.token in self.held])

    def _grant(self, payload: bytes) -> LeasedTask:
        self._token += 1
        self.held[self._token] = payload
        self.held_most = max(self.held_most, len(self.held))
        return LeasedTask(bytes(16), "q", self._token, 1, payload, 30_000)

    def _extend(self, token: int) -> SettledTask:
        payload = self.held.get(token)
        if payload is None:
            return LOST
        return CANCELLED if payload in self.cancelled else SettledTask(TaskState.LEASED)

    def _settle(self, item: AckItem | FailItem) -> SettledTask:
        if isinstance(item, AckItem) and item.follow_ups and self.refuses:
            return SettledTask(TaskState.LEASED, self.refuses)
        payload = self.held.pop(item.token, None)
        if payload is None:
            return LOST
        if payload in self.cancelled:
            self.released.append(payload)
            return CANCELLED
        if isinstance(item, AckItem):
            self.follow_ups[payload] = item.follow_ups
            assert payload not in self.done, "recorded twice"
            self.done[payload] = item.result
            return SettledTask(TaskState.DONE)
        self.delays[payload] = item.delay_ms, item.is_final
        (self.crashed if item.is_crash else self.failed)[payload] = item.error
        return SettledTask(TaskState.READY)

    def _requeue(self, token: int) -> SettledTask:
        payload = self.held.pop(token, None)
        if payload is None:
            return LOST
        if payload in self.cancelled:
            self.released.append(payload)
            return CANCELLED
        self.given_back.append(payload)
        return SettledTask(TaskState.READY)


class Scene:
    """A cluster with one queue, and a worker on it."""

    def __init__(self, cluster: FakeCluster, queue: FakeQueue, worker: Worker) -> None:
        self.cluster = cluster
        self.queue = queue
        self.worker = worker
        self.running = asyncio.create_task(worker.run())

    async def stop(self) -> None:
        """Tell the worker to stop and wait for its end."""
        self.worker.stop()
        async with asyncio.timeout(30):
            await self.running


def scene(
    body: Callable[[Scene], Awaitable[None]],
    handler: Handler,
    payloads: list[bytes],
    *,
    concurrency: int = 4,
    lease: float = 30.0,
    drain_timeout: float = 10.0,
    prefetch: int = 0,
) -> None:
    """Run a body while a worker runs; its worker is stopped at the end, if it still runs."""

    async def main() -> None:
        queue = FakeQueue(payloads)
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].fallback = queue
            worker = Worker(
                client,
                "q",
                handler,
                concurrency=concurrency,
                lease=lease,
                drain_timeout=drain_timeout,
                prefetch=prefetch,
                name="w",
            )
            now = Scene(cluster, queue, worker)
            await body(now)
            if not now.running.done():
                await now.stop()

    run(main)


__all__ = ["FakeQueue", "Scene", "scene", "until"]
