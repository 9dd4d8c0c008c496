"""What a client can ask for: commands, reads, and changes of the cluster's members.

See `commands` for how all messages are encoded.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from raftq.protocol import limits
from raftq.protocol.commands import Ack, ControlCommand, Enqueue, Extend, Fail, Lease, Requeue
from raftq.protocol.fields import (
    Consistency,
    Index,
    Key,
    LeaseCount,
    LeaseMs,
    MemberId,
    PeerAddress,
    QueueName,
    Queues,
    RequestId,
    ScheduleName,
    TaskId,
    WaitMs,
    WorkerName,
)
from raftq.protocol.options import TaskFilter


class LeaseCall(Struct, array_like=True, frozen=True, tag=102, forbid_unknown_fields=True):
    """Ask for leases, waiting up to `wait_ms` for a task to become ready."""

    queues: Queues
    count: LeaseCount
    lease_ms: LeaseMs
    worker: WorkerName
    request_id: RequestId
    wait_ms: WaitMs = 0

    def command(self) -> Lease:
        """Return what is written to the log when there is something to grant."""
        return Lease(self.queues, self.count, self.lease_ms, self.worker, self.request_id)


class TaskCall(Struct, array_like=True, frozen=True, tag=103, forbid_unknown_fields=True):
    """Read one task."""

    task_id: TaskId
    consistency: Consistency = Consistency.LINEARIZABLE
    min_index: Index = 0
    """See `ResultCall`."""


class ResultCall(Struct, array_like=True, frozen=True, tag=110, forbid_unknown_fields=True):
    """Read one task, waiting up to `wait_ms` for it to be over; `TaskStatus` answers.

    `min_index` asks for a state at least as new as that of a log index that a reply told;
    it lets any node answer, if `consistency` is stale.
    """

    task_id: TaskId
    wait_ms: WaitMs = 0
    consistency: Consistency = Consistency.LINEARIZABLE
    min_index: Index = 0


class TasksCall(Struct, array_like=True, frozen=True, tag=111, forbid_unknown_fields=True):
    """List tasks in the order of their enqueue; `TaskPage` answers.

    With `count_max` 0 they are counted only: a dry run of a sweep.
    """

    filter: TaskFilter
    after: Index = 0
    count_max: Annotated[int, Meta(ge=0, le=limits.TASKS_PER_SWEEP_MAX)] = 100
    consistency: Consistency = Consistency.LINEARIZABLE


class WhyCall(Struct, array_like=True, frozen=True, tag=112, forbid_unknown_fields=True):
    """Ask what holds a task back; `Why` answers."""

    task_id: TaskId
    consistency: Consistency = Consistency.LINEARIZABLE


class QueueCall(Struct, array_like=True, frozen=True, tag=104, forbid_unknown_fields=True):
    """Read the counts of one queue."""

    queue: QueueName
    consistency: Consistency = Consistency.LINEARIZABLE


class QueuesCall(Struct, array_like=True, frozen=True, tag=113, forbid_unknown_fields=True):
    """Read all queues, or those behind one; `QueueList` answers."""

    consistency: Consistency = Consistency.LINEARIZABLE
    after: QueueName | None = None


class SettingsCall(Struct, array_like=True, frozen=True, tag=114, forbid_unknown_fields=True):
    """Read the quota of the cluster and all key limits, or those behind one; `Settings` answers."""

    consistency: Consistency = Consistency.LINEARIZABLE
    after: Key | None = None


class SchedulesCall(Struct, array_like=True, frozen=True, tag=115, forbid_unknown_fields=True):
    """Read all schedules, those behind one, or the one of a name; `ScheduleList` answers."""

    name: ScheduleName | None = None
    consistency: Consistency = Consistency.LINEARIZABLE
    after: ScheduleName | None = None


class ClusterCall(Struct, array_like=True, frozen=True, tag=105, forbid_unknown_fields=True):
    """Read what the answering node knows about the cluster."""


ReadCall: TypeAlias = (
    TaskCall
    | QueueCall
    | ResultCall
    | TasksCall
    | WhyCall
    | QueuesCall
    | SettingsCall
    | SchedulesCall
)
"""What a node answers from its machine."""


class AddMember(Struct, array_like=True, frozen=True, tag=106, forbid_unknown_fields=True):
    """Add a node to the cluster; it becomes a voter when it has caught up.

    Of a member, replace the address. Repeating it changes nothing.
    """

    id: MemberId
    peer_address: PeerAddress


class RemoveMember(Struct, array_like=True, frozen=True, tag=107, forbid_unknown_fields=True):
    """Remove a member from the cluster; repeating it changes nothing."""

    id: MemberId


class TransferLeadership(Struct, array_like=True, frozen=True, tag=108, forbid_unknown_fields=True):
    """Hand leadership to a voter, or to the one that is furthest along."""

    to: MemberId | None = None


MembersCall: TypeAlias = AddMember | RemoveMember | TransferLeadership
Call: TypeAlias = (
    Enqueue
    | LeaseCall
    | Ack
    | Fail
    | Requeue
    | Extend
    | ControlCommand
    | ReadCall
    | ClusterCall
    | MembersCall
)
