"""Chains, groups and joins: one call, each task behind what it waits for, results as arguments."""

from typing import Any
from uuid import uuid4

import pytest
from tests.support.asyncs import asynchronous
from tests.support.fake_access import FakeAccess
from tests.support.run_control import Control

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.protocol.fields import TaskState
from raftq.protocol.options import NewTask, TaskOptions
from raftq.worker import App, Context, envelope
from raftq.worker.drafts import Draft
from raftq.worker.errors import InvalidArguments
from raftq.worker.parents import with_results
from raftq.worker.parts import in_parts


class Shop:
    """An App on a fake cluster, with tasks on two queues."""

    def __init__(self) -> None:
        self.app = App()
        self.app.access = self.access = FakeAccess()

        @self.app.task(queue="a")
        def start(number: int) -> int:
            return number

        @self.app.task(queue="b")
        def add(result: int, more: int = 1) -> int:
            return result + more

        @self.app.task(queue="a")
        def total(results: list[int], factor: int = 1) -> int:
            return sum(results) * factor

        self.start, self.add, self.total = start, add, total

    def parents(self, id: bytes) -> list[bytes]:
        options = self.access.tasks[id][1].options
        return [] if options is None else options.depends_on

    def takes(self, id: bytes) -> int | None:
        return envelope.unpack(self.access.tasks[id][1].payload).extras.takes


def test_a_chain_is_one_call_and_its_job_is_that_of_the_last_step() -> None:
    shop = Shop()
    chain = shop.app.chain(shop.start.s(1), shop.add.s(2), shop.add.s(more=3))
    job = chain.enqueue()
    ids = [task.id for each in shop.access.enqueues for task in each.tasks]
    assert shop.access.calls == 1 and len(ids) == 3
    assert [each.queue for each in shop.access.enqueues] == ["a", "b", "b"]
    assert [shop.parents(each) for each in ids] == [[], [ids[0]], [ids[1]]]
    assert [shop.takes(each) for each in ids] == [None, 0, 0]
    assert job.id.bytes == ids[2] and job.created
    assert chain.enqueue().id != job.id, "a flow makes new tasks each time"


def test_a_join_waits_for_all_members_and_takes_the_list_of_their_results() -> None:
    shop = Shop()
    group = shop.app.group(shop.start.s(number) for number in range(3))
    job = group.join(shop.total.s(factor=2)).enqueue()
    members = [task.id for task in shop.access.enqueues[0].tasks]
    assert shop.parents(job.id.bytes) == members and shop.takes(job.id.bytes) == 3


@asynchronous
async def test_a_group_alone_returns_the_jobs_of_its_members_in_order() -> None:
    shop = Shop()
    members = [shop.app.chain(shop.start.s(1), shop.add.s()), shop.start.s(2)]
    jobs = await shop.app.group(members).aenqueue()
    assert [shop.access.tasks[job.id.bytes][0] for job in jobs] == ["b", "a"]
    assert len(shop.access.tasks) == 3


def test_flows_nest_to_any_depth() -> None:
    shop = Shop()
    middle = shop.app.group(
        [shop.app.chain(shop.add.s(1), shop.add.s(2)), shop.add.s().without_results()]
    )
    with pytest.raises(InvalidArguments):  # It has no first argument then.
        shop.app.chain(shop.start.s(1), middle, shop.total.s()).enqueue()
    middle = shop.app.group([shop.app.chain(shop.add.s(1), shop.add.s(2)), shop.add.s(3)])
    job = shop.app.chain(shop.start.s(1), middle, shop.total.s()).enqueue()
    ends = shop.parents(job.id.bytes)
    (first,) = {each for end in ends for each in shop.parents(end)} & {
        id for id in shop.access.tasks if not shop.parents(id)
    }
    assert len(ends) == 2 and len(shop.access.tasks) == 5 and shop.takes(first) is None


def test_a_group_of_one_is_still_a_list() -> None:
    shop = Shop()
    job = shop.app.group([shop.start.s(1)]).join(shop.total.s()).enqueue()
    assert shop.takes(job.id.bytes) == 1


def test_a_step_may_ignore_the_results_before_it_and_have_parents_of_its_own() -> None:
    shop = Shop()
    other = shop.start.enqueue(9)
    step = shop.start.options(depends_on=[other]).s(5).without_results()
    job = shop.app.chain(shop.start.s(1), step).enqueue()
    first, second = shop.parents(job.id.bytes)
    assert shop.takes(job.id.bytes) is None and second == other.id.bytes != first


@pytest.mark.parametrize("count", [0, limits.PARENTS_MAX + 1])
def test_a_group_that_no_join_could_wait_for_is_refused(count: int) -> None:
    shop = Shop()
    with pytest.raises(InvalidRequest, match=f"a group of {count}"):
        shop.app.group([shop.start.s(1)] * count)


def test_a_chain_that_ends_with_a_group_or_with_nothing_is_refused() -> None:
    shop = Shop()
    group: Any = shop.app.group([shop.start.s(1)])
    for work in ((), (shop.start.s(1), group)):
        with pytest.raises(InvalidRequest, match="ends with a step"):
            shop.app.chain(*work)


def test_arguments_of_a_step_are_checked_but_for_the_one_that_is_not_known_yet() -> None:
    shop = Shop()
    wrong: Any = "x"
    for step in (shop.add.s(wrong), shop.add.s(1, 2), shop.add.s(result=1)):
        with pytest.raises(InvalidArguments):
            shop.app.chain(shop.start.s(1), step).enqueue()
    assert not shop.access.enqueues, "nothing of a flow is sent if a part of it cannot be"


def test_a_key_of_a_step_may_name_the_arguments_that_are_known() -> None:
    shop = Shop()
    keyed = shop.add.options(order_key="more-{more}")
    job = shop.app.chain(shop.start.s(1), keyed.s(4)).enqueue()
    options = shop.access.tasks[job.id.bytes][1].options
    assert options is not None and options.order_key == "more-4"
    unknown = shop.add.options(order_key="{result}")
    with pytest.raises(InvalidArguments, match="order_key"):
        shop.app.chain(shop.start.s(1), unknown.s(4)).enqueue()


def test_tasks_are_in_as_few_parts_as_leave_each_behind_its_parents() -> None:
    def task(number: int, *parents: int) -> NewTask:
        ids = [bytes([each]) * 16 for each in parents]
        return NewTask(bytes([number]) * 16, b"", options=TaskOptions(depends_on=ids))

    parts = in_parts(
        [("a", task(1)), ("b", task(2)), ("a", task(3)), ("b", task(4, 1)), ("a", task(5, 4, 2))]
    )
    found = [(part.queue, [each.id[0] for each in part.tasks]) for part in parts]
    assert found == [("a", [1, 3]), ("b", [2]), ("b", [4]), ("a", [5])]


# ---------------------------------------------------------------- what a step gets


def payload_of(draft: Draft[Any]) -> envelope.Envelope:
    return envelope.unpack(draft.new_task.payload)


@asynchronous
async def test_a_step_gets_the_results_of_the_steps_before_it() -> None:
    shop = Shop()
    client = await shop.access.client()
    job = await shop.app.group([shop.start.s(n) for n in (1, 2)]).join(shop.total.s(5)).aenqueue()
    for parent, result in zip(shop.parents(job.id.bytes), (1, 2), strict=True):
        shop.access.end(shop.access.uuid(parent), TaskState.DONE, shop.start.encode_result(result))
    packed = envelope.unpack(shop.access.payload(job.id))
    filled = await with_results(client, job.id.bytes, packed, shop.app.serializer)
    invocation = shop.app.read(envelope.packed(filled))
    assert (invocation.args, invocation.kwargs) == ([[1, 2], 5], {})


@asynchronous
async def test_in_the_place_of_a_parent_without_a_result_there_is_none() -> None:
    shop = Shop()
    client = await shop.access.client()

    @shop.app.task
    def report(result: int | None) -> None: ...

    job = await shop.app.chain(shop.start.s(1), report.s()).aenqueue()
    (parent,) = shop.parents(job.id.bytes)
    shop.access.end(shop.access.uuid(parent), TaskState.DEAD)
    packed = envelope.unpack(shop.access.payload(job.id))
    filled = await with_results(client, job.id.bytes, packed, shop.app.serializer)
    assert shop.app.read(envelope.packed(filled)).args == [None]


def test_a_run_finds_its_parents_and_their_results() -> None:
    shop = Shop()
    parents = [shop.start.enqueue(number) for number in (1, 2)]
    for parent in parents:
        shop.access.end(parent.id, TaskState.DONE, shop.start.encode_result(7))
    job = shop.start.options(depends_on=parents).enqueue(3)
    context = Context(job.id, "start", "a", 1, 1, Control(), app=shop.app)
    assert [each.id for each in context.parents()] == [parent.id for parent in parents]
    assert context.parent_results() == [7, 7]
    alone = Context(shop.start.enqueue(1).id, "start", "a", 1, 1, Control(), app=shop.app)
    assert alone.parent_results() == []


def test_what_follows_a_run_has_its_job_before_it_is_enqueued() -> None:
    shop = Shop()
    control = Control()
    context = Context(uuid4(), "start", "a", 1, 1, control, app=shop.app)
    calls = shop.access.calls
    draft = shop.start.draft(1)
    jobs = [
        context.follow_up(draft),
        context.follow_up(shop.start.s(2)),
        context.follow_up(shop.app.chain(shop.start.s(3), shop.add.s())),
    ]
    assert [queue for queue, _ in control.follow_ups] == ["a", "a", "a", "b"]
    ids = [task.id for _, task in control.follow_ups]
    assert [job.id.bytes for job in jobs] == [ids[0], ids[1], ids[3]] and jobs[0].id == draft.id
    assert all(job.created is None for job in jobs) and shop.access.calls == calls
