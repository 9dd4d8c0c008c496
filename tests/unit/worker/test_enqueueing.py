"""From a call of a task to a task in a queue."""

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.asyncs import asynchronous
from tests.support.fake_access import FakeAccess

from raftq.protocol.errors import CommitTimeout, InvalidRequest, NoLeader, RaftqError
from raftq.worker import App, Hook
from raftq.worker.errors import InvalidArguments
from raftq.worker.hooks import Outgoing


def made(**options: Any) -> tuple[App, FakeAccess]:
    app = App(**options)
    app.access = access = FakeAccess()
    return app, access


def test_enqueue_sends_the_call_to_the_tasks_queue() -> None:
    app, access = made()

    @app.task(queue="mail", priority=2)
    def send(address: str, *, copies: int = 1) -> None: ...

    job = send.enqueue("a@b", copies=3)
    queue, new = access.tasks[job.id.bytes]
    assert (queue, new.priority, job.created) == ("mail", 2, True)
    invocation = app.read(new.payload)
    assert (invocation.task, invocation.args, invocation.kwargs) == (send, ["a@b"], {"copies": 3})


@asynchronous
async def test_aenqueue_does_what_enqueue_does() -> None:
    app, access = made()

    @app.task
    async def send(address: str) -> None: ...

    job = await send.aenqueue("a@b")
    assert app.read(access.payload(job.id)).args == ["a@b"]
    later = await send.options(delay="1s").aenqueue("c@d")
    assert access.tasks[later.id.bytes][1].delay_ms == 1_000


def test_nothing_is_sent_when_the_arguments_do_not_fit() -> None:
    app, access = made()

    @app.task
    def send(address: str) -> None: ...

    wrong: Any = 7
    with pytest.raises(InvalidArguments):
        send.enqueue(wrong)
    assert not access.enqueues


def test_the_same_id_is_the_same_task() -> None:
    app, access = made()

    @app.task
    def send(address: str) -> None: ...

    order = uuid4()
    first = send.options(id=order).enqueue("a")
    again = send.options(id=order).enqueue("a")
    assert (first.id, again.id, len(access.tasks)) == (order, order, 1)
    assert (first.created, again.created) == (True, False)


def test_a_draft_can_be_enqueued_again_when_the_outcome_is_unknown() -> None:
    app, access = made()

    @app.task
    def send(address: str) -> None: ...

    draft = send.options(queue="mail").draft("a")
    access.problems.append(CommitTimeout("it may have happened"))
    with pytest.raises(CommitTimeout):
        draft.enqueue()
    job = draft.enqueue()
    assert (draft.enqueue().id, job.id, list(access.tasks)) == (
        draft.id,
        draft.id,
        [draft.id.bytes],
    )


@asynchronous
async def test_drafts_of_several_queues_travel_in_one_call_and_jobs_keep_their_order() -> None:
    app, access = made()

    @app.task
    def count(number: int) -> int:
        return number

    drafts = [count.options(queue="ab"[number % 2]).draft(number) for number in range(6)]
    jobs = await app.aenqueue_many(drafts)
    assert [job.id for job in jobs] == [draft.id for draft in drafts]
    assert [(each.queue, len(each.tasks)) for each in access.enqueues] == [("a", 3), ("b", 3)]
    assert await app.aenqueue_many([]) == []
    assert access.calls == 1


def test_a_call_overrides_the_run_limit_also_with_none() -> None:
    app, access = made()

    @app.task(timeout="30s")
    def work() -> None: ...

    limits = [work, work.options(timeout="2s"), work.options(timeout=None)]
    read = [app.read(access.payload(each.enqueue().id)).timeout_ms for each in limits]
    assert read == [30_000, 2_000, None]


class Tracing(Hook):
    """Adds a header, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Outgoing] = []

    def enqueuing(self, outgoing: Outgoing) -> None:
        self.seen.append(outgoing)
        outgoing.headers["trace"] = "1"


def test_a_hook_sees_what_is_enqueued_and_adds_headers() -> None:
    hook = Tracing()
    app, access = made(hooks=[hook])

    @app.task(queue="mail")
    def send(address: str) -> None: ...

    given: Mapping[str, str] = {"tenant": "x"}
    job = send.options(headers=given).enqueue("a")
    assert app.read(access.payload(job.id)).headers == {"tenant": "x", "trace": "1"}
    assert given == {"tenant": "x"}, "the caller's own mapping is left alone"
    (seen,) = hook.seen
    assert (seen.task_id, seen.name, seen.queue) == (job.id, "send", "mail")


def test_a_hook_that_raises_keeps_the_task_back() -> None:
    class Refusing(Hook):
        def enqueuing(self, outgoing: Outgoing) -> None:
            raise PermissionError(outgoing.name)

    app, access = made(hooks=[Refusing()])

    @app.task
    def send() -> None: ...

    with pytest.raises(PermissionError, match="send"):
        send.enqueue()
    assert not access.enqueues


class Around(Hook):
    """Notes when it is entered, called and left; would like to hide what goes wrong."""

    def __init__(self, name: str, notes: list[object]) -> None:
        self.name = name
        self.notes = notes

    def enqueuing(self, outgoing: Outgoing) -> None:
        self.notes.append(f"{self.name}!")

    @contextmanager
    def sending(self, queue: str | None, count: int) -> Generator[None]:
        self.notes.append((self.name, queue, count))
        try:
            yield
        except RaftqError as error:
            self.notes.append(error.code)
        self.notes.append(f"/{self.name}")


def test_hooks_surround_the_call_that_makes_and_sends_a_task() -> None:
    notes: list[object] = []
    app, _ = made(hooks=[Around("a", notes), Hook(), Around("b", notes)])

    @app.task(queue="mail")
    def send() -> None: ...

    send.enqueue()
    assert notes == [("a", "mail", 1), ("b", "mail", 1), "a!", "b!", "/b", "/a"]
    notes.clear()
    asyncio.run(send.options(queue="other").aenqueue())
    assert notes == [("a", "other", 1), ("b", "other", 1), "a!", "b!", "/b", "/a"]


def test_hooks_surround_each_call_that_sends_drafts() -> None:
    notes: list[object] = []
    app, _ = made(hooks=[Around("a", notes)])

    @app.task(queue="mail")
    def send() -> None: ...

    drafts = [send.draft(), send.draft(), send.options(queue="other").draft()]
    assert notes == ["a!", "a!", "a!"]
    notes.clear()
    drafts[0].enqueue()
    asyncio.run(drafts[0].aenqueue())
    assert notes == [("a", "mail", 1), "/a"] * 2, "and do not see again what was drafted"
    notes.clear()
    app.enqueue_many(drafts[:2])
    asyncio.run(app.aenqueue_many(drafts))
    assert notes == [("a", "mail", 2), "/a", ("a", None, 3), "/a"]


def test_no_hook_can_hide_that_nothing_was_sent() -> None:
    notes: list[object] = []
    app, access = made(hooks=[Around("a", notes)])

    @app.task
    def send() -> None: ...

    access.problems = [NoLeader("no leader")] * 2
    with pytest.raises(NoLeader):
        send.enqueue()
    with pytest.raises(NoLeader):
        app.enqueue_many([send.draft()])
    assert notes.count("no_leader") == 2


@pytest.mark.parametrize("headers", [{"a": 1}, {1: "a"}])
def test_headers_are_text(headers: Any) -> None:
    app, access = made()

    @app.task
    def send() -> None: ...

    with pytest.raises(InvalidRequest, match="names and values must be str"):
        send.options(headers=headers).enqueue()
    assert not access.enqueues


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    app = App()

    @app.task
    def send() -> None: ...

    ids = [send.draft().id for _ in range(100)]
    assert ids == sorted(set(ids)) and all(each.version == 7 for each in ids)
    assert isinstance(ids[0], UUID)
