"""The parent of worker processes: mistakes end it, deaths and hangs do not."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.integration.worker.command import WorkerCommand, is_running
from tests.support import held_lock
from tests.support.asyncs import asynchronous, until, within
from tests.support.clusters import raftq_inside
from tests.support.fake_node import FakeCluster
from tests.unit.worker.fake_queue import FakeQueue

from raftq.protocol.errors import Forbidden, InvalidRequest
from raftq.worker.supervision import link, reloading, supervisor
from raftq.worker.supervision.child import WorkerProcess
from raftq.worker.supervision.settings import Settings
from raftq.worker.supervision.supervisor import Supervisor


@asynccontextmanager
async def working(
    folder: Path, *arguments: str, refused: bool = False
) -> AsyncGenerator[WorkerCommand]:
    """Provide a worker on a scripted node."""
    async with FakeCluster(1) as cluster:
        cluster["n1"].fallback = FakeQueue([])
        if refused:
            cluster["n1"].hello = Forbidden("the token is not known")
        worker = WorkerCommand(folder, cluster.addresses)
        worker.start(*arguments)
        try:
            yield worker
        finally:
            worker.end()


def has(worker: WorkerCommand, event: str, count: int) -> bool:
    """Return whether an event was logged so often."""
    return len(worker.events(event)) == count


async def code_of(worker: WorkerCommand) -> int:
    """Wait for the end of a worker."""
    process = worker.process
    assert process is not None
    await until(lambda: process.poll() is not None)
    return process.wait()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["jops:app", "--processes", "3"], "did you mean 'jobs'?"),
        (["jobs:ap", "--processes", "3"], "did you mean 'app'?"),
        (["jobs:app", "-c", "1", "-q", "default:1", "-q", "narrow:1"], "concurrency is 1; it must"),
    ],
)
@asynchronous
async def test_a_mistake_is_told_once_and_ends_all(
    tmp_path: Path, arguments: list[str], text: str
) -> None:
    async with working(tmp_path, *arguments) as worker:
        assert await code_of(worker) == 2
        assert worker.log.count("raftq: invalid_request:") == 1 and text in worker.log


@asynchronous
async def test_a_token_that_is_refused_ends_all_with_a_code_of_its_own(tmp_path: Path) -> None:
    async with working(tmp_path, "jobs:app", refused=True) as worker:
        assert await code_of(worker) == 5
        assert "raftq: forbidden: the token is not known" in worker.log


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["jobs:app", "-q", "ma il"], "queue is 'ma il'; it must match"),
        (["jobs:app", "-q", "mail:x"], "write NAME or NAME:LIMIT, like reports:2"),
        (["jobs:app", "--drain", "soon"], "'soon' is no duration"),
        (["jobs:app", "--log-level", "loud"], "Invalid value for '--log-level'"),
    ],
)
def test_a_wrong_option_is_told_before_anything_starts(arguments: list[str], text: str) -> None:
    ended = raftq_inside("worker", *arguments)
    assert ended.code == 2 and text in ended.err


def test_reloading_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def find_nothing(_name: str) -> None:
        return None

    monkeypatch.setattr(reloading, "find_spec", find_nothing)
    with pytest.raises(InvalidRequest, match=r"pip install 'raftq\[reload\]'"):
        reloading.require_watchfiles()


@asynchronous
async def test_a_process_that_dies_again_and_again_is_restarted_more_and_more_slowly(
    tmp_path: Path,
) -> None:
    async with working(tmp_path, "jobs:app") as worker:
        for count in (1, 2, 3):
            await until(partial(has, worker, "worker_ready", count))
            (pid,) = worker.worker_pids()
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(worker.events("worker_process_died")) == 3)
        died = worker.events("worker_process_died")
        assert [each["restart_in_seconds"] for each in died] == [0.5, 1.0, 2.0]
        assert {each["code"] for each in died} == {-signal.SIGKILL}
        worker.send(signal.SIGTERM)
        assert await code_of(worker) == 0, "a restart that is due later is not waited for"


@asynchronous
async def test_the_third_signal_kills(tmp_path: Path) -> None:
    async with working(tmp_path, "jobs:app", "--processes", "2") as worker:
        await until(lambda: len(worker.events("worker_ready")) == 2)
        pids = worker.worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for event in ("worker_stops", "worker_gives_back", "worker_process_killed"):
            worker.send(signal.SIGTERM)
            await until(partial(worker.events, event))
        assert await code_of(worker) == 1
        assert not any(is_running(pid) for pid in pids)


@asynchronous
async def test_a_process_that_is_told_to_end_by_others_is_replaced(tmp_path: Path) -> None:
    async with working(tmp_path, "jobs:app") as worker:
        await until(lambda: worker.events("worker_ready"))
        (pid,) = worker.worker_pids()
        os.kill(pid, signal.SIGTERM)
        await until(lambda: len(worker.events("worker_ready")) == 2)
        assert worker.events("worker_process_died")[0]["code"] == 0


# ---------------------------------------------------------------- in this process


@asynccontextmanager
async def supervising(made: Supervisor) -> AsyncGenerator[None]:
    """Run a supervisor here, and end it."""
    running = asyncio.create_task(made.run())
    try:
        yield
    finally:
        for _ in range(3):
            made.stop()
        await within(30, running)


@asynchronous
async def test_a_process_whose_lock_is_held_for_ever_is_killed_and_replaced(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "_SILENT_SECONDS", 3.0)
    monkeypatch.setattr(supervisor, "_LOOK_SECONDS", 0.5)
    task = held_lock.hold_the_lock
    payload = task.payload((str(tmp_path / "mark"),), {}, {})
    async with FakeCluster(1) as cluster:
        queue = FakeQueue([payload])
        cluster["n1"].fallback = queue
        monkeypatch.setenv("RAFTQ_ADDRESSES", cluster.addresses)
        # One slot: a scripted node would go on to answer a poll of the process that was killed.
        target = "tests.support.held_lock:app"
        settings = Settings(target=target, lease_seconds=1.0, concurrency=1)
        with caplog.at_level(logging.INFO, "raftq.worker"):
            async with supervising(Supervisor(settings, 1)):
                await until(lambda: "worker_process_silent" in caplog.messages, 30)
                queue.waiting.append(payload)
                await until(lambda: payload in queue.done, 30)
        died = next(each for each in caplog.records if each.message == "worker_process_died")
        assert died.__dict__["code"] == -signal.SIGKILL


@asynchronous
async def test_a_process_that_does_not_stop_in_time_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link, "EXTRA_SECONDS", 0.5)
    async with FakeCluster(1) as cluster:
        cluster["n1"].fallback = FakeQueue([])
        monkeypatch.setenv("RAFTQ_ADDRESSES", cluster.addresses)
        settings = Settings(target="tests.support.held_lock:app", drain_seconds=0.1)
        made = Supervisor(settings, 1)
        running = asyncio.create_task(made.run())
        await until(lambda: cluster["n1"].calls)
        (place,) = made._places  # pyright: ignore[reportPrivateUsage] - to hang its process
        assert place.pid is not None
        os.kill(place.pid, signal.SIGSTOP)
        with caplog.at_level(logging.INFO, "raftq.worker"):
            made.stop()
            assert await within(30, running) == 1
        assert "worker_process_killed" in caplog.messages


@asynchronous
async def test_a_process_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[int] = []
    real = WorkerProcess.start

    def fail_once(place: WorkerProcess) -> None:
        starts.append(place.number)
        if len(starts) == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        real(place)

    monkeypatch.setattr(WorkerProcess, "start", fail_once)
    async with FakeCluster(1) as cluster:
        cluster["n1"].fallback = FakeQueue([])
        monkeypatch.setenv("RAFTQ_ADDRESSES", cluster.addresses)
        with caplog.at_level(logging.INFO, "raftq.worker"):
            async with supervising(Supervisor(Settings(target="tests.support.held_lock:app"), 1)):
                await until(lambda: cluster["n1"].calls)
        assert starts == [1, 1]
        assert "temporarily unavailable" in str(
            [each.__dict__.get("error") for each in caplog.records]
        )
