"""The queue machine against a slow, obvious model: any commands, times, damage and snapshots."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]
)
from tests.support.machines import START_AT_MS, entry, task_id
from tests.support.slow_model import SlowModel

from raftq.core import id_table, rows
from raftq.core.applied import Applied
from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.protocol.messages import (
    Ack,
    AckItem,
    Command,
    CommandReply,
    Enqueue,
    Extend,
    ExtendItem,
    Fail,
    FailItem,
    FoundCluster,
    Lease,
    NewTask,
    Rejected,
    Requeue,
    RequeueItem,
)

TIGHT = {
    "CRASHES_MAX": 3,
    "ERRORS_KEPT_PER_TASK": 2,
    "QUEUES_MAX": 2,
    "RESULTS_KEPT_MAX": 3,
    "RESULT_BYTES_KEPT_MAX": 12,
    "RESULT_RETENTION_MS": 3_000,
    "RETRY_MEMORY_MS": 1_000,
    "LEASE_REPLY_BYTES_MAX": 9,
    "LEASE_REQUESTS_KEPT_PER_WORKER": 3,
    "LEASE_REQUESTS_KEPT_MAX": 4,
    "LEASE_TOKENS_KEPT_MAX": 7,
    "WORKER_FORGOTTEN_AFTER_MS": 4_000,
}
"""Limits that a short run reaches."""

numbers = st.integers(1, 7)
tokens = st.one_of(st.integers(1, 40), st.just(limits.TOKEN_MAX))
delays_ms = st.sampled_from([0, 0, 0, 1, 500, 2_000])
leases_ms = st.sampled_from([100, 1_000, 2_500])
results = st.sampled_from([None, b"", b"1234", b"12345"])
queues = st.sampled_from(["a", "a", "a", "b", "c"])
new_tasks = st.builds(
    NewTask,
    id=numbers.map(task_id),
    payload=st.sampled_from([b"1234", b"1234", b"1234", b"over the limit"]),
    priority=st.sampled_from([0, 5, 5, 5, 9]),
    delay_ms=delays_ms,
    attempts_max=st.integers(1, 3),
)
enqueues: st.SearchStrategy[Command] = st.builds(
    Enqueue, queue=queues, tasks=st.lists(new_tasks, min_size=1, max_size=4)
)
leases: st.SearchStrategy[Command] = st.builds(
    Lease,
    queues=st.lists(queues, min_size=1, max_size=3),
    count=st.integers(1, 4),
    lease_ms=leases_ms,
    worker=st.sampled_from(["w1", "w2", "w3"]),
    request_id=st.sampled_from(["r1", "r2", "r3", "r4"]),
)


@st.composite
def settlements(draw: st.DrawFn, newest_token: int) -> Command:
    """Reports, mostly about the newest leases."""
    near = st.integers(max(1, newest_token - 6), newest_token + 1)
    chosen = draw(st.lists(st.one_of(near, near, near, tokens), min_size=1, max_size=3))
    match draw(st.sampled_from(["ack", "fail", "requeue", "extend"])):
        case "ack":
            return Ack([AckItem(token, draw(results)) for token in chosen])
        case "fail":
            return Fail([FailItem(token, draw(st.sampled_from(["x", "yy"]))) for token in chosen])
        case "requeue":
            return Requeue([RequeueItem(token, draw(delays_ms)) for token in chosen])
        case _:
            return Extend([ExtendItem(token, draw(leases_ms)) for token in chosen])


def comparable(reply: CommandReply) -> CommandReply:
    """Return a reply without the words that only people read."""
    return Rejected(reply.code, "") if isinstance(reply, Rejected) else reply


def lay_out(which: int) -> None:
    """Have the next machine keep its tasks as in production, or so that little fills them.

    Chunks of rows then come and go, rows become objects in the middle of their wait, and the id
    table grows and shrinks, all the time; nobody may notice.
    """
    # Final to everybody else; the test restores them.
    setattr(rows, "ROWS_PER_CHUNK", (1_024, 4)[which])  # noqa: B010
    setattr(rows, "THIN_ROWS", (64, 2)[which])  # noqa: B010
    setattr(id_table, "RECORDS_PER_BUCKET", (64, 1)[which])  # noqa: B010


class Comparison(RuleBasedStateMachine):
    """Two replicas and the model get the same entries."""

    def __init__(self) -> None:
        super().__init__()
        self.model = SlowModel()
        self.replicas: list[Machine] = []
        for which in (0, 1):
            lay_out(which)
            self.replicas.append(Machine())
        self.wall_at_ms = START_AT_MS

    def _apply(self, raw: bytes) -> Applied:
        first, second = (replica.apply(raw) for replica in self.replicas)
        assert first == second
        return first

    def _entry(self, commands: list[Command], lease_ms: int, wall_ms: int) -> None:
        self.wall_at_ms += wall_ms
        before, hash_before = self.model.fingerprint(), self.replicas[0].state_hash
        applied = self._apply(entry(*commands, lease_ms=lease_ms, wall_at_ms=self.wall_at_ms))
        expected = self.model.apply(lease_ms, self.wall_at_ms, commands)
        assert applied.rejected is None and applied.errors == 0
        for replica in self.replicas:
            replies = [replica.answer(reply) for reply in applied.replies]
            assert [comparable(reply) for reply in replies] == expected
        assert (applied.ready, applied.finished) == (self.model.ready, self.model.finished)
        has_changed = self.replicas[0].state_hash != hash_before
        assert has_changed == (self.model.fingerprint() != before)

    @rule(data=st.data(), lease_ms=st.sampled_from([0, 0, 0, 1, 99, 1_000, 2_400]))
    def commands(self, data: st.DataObject, lease_ms: int) -> None:
        """Apply an entry of several commands."""
        wall_ms = data.draw(st.sampled_from([0, 0, 1, 400, 2_000, -1_000]))
        one: st.SearchStrategy[Command] = st.one_of(
            enqueues, leases, leases, settlements(self.model.tokens), settlements(self.model.tokens)
        )
        self._entry(data.draw(st.lists(one, max_size=5)), lease_ms, wall_ms)

    @rule(cluster_id=st.sampled_from(["c1", "c2"]))
    def found(self, cluster_id: str) -> None:
        """Give the cluster an identity."""
        self._entry([FoundCluster(cluster_id)], 0, 0)

    @rule(
        command=st.one_of(enqueues, leases),
        position=st.integers(0, 10_000),
        damage=st.integers(1, 255),
        cut=st.booleans(),
    )
    def damaged_entry(self, command: Command, position: int, damage: int, cut: bool) -> None:
        """Damage an entry; if it is refused, nothing changes."""
        whole = bytearray(entry(command, wall_at_ms=self.wall_at_ms))
        position %= len(whole)
        if cut:
            del whole[position:]
        else:
            whole[position] ^= damage
        try:
            decoded = msgspec.msgpack.decode(bytes(whole), type=list[msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            decoded = None
        before = [(each.state_hash, each.content_hash()) for each in self.replicas]
        trial = [Machine.load(each.dump()) for each in self.replicas]
        first, second = (each.apply(bytes(whole)) for each in trial)
        assert first == second and first.errors == 0
        if first.rejected is None:  # The damage made another valid entry: leave it at that.
            assert decoded is not None
            return
        assert first.replies == []
        assert [(each.state_hash, each.content_hash()) for each in trial] == before

    @rule(which=st.integers(0, 1))
    def snapshot(self, which: int) -> None:
        """Replace one replica by what its snapshot holds."""
        old = self.replicas[which]
        lay_out(which)
        loaded = Machine.load(old.dump())
        assert loaded.content_hash() == old.content_hash()
        self.replicas[which] = loaded

    @invariant()
    def replicas_are_equal(self) -> None:
        first, second = self.replicas
        first.check_invariants()
        second.check_invariants()
        assert first.state_hash == second.state_hash
        assert first.content_hash() == second.content_hash()

    @invariant()
    def readers_see_what_the_model_says(self) -> None:
        machine, model = self.replicas[0], self.model
        for number in range(1, 8):
            task = model.find(task_id(number))
            expected = None if task is None else model.status(task)
            assert machine.task(task_id(number)) == expected
        assert machine.queues() == model.queues
        for queue in ("a", "b", "c"):
            status = machine.queue(queue)
            assert status.enqueued == model.enqueued.count(queue)
            assert status.counts == model.counts(queue)
            assert machine.ready_count(queue) == len(model.ready_in_order(queue))

    @invariant()
    def what_is_due_next_is_known(self) -> None:
        machine, model = self.replicas[0], self.model
        leased = [each.deadline_ms for each in model.tasks if each.state == "leased"]
        starts = [each.not_before_at_ms for each in model.tasks if each.state == "scheduled"]
        done = [each.finished_at_ms for each in model.tasks if each.state == "done"]
        instants = starts + [at_ms + limits.RESULT_RETENTION_MS for at_ms in done]
        assert machine.next_lease_deadline_ms() == min(leased, default=None)
        assert machine.next_wall_due_at_ms() == min(instants, default=None)

    def teardown(self) -> None:
        """Drain: every task that is left goes out in the order that the model says."""
        for turn in range(4):
            self._entry([Lease(["a", "b"], 4, 1_000, "end", f"end-{turn}")], 0, 0)


@pytest.mark.timeout(900)  # Making a found example small takes minutes.
def test_the_machine_does_what_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TIGHT.items():
        monkeypatch.setattr(limits, name, value)
    for module, name in ((rows, "ROWS_PER_CHUNK"), (rows, "THIN_ROWS")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(id_table, "RECORDS_PER_BUCKET", id_table.RECORDS_PER_BUCKET)
    run_state_machine_as_test(
        Comparison,
        settings=settings(max_examples=200, stateful_step_count=50, deadline=None),
    )
