"""One call on any node: tried until its deadline, and never "nothing happened" by mistake."""

import asyncio
from random import Random

import pytest
from tests.support.asyncs import asynchronous, turns, within
from tests.support.fake_replica import FakeReplica
from tests.support.machines import task_id

from raftq.consensus.contract import ReplicaView
from raftq.protocol import limits
from raftq.protocol.calls import Call, ClusterCall, LeaseCall, QueueCall, TaskCall
from raftq.protocol.commands import (
    Ack,
    AckItem,
    Enqueue,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    Requeue,
    RequeueItem,
)
from raftq.protocol.errors import (
    CommitTimeout,
    Conflict,
    ConnectionLost,
    DiskFull,
    LeadershipLost,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    QueueFull,
    RaftqError,
    RateLimited,
    ShuttingDown,
    UnknownTask,
)
from raftq.protocol.fields import Consistency, TaskState
from raftq.protocol.options import NewTask
from raftq.protocol.replies import Enqueued, EnqueuedTask, Leased, Reply, Settled
from raftq.protocol.statuses import ClusterStatus, QueueStatus, TaskStatus
from raftq.server.service import Service

SOON = 5.0
SHORT = 0.1


def enqueue(*numbers: int, payload: bytes = b"p", queue: str = "q") -> Enqueue:
    return Enqueue(queue, [NewTask(task_id(number), payload) for number in numbers])


class Bench:
    """A service on a fake replica."""

    def __init__(self, is_leader: bool = True) -> None:
        self.replica = FakeReplica(is_leader)
        self.disk_is_full = False
        self.status = ClusterStatus("c", "n1", None, 0, 0, 0, "0" * 16, [])
        self.service = Service(
            self.replica, lambda: self.status, lambda: self.disk_is_full, Random(1)
        )

    async def execute(self, call: Call, seconds: float = SOON) -> Reply:
        deadline = asyncio.get_running_loop().time() + seconds
        return await within(2 * SOON, self.service.execute(call, deadline))

    def answers(self, *answers: Reply | RaftqError) -> None:
        """Set what the leader answers to forwarded calls, one after another, the last for ever."""
        left = list(answers)

        async def forward(_call: Call, _deadline: float) -> Reply:
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, RaftqError):
                raise answer
            return answer

        self.replica.on_forward = forward


DONE = Enqueued([EnqueuedTask(task_id(1), TaskState.READY, True)])


# ---------------------------------------------------------------- the leader


@asynchronous
async def test_the_leader_executes_every_command_itself() -> None:
    bench = Bench()
    assert isinstance(await bench.execute(enqueue(1, 2, 3, 4)), Enqueued)
    leased = await bench.execute(LeaseCall(["q"], 4, 30_000, "w", "r"))
    assert isinstance(leased, Leased)
    first, second, third, fourth = (lease.token for lease in leased.leases)
    for call in (
        Ack([AckItem(first)]),
        Fail([FailItem(second, "no")]),
        Requeue([RequeueItem(third)]),
        Extend([ExtendItem(fourth, 60_000)]),
    ):
        settled = await bench.execute(call)
        assert isinstance(settled, Settled) and settled.items[0].state is not None
    assert bench.replica.forwarded == []
    assert bench.service.calls_running == 0


@asynchronous
async def test_a_rejected_command_raises_its_error() -> None:
    bench = Bench()
    await bench.execute(enqueue(1))
    with pytest.raises(Conflict):
        await bench.execute(enqueue(1, payload=b"other"))


@asynchronous
async def test_reads_are_confirmed_by_a_quorum_unless_they_may_be_stale() -> None:
    bench = Bench()
    await bench.execute(enqueue(1))
    assert isinstance(await bench.execute(TaskCall(task_id(1))), TaskStatus)
    assert isinstance(await bench.execute(QueueCall("q")), QueueStatus)
    assert bench.replica.barriers == 2
    await bench.execute(TaskCall(task_id(1), Consistency.STALE))
    await bench.execute(QueueCall("q", Consistency.STALE))
    assert await bench.execute(ClusterCall()) is bench.status
    assert bench.replica.barriers == 2


@asynchronous
async def test_an_unknown_task_is_an_error_of_its_own() -> None:
    bench = Bench()
    for consistency in Consistency:
        with pytest.raises(UnknownTask):
            await bench.execute(TaskCall(task_id(9), consistency))


@asynchronous
async def test_an_empty_lease_answer_is_confirmed_by_a_quorum() -> None:
    bench = Bench()
    leased = await bench.execute(LeaseCall(["q"], 1, 30_000, "w", "r"))
    assert leased == Leased([])
    assert bench.replica.barriers == 1
    bench.replica.barrier_error = NotLeader("deposed")
    with pytest.raises(NoLeader):
        await bench.execute(LeaseCall(["q"], 1, 30_000, "w", "r"), SHORT)


@asynchronous
async def test_a_read_by_a_leader_without_quorum_is_no_leader() -> None:
    bench = Bench()
    bench.replica.barrier_error = NoLeader("not confirmed")
    with pytest.raises(NoLeader):
        await bench.execute(QueueCall("q"), SHORT)


# ---------------------------------------------------------------- another node


@asynchronous
async def test_a_follower_forwards_everything_but_stale_reads_and_cluster() -> None:
    bench = Bench(is_leader=False)
    bench.answers(DONE)
    assert await bench.execute(enqueue(1)) == DONE
    assert bench.replica.forwarded == [enqueue(1)]
    with pytest.raises(UnknownTask):
        await bench.execute(TaskCall(task_id(1), Consistency.STALE))
    await bench.execute(QueueCall("q", Consistency.STALE))
    await bench.execute(ClusterCall())
    assert len(bench.replica.forwarded) == 1


@asynchronous
async def test_a_forwarded_call_is_executed_by_the_leader_and_not_forwarded_again() -> None:
    bench = Bench()
    deadline = asyncio.get_running_loop().time() + SOON
    assert isinstance(await bench.replica.handler(enqueue(1), deadline), Enqueued)
    bench.replica.lead(False)
    for call in (enqueue(2), QueueCall("q"), LeaseCall(["q"], 1, 30_000, "w", "r", 10)):
        if isinstance(call, QueueCall):
            bench.replica.barrier_error = NotLeader("deposed")
        with pytest.raises(NotLeader):
            await bench.replica.handler(call, deadline)
    assert bench.replica.forwarded == []


@asynchronous
async def test_a_call_is_tried_until_a_leader_answers() -> None:
    bench = Bench(is_leader=False)
    bench.answers(NoLeader("none"), NotLeader("not yet"), DONE)
    assert await bench.execute(enqueue(1)) == DONE
    assert len(bench.replica.forwarded) == 3


@asynchronous
async def test_a_node_that_becomes_leader_meanwhile_executes_the_call() -> None:
    bench = Bench(is_leader=False)
    waiting = asyncio.ensure_future(bench.execute(enqueue(1)))
    await turns()
    bench.replica.lead(True)
    assert isinstance(await within(SOON, waiting), Enqueued)


@asynchronous
async def test_an_error_that_is_tried_again_keeps_no_call_alive() -> None:
    """Its traceback would hold the frames, which hold the call, until the collector looks."""
    bench = Bench(is_leader=False)
    errors = [NoLeader("none"), LeadershipLost("lost")]
    bench.answers(*errors, DONE)
    await bench.execute(enqueue(1))
    assert [error.__traceback__ for error in errors] == [None, None]


@pytest.mark.parametrize("error", [NoLeader("none"), NotLeader("none")], ids=lambda e: e.code)
def test_nothing_happened_without_a_leader_until_the_deadline(error: RaftqError) -> None:
    @asynchronous
    async def body() -> None:
        bench = Bench(is_leader=False)
        bench.answers(error)
        with pytest.raises(NoLeader):
            await bench.execute(enqueue(1), SHORT)
        assert len(bench.replica.forwarded) > 1

    body()


@asynchronous
async def test_a_forwarded_poll_waits_only_for_what_is_left() -> None:
    bench = Bench(is_leader=False)
    bench.answers(NoLeader("none"), NoLeader("none"), Leased([]))
    await bench.execute(LeaseCall(["q"], 1, 30_000, "w", "r", 1_000))
    waits = [call.wait_ms for call in bench.replica.forwarded if isinstance(call, LeaseCall)]
    assert 1_000 >= waits[0] > waits[1] > waits[2]


# ---------------------------------------------------------------- unknown outcomes

LOST = [LeadershipLost("lost"), ConnectionLost("lost")]


@pytest.mark.parametrize("lost", LOST, ids=lambda error: error.code)
@pytest.mark.parametrize(
    "later",
    [
        NoLeader("none"),
        NotLeader("none"),
        QueueFull("full"),
        DiskFull("full"),
        RateLimited("much"),
        ShuttingDown("stop"),
    ],
    ids=lambda error: error.code,
)
def test_a_refusal_after_a_lost_try_leaves_the_outcome_unknown(
    lost: RaftqError, later: RaftqError
) -> None:
    @asynchronous
    async def body() -> None:
        bench = Bench(is_leader=False)
        bench.answers(lost, later)
        with pytest.raises(OutcomeUnknown):
            await bench.execute(enqueue(1), SHORT)

    body()


@asynchronous
async def test_a_try_that_was_lost_before_is_remembered() -> None:
    bench = Bench(is_leader=False)
    bench.answers(NoLeader("none"))
    deadline = asyncio.get_running_loop().time() + SHORT
    with pytest.raises(OutcomeUnknown):
        await bench.service.execute(enqueue(1), deadline, may_have_happened=True)


@asynchronous
async def test_a_lost_try_that_is_answered_later_is_known() -> None:
    bench = Bench(is_leader=False)
    bench.answers(LeadershipLost("lost"), ConnectionLost("lost"), DONE)
    assert await bench.execute(enqueue(1)) == DONE


@asynchronous
async def test_an_answer_that_proves_the_state_ends_the_doubt() -> None:
    bench = Bench(is_leader=False)
    bench.answers(LeadershipLost("lost"), Conflict("other payload"))
    with pytest.raises(Conflict):
        await bench.execute(enqueue(1))


@asynchronous
async def test_a_commit_that_takes_too_long_is_unknown_and_not_tried_again() -> None:
    bench = Bench(is_leader=False)
    bench.answers(CommitTimeout("slow"))
    with pytest.raises(CommitTimeout):
        await bench.execute(enqueue(1))
    assert len(bench.replica.forwarded) == 1


@pytest.mark.parametrize("error", [*LOST, CommitTimeout("slow")], ids=lambda error: error.code)
def test_a_read_changes_nothing_so_its_outcome_is_never_unknown(error: RaftqError) -> None:
    @asynchronous
    async def body() -> None:
        bench = Bench(is_leader=False)
        bench.answers(error)
        for call in (TaskCall(task_id(1)), QueueCall("q")):
            with pytest.raises(NoLeader):
                await bench.execute(call, SHORT)

    body()


# ---------------------------------------------------------------- admission


async def _fills(bench: Bench, error: type[RaftqError]) -> None:
    with pytest.raises(error) as refused:
        await bench.execute(enqueue(3))
    assert refused.value.facts["retry_after_ms"] == limits.RETRY_AFTER_MS
    assert bench.replica.machine.task(task_id(3)) is None
    repeated = await bench.execute(enqueue(1))
    assert isinstance(repeated, Enqueued) and not repeated.tasks[0].created
    leased = await bench.execute(LeaseCall(["q"], 1, 30_000, "w", "r"))
    assert isinstance(leased, Leased)
    settled = await bench.execute(Ack([AckItem(leased.leases[0].token)]))
    assert isinstance(settled, Settled) and settled.items[0].state is TaskState.DONE


@asynchronous
async def test_one_task_too_many_is_refused_while_acks_and_repetitions_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "TASKS_LIVE_MAX", 2)
    bench = Bench()
    await bench.execute(enqueue(1, 2))
    await _fills(bench, QueueFull)
    assert isinstance(await bench.execute(enqueue(3)), Enqueued)


@asynchronous
async def test_a_batch_is_refused_whole_when_a_part_would_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "TASKS_LIVE_MAX", 2)
    bench = Bench()
    with pytest.raises(QueueFull):
        await bench.execute(enqueue(1, 2, 3))
    assert bench.replica.machine.live_tasks == 0


@asynchronous
async def test_too_many_payload_bytes_are_refused_while_acks_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PAYLOAD_BYTES_LIVE_MAX", 5)
    bench = Bench()
    await bench.execute(enqueue(1, payload=b"three bytes"))
    with pytest.raises(QueueFull):
        await bench.execute(enqueue(3))
    leased = await bench.execute(LeaseCall(["q"], 1, 30_000, "w", "r"))
    assert isinstance(leased, Leased)
    await bench.execute(Ack([AckItem(leased.leases[0].token)]))
    assert isinstance(await bench.execute(enqueue(3)), Enqueued)


@asynchronous
async def test_a_full_disk_refuses_enqueues_while_acks_and_repetitions_pass() -> None:
    bench = Bench()
    await bench.execute(enqueue(1))
    bench.disk_is_full = True
    await _fills(bench, DiskFull)


# ---------------------------------------------------------------- shutting down


@asynchronous
async def test_a_stopping_node_forwards_calls_until_its_deadline() -> None:
    bench = Bench(is_leader=False)
    bench.answers(NotLeader("taking over"), DONE)
    bench.service.shut_down(asyncio.get_running_loop().time() + SOON)
    assert bench.service.is_shutting_down
    assert await bench.execute(enqueue(1)) == DONE


@asynchronous
async def test_a_stopping_node_refuses_what_it_cannot_serve_by_its_deadline() -> None:
    bench = Bench(is_leader=False)
    bench.answers(NoLeader("none"))
    bench.service.shut_down(asyncio.get_running_loop().time() + SHORT)
    with pytest.raises(ShuttingDown):
        await bench.execute(enqueue(1))
    bench.answers(LeadershipLost("lost"))
    with pytest.raises(OutcomeUnknown):
        await bench.execute(enqueue(1))


@asynchronous
async def test_a_stopping_leader_ends_polls_with_nothing() -> None:
    bench = Bench()
    poll = asyncio.ensure_future(
        bench.execute(LeaseCall(["q"], 1, 30_000, "w", "r", 60_000), 2 * SOON)
    )
    await turns()
    bench.service.shut_down(asyncio.get_running_loop().time() + SOON)
    assert await within(1.0, poll) == Leased([])


@asynchronous
async def test_a_stopping_follower_asks_once_more_for_leases_granted_in_this_moment() -> None:
    bench = Bench(is_leader=False)
    begun = asyncio.Event()

    async def forward(call: Call, _deadline: float) -> Reply:
        assert isinstance(call, LeaseCall)
        if call.wait_ms:
            begun.set()
            await asyncio.Event().wait()
        return Leased([], is_repeat=True)

    bench.replica.on_forward = forward
    poll = asyncio.ensure_future(
        bench.execute(LeaseCall(["q"], 1, 30_000, "w", "r", 60_000), 2 * SOON)
    )
    await within(SOON, begun.wait())
    bench.service.shut_down(asyncio.get_running_loop().time() + SOON)
    assert await within(1.0, poll) == Leased([], is_repeat=True)
    first, last = bench.replica.forwarded
    assert isinstance(first, LeaseCall) and isinstance(last, LeaseCall)
    assert last.wait_ms == 0 and last.request_id == first.request_id


@asynchronous
async def test_a_poll_whose_caller_goes_is_cancelled_and_not_asked_again() -> None:
    bench = Bench(is_leader=False)
    cancelled = asyncio.Event()

    async def forward(_call: Call, _deadline: float) -> Reply:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    bench.replica.on_forward = forward
    poll = asyncio.ensure_future(
        bench.execute(LeaseCall(["q"], 1, 30_000, "w", "r", 60_000), 2 * SOON)
    )
    await turns()
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    assert cancelled.is_set()
    assert bench.service.calls_running == 0


@asynchronous
async def test_everybody_who_asked_is_told_of_a_new_leader() -> None:
    bench = Bench()
    seen: list[ReplicaView] = []
    bench.service.on_leader.append(seen.append)
    bench.replica.lead(False)
    bench.replica.lead(True)
    assert [(view.leader, view.term) for view in seen] == [("n2", 2), ("n1", 3)]


@asynchronous
async def test_the_acknowledged_index_is_told_by_a_leader_that_confirmed_to_lead() -> None:
    bench = Bench()
    deadline = asyncio.get_running_loop().time() + SOON
    assert await bench.service.acknowledged_index(deadline) == bench.status.applied_index
    assert bench.replica.barriers == 1, "a deposed leader may lack what was acknowledged"
    bench.replica.barrier_error = NotLeader("deposed")
    with pytest.raises(NoLeader):
        await bench.service.acknowledged_index(asyncio.get_running_loop().time() + 0.05)


@asynchronous
async def test_a_follower_asks_until_a_leader_tells_the_acknowledged_index() -> None:
    bench = Bench()
    bench.replica.lead(False)
    told = ClusterStatus("c", "n2", "n2", 7, 40, 40, "0" * 16, [])
    bench.answers(NoLeader("none"), ConnectionLost("gone"), told)
    assert await bench.service.acknowledged_index(asyncio.get_running_loop().time() + SOON) == 40
    assert bench.replica.forwarded == [ClusterCall()] * 3


@asynchronous
async def test_who_leads_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    with caplog.at_level("INFO", "raftq.server.service"):
        bench.replica.lead(False)
    (record,) = [each for each in caplog.records if each.message == "leader_changed"]
    assert (record.__dict__["leader"], record.__dict__["term"]) == ("n2", bench.replica.view().term)
