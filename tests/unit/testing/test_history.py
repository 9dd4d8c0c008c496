"""Histories and facts: recording, and the way through a file."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.executions import Execution

from raftq.client.durations import Duration
from raftq.protocol.calls import Call, ClusterCall, QueueCall
from raftq.protocol.errors import CommitTimeout, Conflict, NoLeader, RaftqError
from raftq.protocol.replies import Reply
from raftq.protocol.statuses import QueueStatus
from raftq.testing.facts import (
    AppliedEntry,
    LeaderSeen,
    LeaseExpired,
    LogSeen,
    NodeSeen,
    NodeStarted,
    SnapshotInstalled,
    dump_facts,
    load_facts,
)
from raftq.testing.history import History, Outcome, dump_history, load_history
from raftq.testing.recording_client import RecordingClient


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (Conflict("x"), Outcome.REFUSED, "conflict"),
        (NoLeader("x"), Outcome.UNAVAILABLE, "no_leader"),
        (CommitTimeout("x"), Outcome.UNKNOWN, "commit_timeout"),
        (RaftqError("x"), Outcome.UNKNOWN, "internal"),
        (asyncio.CancelledError(), Outcome.UNKNOWN, "CancelledError"),
        (OSError("x"), Outcome.UNKNOWN, "OSError"),
    ],
)
def test_what_is_not_known_to_have_done_nothing_is_unknown(
    error: BaseException, outcome: Outcome, code: str
) -> None:
    times = iter((5.0, 7.5))
    history = History(lambda: next(times))
    operation = history.invoke("c", ClusterCall())
    assert operation.outcome is Outcome.NEVER_ENDED and operation.may_have_happened
    history.fail(operation, error)
    assert (operation.outcome, operation.error_code) == (outcome, code)
    assert (operation.invoked_at_ms, operation.ended_at_ms) == (5.0, 7.5)
    assert operation.may_have_happened == (outcome is Outcome.UNKNOWN)


def test_a_history_goes_through_json_lines_unchanged() -> None:
    execution = Execution(7).run()
    execution.history.invoke("c", ClusterCall())
    lines = list(dump_history(execution.history))
    assert len(lines) == len(execution.history)
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
    assert load_history(lines).operations == execution.history.operations


def test_facts_go_through_json_lines_unchanged() -> None:
    facts = Execution(7).run().facts
    facts.is_drained = True
    facts.events += [
        NodeStarted(1.5, "n1", is_wiped=True),
        NodeSeen(2.0, "n1", 3, 4, 5),
        LeaderSeen(2.0, "n1", 3),
        AppliedEntry(2.0, "n1", 1, 1, 2, "ab", 3),
        SnapshotInstalled(2.0, "n1", 1, "ab"),
        LogSeen(2.0, "n1", 1, [1, 2], [3, 4], 2),
        LeaseExpired(2.0, "n1", b"\x00" * 16, 7),
    ]
    assert load_facts(dump_facts(facts)) == facts


def test_an_operation_reads_as_one_line() -> None:
    history = load_history(dump_history(Execution(7).run().history))
    assert all("\n" not in str(operation) for operation in history)


def _answering(
    answer: Callable[[], Reply],
) -> Callable[[object, Call, type[Reply], Duration | None], Awaitable[Reply]]:
    async def call(_: object, call: Call, kind: type[Reply], timeout: Duration | None) -> Reply:
        return answer()

    return call


def test_the_recording_client_records_replies_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = QueueStatus("q", 0, {})

    def refuse() -> Reply:
        raise Conflict("x")

    async def main() -> History:
        history = History()
        async with RecordingClient(history, "127.0.0.1:1", name="p1") as client:
            monkeypatch.setattr(RecordingClient.__mro__[1], "_call", _answering(lambda: reply))
            assert await client.queue("q") == reply
            monkeypatch.setattr(RecordingClient.__mro__[1], "_call", _answering(refuse))
            with pytest.raises(Conflict):
                await client.queue("q")
        return history

    first, second = asyncio.run(main()).operations
    assert (first.client, first.call, first.reply) == ("p1", QueueCall("q"), reply)
    assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.REFUSED)
