"""Mutations of the queue machine, of calls on the nodes, and of the client's retries."""

from collections.abc import Callable, Sequence
from typing import Final, cast

from raftq.client import calling as calling_module
from raftq.client.calling import Calling
from raftq.consensus.peers.forwarding import Forwarder
from raftq.consensus.proposer import Proposer
from raftq.consensus.replicated_state import ReplicatedState
from raftq.core.applied import Applied
from raftq.core.executor import Executor
from raftq.core.machine import Machine
from raftq.core.outcomes import Outcomes
from raftq.core.request_memory import RequestMemory
from raftq.core.state import State
from raftq.protocol import limits
from raftq.protocol.calls import Call, LeaseCall
from raftq.protocol.commands import Command, Enqueue, Requeue
from raftq.protocol.errors import NoLeader
from raftq.protocol.options import NewTask
from raftq.protocol.replies import CommandReply, Leased, Reply
from raftq.server.service import Service
from raftq.testing.sim.mutations.mutation import Inside, Mutation
from raftq.testing.sim.patching import Patch, original


def _lost_leadership() -> list[Patch]:
    lose = cast("Callable[[Inside], None]", original(Proposer, "lose_leadership"))

    def certain(self: Inside) -> None:
        in_flight, self._in_flight = self._in_flight, {}
        lose(self)
        for batch in in_flight.values():
            for item in batch:
                if not item.future.done():
                    item.future.set_exception(NoLeader("this node lost leadership"))

    def at_deadline(last: NoLeader, may_have_happened: bool) -> NoLeader:
        return last

    return [
        (Proposer, "lose_leadership", certain),
        (calling_module, "_at_deadline", at_deadline),
    ]


def _commit_timeout() -> list[Patch]:
    def expire(self: Inside, now: float) -> None:
        for batch in self._in_flight.values():
            for item in batch:
                if item.deadline <= now and not item.future.done():
                    item.future.set_exception(NoLeader("not committed before the deadline"))

    def at_deadline(last: NoLeader, may_have_happened: bool) -> NoLeader:
        return last

    return [(Proposer, "expire", expire), (calling_module, "_at_deadline", at_deadline)]


def _lost_link() -> list[Patch]:
    def on_link_down(self: Inside, peer: str) -> None:
        for leader, future in self._pending.values():
            if leader == peer and not future.done():
                future.set_exception(NoLeader(f"the connection to {peer} broke"))

    return [(Forwarder, "on_link_down", on_link_down)]


def _client_outcome() -> list[Patch]:
    def at_deadline(last: Exception, may_have_happened: bool) -> Exception:
        return NoLeader(f"no answer before the deadline ({last})")

    return [(calling_module, "_at_deadline", at_deadline)]


def _late_callers() -> list[Patch]:
    def resolve(self: Inside, number: int, result: object, is_committed: bool) -> None:
        batch: list[Inside] = self._in_flight.pop(number, None) or []
        replies = result.replies if isinstance(result, Applied) else []
        for item, reply in zip(batch, replies, strict=False):
            item.future.set_result(self._answer(reply))
        if self._waiting:
            self._wake()

    return [(Proposer, "_resolve", resolve)]


def _client_ids() -> list[Patch]:
    attempt = cast("Callable[..., object]", original(Calling, "_try"))

    def anew(self: Inside, address: object, call: Call, *rest: object) -> object:
        if isinstance(call, Enqueue):
            tasks = [
                NewTask(
                    self._random.randbytes(16),
                    task.payload,
                    task.priority,
                    task.delay_ms,
                    task.attempts_max,
                )
                for task in call.tasks
            ]
            call = Enqueue(call.queue, tasks)
        return attempt(self, address, call, *rest)

    return [(Calling, "_try", anew)]


def _enqueue_once() -> list[Patch]:
    enqueue_new = cast("Callable[..., bool]", original(Executor, "enqueue_new"))

    def forgetful(self: Inside, queue: str, new_tasks: Sequence[NewTask]) -> bool:
        tasks = self._state.tasks
        for new in new_tasks:
            sequence = tasks.find(new.id)
            if sequence and tasks.get(sequence).lease is None:
                tasks.ids.remove(new.id, sequence)
        return enqueue_new(self, queue, new_tasks)

    return [(Executor, "enqueue_new", forgetful)]


def _retry_memory() -> list[Patch]:
    pop_old = cast("Callable[[Inside, int], object]", original(Outcomes, "pop_old"))

    def by_number(self: Inside, wall_now_ms: int) -> object:
        return pop_old(self, wall_now_ms + limits.RETRY_MEMORY_MS)

    return [(Outcomes, "pop_old", by_number)]


def _lease_once() -> list[Patch]:
    def recall(self: Inside, worker: str, request_id: str) -> tuple[int, ...]:
        return ()

    return [(RequestMemory, "recall", recall)]


def _fencing() -> list[Patch]:
    grant = cast("Callable[..., None]", original(State, "grant"))

    def keeping(self: Inside, queue: Inside, task: Inside, worker: str, lease_ms: int) -> None:
        old = self.by_token.copy()
        grant(self, queue, task, worker, lease_ms)
        self.by_token = {
            **{token: known for token, known in old.items() if known is task},
            **self.by_token,
        }

    expire = cast("Callable[[Inside, Inside], None]", original(State, "_expire"))

    def remembering(self: Inside, task: Inside) -> None:
        expire(self, task)
        self.by_token[task.token] = task

    return [(State, "grant", keeping), (State, "_expire", remembering)]


def _apply_shell() -> list[Patch]:
    """Let a handler have a bug, and nothing be around it."""
    execute = cast("Callable[[Inside, Command], CommandReply]", original(Executor, "execute"))

    def faulty(self: Inside, command: Command) -> CommandReply:
        if isinstance(command, Requeue) and any(item.delay_ms for item in command.items):
            raise ZeroDivisionError
        return execute(self, command)

    def bare(self: Inside, command: Command, _applied: Applied) -> CommandReply:
        return cast("CommandReply", self.execute(command))

    return [(Executor, "execute", faulty), (Machine, "_shielded", bare)]


def _empty_answers() -> list[Patch]:
    lead = cast("Callable[..., object]", original(Service, "lead"))

    async def sure(self: Inside, call: Call, deadline: float) -> Reply:
        if isinstance(call, LeaseCall):
            return cast("Leased", await self.waiters.lease(call, deadline, self._wait_end(call)))
        return cast("Reply", await cast("Inside", lead(self, call, deadline)))

    return [(Service, "lead", sure)]


def _whole_dump() -> list[Patch]:
    install = cast(
        "Callable[[Inside, Inside, Inside, int], None]", original(ReplicatedState, "install")
    )

    def forgetful(self: Inside, machine: Inside, payloads: Inside, index: int) -> None:
        machine._state.requests = RequestMemory()
        install(self, machine, payloads, index)

    return [(ReplicatedState, "install", forgetful)]


def _determinism() -> list[Patch]:
    grant = cast("Callable[..., None]", original(State, "grant"))

    def varied(self: Inside, queue: Inside, task: Inside, worker: str, lease_ms: int) -> None:
        grant(self, queue, task, worker, lease_ms)
        self.mix(id(self) & 1023)

    return [(State, "grant", varied)]


MUTATIONS: Final[dict[str, Mutation]] = {
    "lost-leadership": Mutation(
        "what was in flight when leadership was lost is said to have failed",
        _lost_leadership,
        ("no-majority", "partitions", "mixed"),
    ),
    "commit-timeout": Mutation(
        "what was not committed in time is said to have failed",
        _commit_timeout,
        ("no-majority", "partitions", "mixed"),
    ),
    "lost-link": Mutation(
        "what was forwarded when the link broke is said to have failed",
        _lost_link,
        ("one-door",),
    ),
    "client-outcome": Mutation(
        "the client says that a call failed whose earlier try may have succeeded",
        _client_outcome,
        ("no-majority", "partitions", "mixed"),
    ),
    "late-callers": Mutation(
        "a reply for a caller who has gone raises in PySyncObj's loop",
        _late_callers,
        ("takeovers",),
    ),
    "client-ids": Mutation(
        "the client repeats a call with new ids", _client_ids, ("crashes", "mixed")
    ),
    "enqueue-once": Mutation(
        "an id that was enqueued before makes a new task", _enqueue_once, ("crashes",)
    ),
    "retry-memory": Mutation(
        "a finished task is forgotten as soon as enough others have finished",
        _retry_memory,
        ("short-memory",),
    ),
    "lease-once": Mutation(
        "a repeated lease call grants other leases", _lease_once, ("crashes", "mixed")
    ),
    "fencing": Mutation("the token of a lost lease is accepted", _fencing, ("freezes",)),
    "apply-shell": Mutation(
        "a bug in a command's handler leaves the machine", _apply_shell, ("calm",)
    ),
    "empty-answers": Mutation(
        "a deposed leader says that nothing waits",
        _empty_answers,
        ("lonely",),
        not_shown_because="the check of empty answers rests while an earlier call may be alive, "
        "and a deposed leader steps down before that is over",
        shown_by="tests/unit/server/test_service.py::"
        "test_an_empty_lease_answer_is_confirmed_by_a_quorum",
    ),
    "whole-dump": Mutation("a snapshot leaves something out", _whole_dump, ("lagging", "mixed")),
    "determinism": Mutation(
        "replicas differ in what they mix into their state", _determinism, ("calm",)
    ),
}
