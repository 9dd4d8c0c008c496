"""All that the slow model knows: lists, in which everything is found by looking at each element."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.support.model.buckets import SlowBucket

from raftq.protocol.fields import TaskState
from raftq.protocol.options import KeyLimit, NewTask, QueueSettings, Quota, Schedule, TaskOptions
from raftq.protocol.statuses import Attempt

SCHEDULED, BLOCKED, READY = TaskState.SCHEDULED, TaskState.BLOCKED, TaskState.READY
LEASED, DONE, DEAD = TaskState.LEASED, TaskState.DONE, TaskState.DEAD
CANCELLED, EXPIRED = TaskState.CANCELLED, TaskState.EXPIRED
WAITING: Final = (SCHEDULED, BLOCKED, READY)
OVER: Final = (DONE, DEAD, CANCELLED, EXPIRED)
FOR_GOOD: Final = (DONE, CANCELLED, EXPIRED)


@dataclass
class SlowLease:
    """What a worker holds. A cancelled task has one until its worker is known to have stopped."""

    worker: str
    deadline_ms: int
    granted_at_ms: int


@dataclass
class SlowTask:
    """A task with everything that ever happened to it."""

    number: int
    new: NewTask
    queue: str
    enqueued_at_ms: int
    not_before_at_ms: int
    priority: int
    expires_at_ms: int
    state: TaskState | None = None
    blocked_by: str | None = None
    place: tuple[int, int] = (0, 0)
    """Where it stands among the ready ones of its fair key: (0, number) if it came back, (1, when
    it became ready) otherwise."""
    token: int = 0
    ended_by: str | None = None
    """How its newest lease ended: ack, fail, requeue, cancel, confirm or time."""
    lease: SlowLease | None = None
    worker: str | None = None
    failures: int = 0
    crashes: int = 0
    history: list[Attempt] = field(default_factory=list[Attempt])
    result: bytes | None = None
    progress: bytes | None = None
    finished_at_ms: int = 0
    finished_number: int = 0
    is_unconfirmed: bool = False
    first_queue: str = ""
    """Where it was enqueued."""
    home_queue: str | None = None
    """Where it goes when it is confirmed, while it is in its check queue."""
    home_not_before_at_ms: int = 0
    waits_for: list[bytes] = field(default_factory=list[bytes])
    """Parents that are not over for it."""
    keep_ms: int = 0
    """How long its outcome is kept."""

    @property
    def options(self) -> TaskOptions:
        """Return its options; a plain task has those by default."""
        return self.new.options or TaskOptions()

    @property
    def limit_key(self) -> str | None:
        """Return the limit key that it uses when it is leased: none while it is checked."""
        return None if self.home_queue is not None else self.options.limit_key

    @property
    def fair_key(self) -> str:
        """Return its fair key; a task without one has the empty one."""
        return self.options.fair_key or ""

    @property
    def ready_at_ms(self) -> int:
        """Return since when it waits to be leased, for the ageing."""
        return max(self.enqueued_at_ms, self.not_before_at_ms)

    @property
    def is_gone(self) -> bool:
        """Tell whether it is over for good and nobody runs it any more."""
        return self.state in FOR_GOOD and self.lease is None

    @property
    def is_live(self) -> bool:
        """Tell whether it counts against quotas: it is not over for good."""
        return self.state not in FOR_GOOD


@dataclass
class SlowRequest:
    """A lease call that granted something."""

    worker: str
    request_id: str
    tokens: list[int]
    at_ms: int


@dataclass
class SlowQueue:
    """What is known of a queue beside its tasks."""

    name: str
    settings: QueueSettings = field(default_factory=QueueSettings)
    enqueued: int = 0
    """Tasks ever enqueued into it, with those moved here and without those moved away."""
    forgotten: list[TaskState] = field(default_factory=list[TaskState])
    """States of forgotten tasks."""
    starts: SlowBucket = field(default_factory=SlowBucket)
    intake: SlowBucket = field(default_factory=SlowBucket)


@dataclass
class SlowLine:
    """The virtual times of the ready tasks of one queue and priority."""

    queue: str
    priority: int
    is_fair: bool = False
    """Whether any task with a fair key came since it was empty."""
    now: int = 0
    """The virtual time of the key taken last, when it was taken."""
    times: dict[str, int] = field(default_factory=dict[str, int])


@dataclass
class SlowLimit:
    """A limit key that somebody set."""

    key: str
    limit: KeyLimit
    starts: SlowBucket


@dataclass
class SlowUnique:
    """Who has a unique key, and until when if not until it is over."""

    key: str
    number: int
    """Of the task: once that is forgotten, another may have its id."""
    task_id: bytes
    until_ms: int
    ended_as: TaskState | None = None
    """How the task ended, if it has the key for a time."""


@dataclass
class SlowSchedule:
    """A schedule and where it stands."""

    name: str
    schedule: Schedule
    revision: int
    next_at_ms: int
    last_tick_at_ms: int = 0
    last_task: bytes | None = None
    runs: int = 0
    skipped: int = 0


@dataclass
class World:
    """Everything."""

    lease_now_ms: int = 0
    wall_now_ms: int = 0
    index: int = 0
    cluster_id: str | None = None
    tasks: list[SlowTask] = field(default_factory=list[SlowTask])
    """All that are known, oldest first."""
    last_number: int = 0
    forgotten_ids: list[bytes] = field(default_factory=list[bytes])
    requests: list[SlowRequest] = field(default_factory=list[SlowRequest])
    queues: list[SlowQueue] = field(default_factory=list[SlowQueue])
    lines: list[SlowLine] = field(default_factory=list[SlowLine])
    order_lines: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Of each order key the numbers of the tasks that have a place, the holder first."""
    limits: list[SlowLimit] = field(default_factory=list[SlowLimit])
    uniques: list[SlowUnique] = field(default_factory=list[SlowUnique])
    quota: Quota = field(default_factory=Quota)
    intake: SlowBucket = field(default_factory=SlowBucket)
    schedules: list[SlowSchedule] = field(default_factory=list[SlowSchedule])
    over: list[SlowTask] = field(default_factory=list[SlowTask])
    """Tasks that are over and whose children do not know it yet."""
    outcomes: list[SlowTask] = field(default_factory=list[SlowTask])
    """Tasks that are over for good and that nobody runs any more, in that order."""
    tokens: int = 0
    steps: int = 0
    ready: list[str] = field(default_factory=list[str])
    """Queues that gained ready tasks by the present entry."""
    finished: list[bytes] = field(default_factory=list[bytes])
    events: list[tuple[TaskState, str, bytes]] = field(
        default_factory=list[tuple[TaskState, str, bytes]]
    )

    def find(self, task_id: bytes) -> SlowTask | None:
        """Return the task of an id."""
        return next((each for each in self.tasks if each.new.id == task_id), None)

    def numbered(self, number: int) -> SlowTask:
        """Return the task of a number."""
        return next(each for each in self.tasks if each.number == number)

    def holder(self, unique: SlowUnique) -> SlowTask | None:
        """Return the task that has a unique key, unless it is forgotten."""
        return next((each for each in self.tasks if each.number == unique.number), None)

    def where(self, condition: Callable[[SlowTask], bool]) -> list[SlowTask]:
        """Return the tasks that fulfil a condition, oldest first."""
        return [each for each in self.tasks if condition(each)]

    def queue(self, name: str) -> SlowQueue | None:
        """Return a queue that exists."""
        return next((each for each in self.queues if each.name == name), None)

    def queue_made(self, name: str) -> SlowQueue:
        """Return a queue, created if it is new."""
        found = self.queue(name)
        if found is None:
            found = SlowQueue(name)
            self.queues.append(found)
        return found

    def settings(self, name: str) -> QueueSettings:
        """Return the settings of a queue, those by default if there is none."""
        found = self.queue(name)
        return QueueSettings() if found is None else found.settings

    def line(self, queue: str, priority: int) -> SlowLine:
        """Return the line of a queue and priority."""
        for each in self.lines:
            if (each.queue, each.priority) == (queue, priority):
                return each
        self.lines.append(SlowLine(queue, priority))
        return self.lines[-1]

    def limit(self, key: str | None) -> SlowLimit | None:
        """Return what is set for a limit key."""
        return next((each for each in self.limits if each.key == key), None)

    def step(self) -> int:
        """Return a number greater than all before."""
        self.steps += 1
        return self.steps
