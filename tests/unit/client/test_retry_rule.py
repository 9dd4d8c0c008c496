"""The retry rule: same ids at every try, one deadline, and an honest end."""

import time
from collections.abc import Sequence

import pytest
from tests.support.fake_node import Break, FakeCluster, Script, Silent, enqueued_ids, run, slowly

from raftq.client import AsyncClient
from raftq.protocol.calls import LeaseCall
from raftq.protocol.errors import (
    Conflict,
    ConnectionLost,
    DiskFull,
    Forbidden,
    InternalError,
    InvalidRequest,
    LeadershipLost,
    LeaseLost,
    NoLeader,
    NotLeader,
    NotReady,
    OutcomeUnknown,
    QueueFull,
    RaftqError,
    RateLimited,
    ShuttingDown,
    UnavailableError,
    UnknownMethod,
    UnknownTask,
    UnsupportedVersion,
)

REFUSALS: Sequence[RaftqError] = (
    NotLeader("no", leader=None),
    NoLeader("no"),
    NotReady("no"),
    ShuttingDown("no"),
    RateLimited("no", retry_after_ms=1),
    QueueFull("no", retry_after_ms=1),
    DiskFull("no", retry_after_ms=1),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: error.code)
def test_a_refused_call_is_tried_again_with_the_same_id(refusal: RaftqError) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.script.append(refusal)
            task = await client.enqueue("q", b"x")
            assert task.created
            tried = enqueued_ids(cluster)
            assert len(tried) > 1
            assert set(tried) == {task.id}

    run(main)


@pytest.mark.parametrize("step", [Break(), LeadershipLost("?"), ConnectionLost("?")])
def test_a_call_of_unknown_outcome_is_tried_again_with_the_same_id(step: Script) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].script.append(step)
            task = await client.enqueue("q", b"x")
            assert enqueued_ids(cluster) == [task.id, task.id]
            assert len(cluster["n1"].calls) == 1, "the node that failed is not asked again"

    run(main)


def test_a_retried_lease_keeps_its_request_id_and_waits_only_what_is_left() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].script.extend([slowly(0.1, NoLeader("no"))])
            await client.lease("q", worker="w", wait=5)
            first, second = [call for call in cluster.calls if isinstance(call, LeaseCall)]
            assert first.request_id == second.request_id
            assert second.wait_ms <= first.wait_ms - 100

    run(main)


@pytest.mark.parametrize(
    "error",
    [InvalidRequest("no"), UnknownTask("no"), LeaseLost("no"), InternalError("bug")],
    ids=lambda error: error.code,
)
def test_errors_of_the_request_and_bugs_are_raised_at_once(error: RaftqError) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.script.append(error)
            with pytest.raises(type(error), match=error.message):
                await client.enqueue("q", b"x")
            assert len(cluster.calls) == 1

    run(main)


def test_facts_of_an_error_reach_the_caller() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].fallback = QueueFull("full", retry_after_ms=60_000)
            cluster["n2"].fallback = cluster["n3"].fallback = cluster["n1"].fallback
            with pytest.raises(QueueFull) as caught:
                await client.enqueue("q", b"x")
            assert caught.value.facts["retry_after_ms"] == 60_000
            assert len(cluster.calls) == 1, "the advice is later than the deadline"

    run(main)


def test_advice_to_wait_is_never_cut_short() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            cluster["n1"].script.append(RateLimited("slow down", retry_after_ms=150))
            await client.enqueue("q", b"x")
            first, second = [each.at for node in cluster.nodes for each in node.received]
            assert second - first >= 0.15

    run(main)


def test_the_deadline_is_kept_when_every_node_is_silent() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.fallback = Silent()
            began = time.monotonic()
            with pytest.raises(OutcomeUnknown):
                await client.enqueue("q", b"x", timeout="300ms")
            assert 0.25 <= time.monotonic() - began < 5
            told = [each.timeout_ms for node in cluster.nodes for each in node.received]
            assert all(timeout_ms <= 300 for timeout_ms in told)

    run(main)


@pytest.mark.parametrize(
    "refusal",
    [Forbidden("who?"), UnsupportedVersion("2"), UnknownMethod("what?"), InternalError("oh")],
    ids=lambda error: error.code,
)
def test_what_another_node_refuses_may_have_happened_on_the_first(refusal: RaftqError) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.extend([LeadershipLost("?"), refusal])
            with pytest.raises(OutcomeUnknown, match="an earlier try may have succeeded"):
                await client.enqueue("q", b"x")

    run(main)


def test_a_task_that_is_another_is_a_conflict_whatever_became_of_earlier_tries() -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster, AsyncClient(cluster.addresses) as client:
            cluster["n1"].script.extend([LeadershipLost("?"), Conflict("other")])
            with pytest.raises(Conflict):
                await client.enqueue("q", b"x")

    run(main)


def test_unknown_is_only_said_if_a_try_may_have_succeeded() -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.fallback = NoLeader("none")
            with pytest.raises(NoLeader):
                await client.enqueue("q", b"x", timeout=1.5)
            cluster["n1"].script.append(Break())
            cluster["n2"].script.append(Break())
            cluster["n3"].script.append(Break())
            with pytest.raises(OutcomeUnknown, match="earlier try"):
                await client.enqueue("q", b"x", timeout=1.5)

    run(main)


@pytest.mark.parametrize("step", [Silent(), Break()], ids=["silent", "broken"])
def test_the_outcome_of_a_read_is_never_unknown(step: Script) -> None:
    async def main() -> None:
        async with FakeCluster() as cluster, AsyncClient(cluster["n1"].address) as client:
            for node in cluster.nodes:
                node.fallback = step
            for read in (client.queue("q", timeout=0.2), client.cluster(timeout=0.2)):
                with pytest.raises(UnavailableError):
                    await read

    run(main)
