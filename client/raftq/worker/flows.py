"""Flows: tasks that wait for others and go on with their results. Chains, groups, joins.

A flow is sent with one call, all of it or nothing, and then lives in the cluster: each task knows
what it depends on, and no program has to be there when one follows another. What a task gets from
those before it is read by its worker when it runs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest
from raftq.worker.drafts import Draft, Plan, around_sending
from raftq.worker.job import Job
from raftq.worker.options import Chained

if TYPE_CHECKING:
    from raftq.worker.app import App
    from raftq.worker.enqueueing import Enqueueing

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
J_co = TypeVar("J_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Before:
    """What comes before a flow."""

    tasks: Sequence[bytes] = ()
    is_group: bool = False
    """Whether their results are a list, even if it is one."""

    def chained(self, takes_results: bool) -> Chained | None:
        """Return what a task behind them is told."""
        if not self.tasks:
            return None
        takes = len(self.tasks) if self.is_group else 0
        return Chained(self.tasks, takes if takes_results else None)


@dataclass(frozen=True, slots=True)
class Built:
    """A flow as drafts."""

    drafts: list[Draft[Any]]
    """All tasks, each behind those that it depends on."""
    ends: list[Draft[Any]]
    """Those whose results are the flow's."""


class Flow(ABC, Generic[J_co]):
    """Work that is enqueued as a whole; `enqueue` returns a job, or of a group a list of them."""

    @property
    @abstractmethod
    def app(self) -> "App":
        """What it is enqueued with."""

    @property
    @abstractmethod
    def is_group(self) -> bool:
        """Whether it has a list of results."""

    @abstractmethod
    def build(self, before: Before) -> Built:
        """Return its tasks, with new ids, to run when those before are over."""

    @abstractmethod
    def plan(self) -> Plan[J_co]:
        """Return its tasks with new ids, and what is made of the answer."""

    def enqueue(self) -> J_co:
        """Enqueue all of it or nothing; it is on the disks of a majority on return.

        Raises:
            InvalidArguments: Arguments do not fit, or cannot be stored.
            OutcomeUnknown: It may be enqueued. Another call would make new tasks.
            RaftqError: See docs/reference/errors.md.
        """
        with around_sending(self.app, *self.queues()):
            plan = self.plan()
            return self.app.access.run(plan.send)

    async def aenqueue(self) -> J_co:
        """Do what `enqueue` does."""
        with around_sending(self.app, *self.queues()):
            return await self.plan().send(await self.app.access.client())

    @abstractmethod
    def queues(self) -> list[str]:
        """Return the queue of each of its tasks."""


class Single(Flow[Job[R_co]]):
    """A flow with one result."""

    @property
    def is_group(self) -> bool:
        """See `Flow`."""
        return False

    def plan(self) -> Plan[Job[R_co]]:
        """See `Flow`."""
        built = self.build(Before())
        (end,) = built.ends
        return Plan(built.drafts, lambda made: end.job(made.get(end.new_task.id)))


class Step(Single[R_co]):
    """One call of a task in a flow; made by `task.s(…)`.

    Args:
        source: The task, with its policies.
        args: Positional arguments, behind the result of what comes before.
        kwargs: Named arguments.
    """

    def __init__(
        self,
        source: "Enqueueing[..., R_co]",
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        takes_results: bool = True,
    ) -> None:
        self._source: Final = source
        self._args: Final = args
        self._kwargs: Final = kwargs
        self._takes_results: Final = takes_results

    def __repr__(self) -> str:
        return f"<step {self._source.task_name!r}>"

    def without_results(self) -> "Step[R_co]":
        """Return this step, which does not get the results of what comes before it."""
        return Step(self._source, self._args, self._kwargs, takes_results=False)

    @property
    def app(self) -> "App":
        """See `Flow`."""
        return self._source.app

    def build(self, before: Before) -> Built:
        """See `Flow`."""
        chained = before.chained(self._takes_results)
        draft = self._source.make_draft(self._args, self._kwargs, chained)
        return Built([draft], [draft])

    def queues(self) -> list[str]:
        """See `Flow`."""
        return [self._source.queue]


class Chain(Single[R_co]):
    """Flows one after the other; made by `app.chain(…)`. Its result is that of the last one.

    Raises:
        InvalidRequest: There is none, or the last one has several results.
    """

    def __init__(self, work: Sequence[Flow[Any]]) -> None:
        if not work or work[-1].is_group:
            raise InvalidRequest(
                "a chain ends with a step, which has one result; end it with one that takes the "
                "list of the group's results, or enqueue the group itself"
            )
        self._work: Final = work

    def __repr__(self) -> str:
        return f"<chain of {len(self._work)}>"

    @property
    def app(self) -> "App":
        """See `Flow`."""
        return self._work[0].app

    def build(self, before: Before) -> Built:
        """See `Flow`."""
        drafts: list[Draft[Any]] = []
        built = Built([], [])
        for each in self._work:
            built = each.build(before)
            drafts += built.drafts
            before = Before([end.new_task.id for end in built.ends], each.is_group)
        return Built(drafts, built.ends)

    def queues(self) -> list[str]:
        """See `Flow`."""
        return [queue for each in self._work for queue in each.queues()]


class Group(Flow[list[Job[R]]]):
    """Flows beside each other; made by `app.group(…)`. Its results are a list, in order.

    Raises:
        InvalidRequest: There are none, or too many for a join.
    """

    def __init__(self, members: Iterable[Single[R]]) -> None:
        self._members: Final = list(members)
        if not 0 < len(self._members) <= limits.PARENTS_MAX:
            raise InvalidRequest(
                f"a group of {len(self._members)}; it has at least one member, and at most "
                f"{limits.PARENTS_MAX}: make groups of groups, or use app.enqueue_many"
            )

    def __repr__(self) -> str:
        return f"<group of {len(self._members)}>"

    def join(self, step: Single[R_co]) -> Chain[R_co]:
        """Return a flow that goes on with the list of the results, when all members are done."""
        return Chain([self, step])

    @property
    def app(self) -> "App":
        """See `Flow`."""
        return self._members[0].app

    @property
    def is_group(self) -> bool:
        """See `Flow`."""
        return True

    def build(self, before: Before) -> Built:
        """See `Flow`."""
        built = [each.build(before) for each in self._members]
        return Built(
            [draft for each in built for draft in each.drafts],
            [end for each in built for end in each.ends],
        )

    def plan(self) -> Plan[list[Job[R]]]:
        """See `Flow`."""
        built = self.build(Before())
        return Plan(
            built.drafts,
            lambda made: [end.job(made.get(end.new_task.id)) for end in built.ends],
        )

    def queues(self) -> list[str]:
        """See `Flow`."""
        return [queue for each in self._members for queue in each.queues()]
