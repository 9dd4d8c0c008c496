"""An App on the worker loop: each task where it belongs, strangers given back."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from tests.support import worker_tasks as tasks
from tests.support.asyncs import asynchronous, until, within
from tests.support.fake_node import FakeCluster, Received
from tests.unit.worker.fake_queue import FakeQueue

from raftq.client import AsyncClient, backoff
from raftq.protocol.commands import Requeue
from raftq.protocol.control import Confirm
from raftq.protocol.errors import UnknownMethod
from raftq.worker import App, Context, Hook, RetryLater, envelope
from raftq.worker.runtime import Runtime
from raftq.worker.supervision.settings import Settings, plan_queues

SETTINGS = Settings(target="tests.support.worker_tasks:app", queues=[("q", None)], children=1)


@asynccontextmanager
async def working(
    queue: FakeQueue, app: App = tasks.app
) -> AsyncGenerator[tuple[FakeCluster, Runtime]]:
    """Run a worker on a scripted queue, and let it end what it has."""
    async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
        cluster["n1"].fallback = queue
        runtime = Runtime(app, client, SETTINGS, plan_queues(app, SETTINGS))
        running = asyncio.create_task(runtime.run())
        try:
            yield cluster, runtime
        finally:
            runtime.worker.stop()
            await within(30, running)


@asynchronous
async def test_each_task_runs_where_it_belongs_and_its_result_is_recorded() -> None:
    mixed = (tasks.echo, tasks.echo_in_thread, tasks.echo_in_process)
    payloads = {task.payload((7,), {}, {}): task for task in mixed}
    queue = FakeQueue(list(payloads))
    async with working(queue):
        await until(lambda: len(queue.done) == 3)
    for payload, task in payloads.items():
        assert task.decode_result(queue.done[payload]) == 7


@asynchronous
async def test_a_task_that_the_app_does_not_know_is_put_off_and_burns_no_attempt() -> None:
    stranger = envelope.pack("send_newsletter", [], {}, envelope.Extras())
    queue = FakeQueue([stranger])
    async with working(queue) as (cluster, runtime):
        await until(lambda: queue.given_back)
        (call,) = [each for each in cluster.calls if isinstance(each, Requeue)]
        assert [item.delay_ms for item in call.items] == [10_000]
        assert not runtime.worker.is_stopping
    assert queue.given_back == [stranger] and queue.failed == {}


@asynchronous
async def test_a_payload_that_no_app_wrote_fails_with_words() -> None:
    queue = FakeQueue([b"plain text", tasks.echo.payload((1,), {}, {})])
    async with working(queue):
        await until(lambda: queue.failed and queue.done)
    (reason,) = queue.failed.values()
    assert "UnreadablePayload" in reason and "does another program use this queue?" in reason


class Noting(Hook, AbstractContextManager[None]):
    """Writes down what runs."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def running(self, context: Context) -> "Noting":
        """Note a run that begins."""
        self.seen.append(f"{context.name} {context.attempt}")
        return self

    def __enter__(self) -> None:
        self.seen.append("in")

    def __exit__(self, *_: object) -> None:
        self.seen.append("out")


@asynchronous
async def test_hooks_surround_each_run() -> None:
    hook = Noting()
    app = App(hooks=[hook])

    @app.task
    def count() -> int:
        hook.seen.append("running")
        return 1

    queue = FakeQueue([count.payload((), {}, {})])
    async with working(queue, app):
        await until(lambda: queue.done)
    assert hook.seen == ["count 1", "in", "running", "out"]


@asynchronous
async def test_the_apps_pause_before_a_retry_is_told_unless_somebody_said_another() -> None:
    app = App(backoff=backoff("3s", jitter_percent=0))

    @app.task
    def plain() -> None:
        raise ValueError("bad")

    @app.task(backoff="7s")
    def declared() -> None:
        raise ValueError("bad")

    @app.task
    def itself() -> None:
        raise RetryLater("busy", "1m")

    called = plain.payload((), {}, {}, has_backoff=True)
    payloads = [each.payload((), {}, {}) for each in (plain, declared, itself)]
    queue = FakeQueue([*payloads, called])
    async with working(queue, app):
        await until(lambda: len(queue.failed) == 4)
    pauses = [queue.delays[each][0] for each in (*payloads, called)]
    assert pauses == [3_000, None, 60_000, None]


@asynchronous
async def test_a_check_whose_word_does_not_reach_the_cluster_is_made_again() -> None:
    app = App()

    @app.task(queue="other", check_queue="q")
    def pay() -> None: ...

    @pay.check
    def was_committed() -> bool:
        return True

    payload = pay.payload((), {}, {})
    queue = FakeQueue([payload])
    async with working(queue, app) as (cluster, _):
        node = cluster["n1"]

        def refuse(received: Received) -> Any:
            return UnknownMethod("?") if isinstance(received.call, Confirm) else queue(received)

        node.fallback = refuse
        await until(lambda: queue.failed)
    assert "UnknownMethod" in queue.failed[payload] and queue.done == {}
