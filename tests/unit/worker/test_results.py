"""What comes back: results, failures, and neither in time."""

import asyncio
import time
from collections.abc import AsyncGenerator
from uuid import UUID, uuid4

import pytest
from tests.support.asyncs import asynchronous
from tests.support.fake_access import FakeAccess

from raftq.protocol.errors import Forbidden, InvalidRequest, NoLeader, UnknownTask
from raftq.protocol.fields import TaskState
from raftq.worker import App, waiting
from raftq.worker.errors import ResultTimeout, TaskFailed, UnreadableResult
from raftq.worker.job import Job
from raftq.worker.task import Task


class MailboxFull(Exception):
    """An exception that the App is told of."""


class Odd(Exception):
    """An exception that is not made of a message."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)


class Prepared:
    """An App on a fake cluster, with one task that returns ids."""

    def __init__(self) -> None:
        self.app = App(remote_exceptions=[MailboxFull, Odd])
        self.app.access = self.access = FakeAccess()
        self.task: Task[[int], UUID] = self.app.task(_find)

    def end_when_asked(self, *jobs: Job[UUID], after: int = 1) -> None:
        """Let the first job end when it was asked for more often, each other once later."""
        often = {job.id.bytes: after + number for number, job in enumerate(jobs)}

        def on_asked(task_id: bytes) -> None:
            if self.access.asked.count(task_id) > often.get(task_id, 1_000_000):
                self.done(UUID(bytes=task_id))

        self.access.on_asked = on_asked

    def done(self, id: UUID) -> None:
        """Let a task end with its own id as the result."""
        self.access.end(id, TaskState.DONE, self.task.encode_result(id))


def _find(number: int) -> UUID:
    return UUID(int=number)


def test_a_result_comes_back_as_the_annotation_says_once_the_task_has_ended() -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    prepared.end_when_asked(job, after=3)
    assert job.result(timeout="10s") == job.id
    asked = len(prepared.access.asked)
    assert job.result() == job.id
    assert len(prepared.access.asked) == asked, "what has ended is not asked for again"


@asynchronous
async def test_aresult_and_astatus_do_what_result_and_status_do() -> None:
    prepared = Prepared()
    job = await prepared.task.aenqueue(1)
    assert (await job.astatus()).state is TaskState.READY
    prepared.done(job.id)
    assert (await job.astatus()).state is TaskState.DONE
    assert await job.aresult() == job.id


def test_a_job_can_be_found_again_by_its_id() -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    prepared.done(job.id)
    assert prepared.task.job(str(job.id)).result() == job.id
    assert prepared.app.job(job.id).result() == str(job.id), "without the type, as it is stored"
    assert prepared.app.job(job.id).status().state is TaskState.DONE


def test_a_text_that_is_no_id_is_refused() -> None:
    prepared = Prepared()
    for find in (prepared.task.job, prepared.app.job):
        with pytest.raises(InvalidRequest, match="'job-1' is no task id"):
            find("job-1")


def test_a_task_that_returned_nothing_has_the_result_none() -> None:
    app = App()
    app.access = access = FakeAccess()

    @app.task
    def work() -> None: ...

    job = work.enqueue()
    access.end(job.id, TaskState.DONE)
    waited: object = app.job(job.id).result()
    assert waited is None


def test_a_task_that_goes_on_is_a_timeout_with_its_state() -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    began = time.monotonic()
    with pytest.raises(ResultTimeout, match=f"{job.id} has not ended in time; it is ready") as late:
        job.result(timeout="100ms")
    assert (late.value.task_id, late.value.state) == (job.id, TaskState.READY)
    assert 0.1 <= time.monotonic() - began < 5
    assert isinstance(late.value, TimeoutError)
    prepared.done(job.id)
    assert job.result(timeout=0) == job.id, "a wait of no length asks once"


def test_a_task_that_the_cluster_does_not_know_is_unknown_at_once() -> None:
    prepared = Prepared()
    with pytest.raises(UnknownTask, match="never enqueued, or it finished so long ago"):
        prepared.task.job(uuid4()).result()
    with pytest.raises(UnknownTask):
        prepared.app.job(uuid4()).status()


def test_a_dead_task_tells_what_its_last_run_raised() -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    text = "mail.smtp.Refused: no such\nbox\n\nTraceback (most recent call last):\n  File …\n"
    prepared.access.end(job.id, TaskState.DEAD, None, "lease ran out (worker w)", text)
    with pytest.raises(
        TaskFailed, match=r"is dead after 2 failures.*: mail.smtp.Refused"
    ) as failed:
        job.result()
    error = failed.value
    assert (error.task_id, error.state) == (job.id, TaskState.DEAD)
    assert (error.remote_type, error.remote_message) == ("mail.smtp.Refused", "no such\nbox")
    assert error.remote_traceback == "Traceback (most recent call last):\n  File …\n"
    assert error.reasons == ["lease ran out (worker w)", text]
    assert error.cause is None, "nothing is imported because a text says so"


def reason(kind: type[Exception]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}: full\n\nTraceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (reason(MailboxFull), MailboxFull, "full"),
        ("ZeroDivisionError: division by zero", ZeroDivisionError, "division by zero"),
        ("TimeoutError: ", TimeoutError, ""),
    ],
)
def test_the_cause_is_an_exception_that_the_app_knows_or_pythons_own(
    text: str, kind: type[Exception], message: str
) -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    prepared.access.end(job.id, TaskState.DEAD, None, text)
    with pytest.raises(TaskFailed) as failed:
        job.result()
    assert type(failed.value.cause) is kind and str(failed.value.cause) == message


@pytest.mark.parametrize(
    "text",
    [
        reason(Odd),  # It cannot be made of a message.
        "SystemExit: 1",  # No Exception: it must end nobody who raises it again.
        "os.system: rm",
        "subprocess.CalledProcessError: 1",
        "lease ran out (worker w)",
        "",
        "\n\nTraceback (most recent call last):\n",
    ],
)
def test_there_is_no_cause_where_none_can_be_made(text: str) -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    prepared.access.end(job.id, TaskState.DEAD, None, text)
    with pytest.raises(TaskFailed) as failed:
        job.result()
    assert failed.value.cause is None and failed.value.reasons == [text]


def test_a_result_that_does_not_fit_is_an_error_with_its_bytes() -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    prepared.access.end(job.id, TaskState.DONE, b"\x01")
    with pytest.raises(UnreadableResult) as unreadable:
        job.result()
    assert unreadable.value.raw == b"\x01"


def test_a_wait_outlives_a_cluster_without_a_leader() -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    prepared.access.problems += [NoLeader("none"), NoLeader("none")]
    prepared.done(job.id)
    assert job.result(timeout="30s") == job.id


def test_a_cluster_that_is_away_until_the_end_is_what_is_said() -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    prepared.access.problems += [NoLeader("none")] * 1_000
    with pytest.raises(NoLeader):
        job.result(timeout="50ms")


def test_what_the_cluster_refuses_ends_the_wait() -> None:
    prepared = Prepared()
    job = prepared.task.enqueue(1)
    prepared.access.problems.append(Forbidden("no"))
    with pytest.raises(Forbidden):
        job.result()


# ---------------------------------------------------------------- many jobs


def enqueued(prepared: Prepared, count: int) -> list[Job[UUID]]:
    return prepared.app.enqueue_many([prepared.task.draft(each) for each in range(count)])


def test_gather_returns_results_in_the_order_of_the_jobs() -> None:
    prepared = Prepared()
    jobs = enqueued(prepared, 5)
    prepared.end_when_asked(*reversed(jobs))
    twice = [*jobs, jobs[0]]
    assert prepared.app.gather(twice, timeout="20s") == [job.id for job in twice]
    assert prepared.app.gather([]) == []


@asynchronous
async def test_agather_does_what_gather_does() -> None:
    prepared = Prepared()
    jobs = await prepared.app.aenqueue_many([prepared.task.draft(each) for each in range(5)])
    prepared.end_when_asked(*jobs)
    assert await prepared.app.agather(jobs, timeout="20s") == [job.id for job in jobs]


def test_gather_raises_the_first_failure_while_others_go_on() -> None:
    prepared = Prepared()
    jobs = enqueued(prepared, 3)
    prepared.access.end(jobs[2].id, TaskState.DEAD, None, "ValueError: bad")
    with pytest.raises(TaskFailed, match="ValueError: bad"):
        prepared.app.gather(jobs)


def test_jobs_come_as_they_end_and_their_results_are_there() -> None:
    prepared = Prepared()
    jobs = enqueued(prepared, 4)
    order = [jobs[2], jobs[0], jobs[3], jobs[1]]
    prepared.end_when_asked(*order)
    came: list[Job[UUID]] = []
    for job in prepared.app.as_completed(jobs, timeout="20s"):
        asked = len(prepared.access.asked)
        assert job.result() == job.id
        assert len(prepared.access.asked) == asked
        came.append(job)
    assert came == order


@asynchronous
async def test_jobs_come_as_they_end_in_async_code_too() -> None:
    prepared = Prepared()
    jobs = await prepared.app.aenqueue_many([prepared.task.draft(each) for each in range(3)])
    prepared.end_when_asked(*reversed(jobs))
    came = [job async for job in prepared.app.as_completed(jobs, timeout="20s")]
    assert came == list(reversed(jobs))


def test_a_failed_and_an_unknown_job_come_too_and_raise_when_asked() -> None:
    prepared = Prepared()
    (dead,) = enqueued(prepared, 1)
    prepared.access.end(dead.id, TaskState.DEAD, None, "ValueError: bad")
    unknown = prepared.task.job(uuid4())
    errors: list[type[Exception]] = []
    for job in prepared.app.as_completed([dead, unknown]):
        with pytest.raises((TaskFailed, UnknownTask)) as raised:
            job.result()
        errors.append(raised.type)
    assert errors == [TaskFailed, UnknownTask]


def test_the_deadline_of_many_is_one() -> None:
    prepared = Prepared()
    done, slow = enqueued(prepared, 2)
    prepared.done(done.id)
    came: list[Job[UUID]] = []
    with pytest.raises(ResultTimeout, match=str(slow.id)):
        for job in prepared.app.as_completed([done, slow], timeout="100ms"):
            came.append(job)
    assert came == [done]


def test_thousands_of_jobs_are_asked_about_in_windows_and_none_is_forgotten() -> None:
    prepared = Prepared()
    jobs = enqueued(prepared, 1_000)
    for job in jobs[1:]:
        prepared.done(job.id)
    prepared.end_when_asked(jobs[0], after=40)
    came = list(prepared.app.as_completed(jobs, timeout="30s"))
    assert came[-1] is jobs[0] and set(came) == set(jobs)
    # Each window is asked on a loop of its own here, and what goes on is asked about again there.
    assert len(prepared.access.waits) <= 1_050


@asynchronous
async def test_what_has_ended_behind_a_window_of_tasks_that_go_on_is_found_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "_WINDOW", 2)
    prepared = Prepared()
    jobs = await prepared.app.aenqueue_many([prepared.task.draft(each) for each in range(4)])
    prepared.done(jobs[3].id)
    completing = aiter(prepared.app.as_completed(jobs, timeout="60s"))
    async with asyncio.timeout(20):
        assert await anext(completing) is jobs[3]
    assert isinstance(completing, AsyncGenerator)
    await completing.aclose()


@asynchronous
async def test_more_tasks_are_asked_about_at_a_time_when_they_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "_WINDOW", 2)
    monkeypatch.setattr(waiting, "_TURN_SECONDS", 0.02)
    prepared = Prepared()
    jobs = await prepared.app.aenqueue_many([prepared.task.draft(each) for each in range(12)])
    with pytest.raises(ResultTimeout):
        await prepared.app.agather(jobs, timeout="2s")
    assert prepared.access.waiting_most == len(jobs)


@asynchronous
async def test_many_that_go_on_do_not_drown_the_cluster_in_questions() -> None:
    prepared = Prepared()
    jobs = await prepared.app.aenqueue_many([prepared.task.draft(each) for each in range(400)])
    with pytest.raises(ResultTimeout):
        await prepared.app.agather(jobs, timeout="500ms")
    assert len(prepared.access.waits) <= len(jobs), "each waits at its node"
    await asyncio.sleep(0)


@asynchronous
async def test_a_wait_for_one_task_that_was_cancelled_can_be_taken_up_again() -> None:
    prepared = Prepared()
    job = await prepared.task.aenqueue(1)
    client = await prepared.access.client()
    wait = waiting.Waiting([job.id.bytes], None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await wait.next(client)
    prepared.done(job.id)
    ((task_id, _),) = await wait.next(client)
    assert task_id == job.id.bytes
