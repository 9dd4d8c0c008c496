"""The sync thread: jobs in order, their errors to the caller, and an end that loses none."""

import asyncio
import threading

import pytest

from raftq.consensus.group_commit import SyncThread
from raftq.protocol.errors import SyncFailed


def test_jobs_run_one_after_the_other_beside_the_loop() -> None:
    async def main() -> list[tuple[int, bool]]:
        sync_thread = SyncThread()
        loop_thread = threading.get_ident()
        ran: list[tuple[int, bool]] = []

        def job(number: int) -> None:
            ran.append((number, threading.get_ident() != loop_thread))

        await asyncio.gather(sync_thread(lambda: job(1)), sync_thread(lambda: job(2)))
        sync_thread.close()
        return ran

    assert asyncio.run(main()) == [(1, True), (2, True)]


def test_the_error_of_a_job_reaches_its_caller_and_the_next_job_runs() -> None:
    def fail() -> None:
        raise SyncFailed("the disk is gone")

    async def main() -> None:
        sync_thread = SyncThread()
        with pytest.raises(SyncFailed):
            await sync_thread(fail)
        await sync_thread(lambda: None)
        sync_thread.close()

    asyncio.run(main())


def test_close_waits_for_the_running_job() -> None:
    async def main() -> bool:
        sync_thread = SyncThread()
        begun, may_end = threading.Event(), threading.Event()
        ended: list[bool] = []

        def job() -> None:
            begun.set()
            may_end.wait(5)
            ended.append(True)

        running = sync_thread(job)
        begun.wait(5)
        threading.Timer(0.05, may_end.set).start()
        sync_thread.close()
        await running
        return ended == [True]

    assert asyncio.run(main())


def test_a_job_that_outlives_its_loop_or_its_caller_does_not_end_the_thread() -> None:
    sync_thread = SyncThread()
    may_end = threading.Event()

    def wait() -> None:
        may_end.wait(5)

    async def leave() -> None:
        sync_thread(lambda: None).cancel()
        sync_thread(wait)

    async def ask_again() -> list[object]:
        mishaps: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, found: mishaps.append(found))
        sync_thread(lambda: None).cancel()
        async with asyncio.timeout(5):
            await sync_thread(lambda: None)
        return mishaps

    asyncio.run(leave())
    may_end.set()
    assert asyncio.run(ask_again()) == []
    sync_thread.close()
