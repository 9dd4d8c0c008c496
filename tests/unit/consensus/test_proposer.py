"""From commands to entries, and what each caller hears."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from raftq.consensus.leader_clock import LeaderClock
from raftq.consensus.proposer import Proposer
from raftq.core.applied import Applied, AppliedReply
from raftq.protocol import codec, limits
from raftq.protocol.commands import Ack, AckItem, Enqueue, Entry, FoundCluster
from raftq.protocol.errors import (
    CommitTimeout,
    InternalError,
    LeadershipLost,
    NotLeader,
    RaftqError,
    RateLimited,
    StorageError,
)
from raftq.protocol.options import NewTask
from raftq.protocol.replies import CommandReply, Founded, Rejected

LATER = 1_000.0
Done = Callable[[object, bool], None]
Reply = asyncio.Future[CommandReply]


class Bench:
    """A proposer whose entries go nowhere until a test says so."""

    def __init__(self) -> None:
        self.entries: list[tuple[Entry, Done]] = []
        self.woken = 0
        self.answer_error: StorageError | None = None
        self.proposer = Proposer(
            self._propose,
            LeaderClock(lambda: 0.0, lambda: 77, lambda: 1, lambda: 1),
            self._wake,
            self._answer,
        )

    def _propose(self, entry: bytes, done: Done) -> None:
        self.entries.append((codec.decode_entry(entry), done))

    def _answer(self, reply: AppliedReply) -> CommandReply:
        if self.answer_error is not None:
            raise self.answer_error
        assert isinstance(reply, Founded)
        return reply

    def _wake(self) -> None:
        self.woken += 1

    def submit(self, *names: str, deadline: float = LATER) -> list[Reply]:
        return [self.proposer.submit(FoundCluster(name), deadline) for name in names]

    def names(self) -> list[list[str]]:
        """Return the commands of each entry by name."""
        return [
            [each.cluster_id for each in entry.commands if isinstance(each, FoundCluster)]
            for entry, _ in self.entries
        ]

    def finish(self, position: int, result: object, is_committed: bool = True) -> None:
        self.entries[position][1](result, is_committed)

    def commit(self, position: int) -> None:
        """Apply an entry: each command is answered with its own name."""
        self.finish(position, Applied([Founded(name) for name in self.names()[position]]))


def run(body: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(Bench())

    asyncio.run(main())


def errors_of(replies: list[Reply]) -> list[type[BaseException | None]]:
    return [type(reply.exception()) for reply in replies]


def test_commands_of_one_turn_share_an_entry_in_their_order() -> None:
    async def body(bench: Bench) -> None:
        replies = bench.submit("a", "b", "c")
        assert bench.entries == [] and bench.woken == 3
        bench.proposer.flush()
        assert bench.names() == [["a", "b", "c"]]
        assert bench.entries[0][0].wall_at_ms == 77
        bench.commit(0)
        assert [reply.result() for reply in replies] == [Founded("a"), Founded("b"), Founded("c")]
        assert bench.proposer.is_idle

    run(body)


def test_an_entry_holds_a_bounded_number_of_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENTRY_COMMANDS_MAX", 2)

    async def body(bench: Bench) -> None:
        bench.submit("a", "b", "c")
        bench.proposer.flush()
        assert bench.names() == [["a", "b"], ["c"]]

    run(body)


def test_an_entry_holds_bounded_bytes_and_a_larger_command_goes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ENTRY_BYTES_TARGET", 64 + 2 * len(codec.encode(FoundCluster("a"))))

    async def body(bench: Bench) -> None:
        bench.submit("a", "b", "c", "x" * 100, "d")
        bench.proposer.flush()
        assert bench.names() == [["a", "b"], ["c"], ["x" * 100], ["d"]]

    run(body)


def test_a_bounded_number_of_entries_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENTRY_COMMANDS_MAX", 1)
    monkeypatch.setattr(limits, "ENTRIES_IN_FLIGHT_MAX", 2)

    async def body(bench: Bench) -> None:
        bench.submit("a", "b", "c")
        bench.proposer.flush()
        assert bench.names() == [["a"], ["b"]]
        woken = bench.woken
        bench.commit(0)
        assert bench.woken == woken + 1
        bench.proposer.flush()
        assert bench.names() == [["a"], ["b"], ["c"]]

    run(body)


def test_too_many_waiting_commands_are_refused_and_did_not_happen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PROPOSALS_WAITING_MAX", 2)

    async def body(bench: Bench) -> None:
        bench.submit("a", "b")
        with pytest.raises(RateLimited) as caught:
            bench.submit("c")
        assert caught.value.facts["retry_after_ms"] == limits.RETRY_AFTER_MS
        bench.proposer.flush()
        assert bench.names() == [["a", "b"]]

    run(body)


def test_too_many_waiting_bytes_refuse_enqueues_until_they_have_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PROPOSAL_BYTES_WAITING_MAX", 100)
    enqueue = Enqueue("q", [NewTask(bytes(16), bytes(100))])

    async def body(bench: Bench) -> None:
        bench.proposer.submit(enqueue, LATER)
        with pytest.raises(RateLimited):
            bench.proposer.submit(enqueue, LATER)
        bench.proposer.submit(Ack([AckItem(1)]), LATER)
        bench.proposer.flush()
        bench.proposer.submit(enqueue, 5.0)
        bench.proposer.expire(6.0)
        bench.proposer.submit(enqueue, LATER)
        bench.proposer.lose_leadership()
        bench.proposer.submit(enqueue, LATER)

    run(body)


def test_a_cancelled_caller_s_command_is_not_sent() -> None:
    async def body(bench: Bench) -> None:
        replies = bench.submit("a", "b")
        replies[0].cancel()
        bench.proposer.flush()
        assert bench.names() == [["b"]]

    run(body)


def test_no_entry_is_sent_for_cancelled_callers_only() -> None:
    async def body(bench: Bench) -> None:
        bench.submit("a")[0].cancel()
        bench.proposer.flush()
        assert bench.entries == [] and bench.proposer.is_idle

    run(body)


def test_a_caller_cancelled_in_flight_takes_no_other_s_reply() -> None:
    async def body(bench: Bench) -> None:
        replies = bench.submit("a", "b")
        bench.proposer.flush()
        replies[0].cancel()
        bench.commit(0)
        assert replies[1].result() == Founded("b")

    run(body)


def test_past_its_deadline_a_waiting_command_did_not_happen_and_a_sent_one_is_unknown() -> None:
    async def body(bench: Bench) -> None:
        sent = bench.submit("sent", deadline=10.0)
        bench.proposer.flush()
        waiting = bench.submit("waiting", deadline=10.0)
        patient = bench.submit("patient", deadline=11.0)
        bench.proposer.expire(9.9)
        assert not sent[0].done() and not waiting[0].done()
        bench.proposer.expire(10.0)
        assert errors_of(sent) == [CommitTimeout] and errors_of(waiting) == [NotLeader]
        assert not patient[0].done()
        bench.commit(0)
        bench.proposer.flush()
        assert bench.names() == [["sent"], ["patient"]]

    run(body)


def test_losing_leadership_resolves_everything_truthfully() -> None:
    async def body(bench: Bench) -> None:
        sent = bench.submit("sent")
        bench.proposer.flush()
        waiting = bench.submit("waiting")
        bench.proposer.lose_leadership()
        assert errors_of(sent) == [LeadershipLost] and errors_of(waiting) == [NotLeader]
        assert bench.proposer.is_idle
        bench.commit(0)  # The entry was committed after all: too late to tell.
        bench.proposer.flush()
        assert len(bench.entries) == 1

    run(body)


def test_callers_of_an_unreadable_payload_hear_that_the_leader_stops() -> None:
    async def body(bench: Bench) -> None:
        replies = bench.submit("a", "b")
        bench.proposer.flush()
        bench.answer_error = StorageError("the payload cannot be read")
        with pytest.raises(StorageError, match="cannot be read"):
            bench.commit(0)
        bench.proposer.lose_leadership()  # As a replica does when it stops.
        assert errors_of(replies) == [LeadershipLost] * 2

    run(body)


def test_no_payload_is_read_for_a_caller_who_has_gone() -> None:
    async def body(bench: Bench) -> None:
        (reply,) = bench.submit("a")
        bench.proposer.flush()
        reply.cancel()
        bench.answer_error = StorageError("somebody asked")
        bench.commit(0)
        assert bench.proposer.is_idle

    run(body)


def test_an_entry_whose_place_was_taken_did_not_happen() -> None:
    async def body(bench: Bench) -> None:
        replies = bench.submit("a")
        bench.proposer.flush()
        bench.finish(0, None, is_committed=False)
        assert errors_of(replies) == [NotLeader]

    run(body)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (Applied(rejected=Rejected("invalid_request", "")), InternalError),
        (None, LeadershipLost),
    ],
    ids=["refused by all replicas", "not applied by this one"],
)
def test_a_committed_entry_without_replies_is_told_truthfully(
    result: object, error: type[RaftqError]
) -> None:
    async def body(bench: Bench) -> None:
        replies = bench.submit("a", "b")
        bench.proposer.flush()
        bench.finish(0, result)
        assert errors_of(replies) == [error, error]

    run(body)


def test_time_alone_is_sent_only_when_nothing_else_carries_it() -> None:
    async def body(bench: Bench) -> None:
        bench.proposer.send_time()
        bench.proposer.send_time()
        assert bench.names() == [[]]
        bench.commit(0)
        bench.submit("a")
        bench.proposer.send_time()
        assert bench.names() == [[]]

    run(body)
