"""How tasks end, and what follows: for their keys, their children, and what is remembered."""

from collections import deque
from collections.abc import Iterable

from google_crc32c import value as crc32c

from raftq.core.gates import Gates
from raftq.core.payloads import Payloads
from raftq.core.ready_queue import ReadyQueue
from raftq.core.task import (
    CANCELLED,
    DEAD,
    DONE,
    FORGETTABLE,
    LEASED,
    Blocked,
    Extras,
    Lease,
    Task,
)
from raftq.protocol import limits
from raftq.protocol.messages import Attempt, OnParentFailure, TaskState


class Ends(Gates):
    """The tasks of a cluster, their gates and their ends.

    Args:
        payloads: Where their payloads are.
    """

    def __init__(self, payloads: Payloads) -> None:
        super().__init__(payloads)
        self.over: deque[Task] = deque()
        """Tasks that are over and have children who do not know it yet."""

    # ------------------------------------------------------------ ends

    def cancel(self, task: Task) -> None:
        """Cancel a task that waits, is leased or dead.

        Of a leased one the lease stays, worth nothing, until its worker settles it or it runs out:
        until then the worker may still run, and what its keys limit stays used.
        """
        if task.state is LEASED:
            assert task.lease is not None
            self._note_attempt(task, task.lease, "cancelled", "")
        elif task.state is DEAD:
            self.tasks.own(task)
        else:
            self.take_out(task)
        self.end(task, CANCELLED)

    def end(self, task: Task, state: TaskState) -> None:
        """End a task that has no place; a dead one may begin anew."""
        queue = self.change(task, state)
        task.finished_at_ms = self.wall_now_ms
        if state is not DEAD:  # A dead task keeps its payload, so it still counts as live.
            self.drop_payload(task, queue)
        if task.extras is not None:
            self._end_extras(task, task.extras, state)
        if task.children:
            self.over.append(task)
        if task.lease is None:
            self._leave(task, queue)

    def _end_extras(self, task: Task, extras: Extras, state: TaskState) -> None:
        extras.confirm_by_ms = 0
        if state is not DEAD:  # One that died while it was checked still waits for them.
            extras.waits_for.clear()
        self.set_end(task)
        if extras.options.unique_key is not None:
            self.unique_keys.over(extras.options.unique_key, task.sequence, state)

    def _note_attempt(self, task: Task, lease: Lease, end: str, error: str) -> None:
        attempt = Attempt(
            task.failures + task.crashes + 1,
            lease.worker,
            lease.granted_at_ms,
            self.wall_now_ms,
            end,
            error,
        )
        history = [*(task.history or ()), attempt]
        task.history = history[-limits.ERRORS_KEPT_PER_TASK :]
        self.mix(crc32c(error.encode()))

    def redrive(self, task: Task) -> None:
        """Let a dead task begin anew."""
        self.tasks.own(task)
        task.failures = task.crashes = 0
        task.finished_at_ms = 0
        self.let_on(task)

    def _leave(self, task: Task, queue: ReadyQueue) -> None:
        """A task is over, and nobody runs it any more."""
        if task.extras is not None:
            self._leave_keys(task, task.extras)
        if task.state is not DEAD and not task.children:
            self._keep_outcome(task, queue)

    def _leave_keys(self, task: Task, extras: Extras) -> None:
        key = extras.options.order_key
        if key is not None and (following := self.order_keys.leave(key, task.sequence)):
            self._unblock(self.tasks.objects[following])
        if task.state is not DEAD:
            self._unpin_parents(task, extras.options.depends_on)

    def _unblock(self, task: Task) -> None:
        """Let a task on that was blocked by its order key."""
        extras = task.extras
        if extras is not None and extras.blocked_by is Blocked.ORDER_KEY:
            extras.blocked_by = None
            self.let_on(task)

    def _keep_outcome(self, task: Task, queue: ReadyQueue) -> None:
        """Remember a task for its time; no child may want to read it any more."""
        task.is_kept = True
        own_ms = 0 if task.extras is None else task.extras.options.result_ttl_ms
        self.outcomes.add(task, own_ms or queue.settings.result_ttl_ms)

    def _forget(self, task: Task) -> None:
        task.is_kept = False
        if task.children:
            return  # Kept again when the last of them is over.
        self.tasks.forget(task)
        self.by_token.pop(task.token, None)
        self.forgotten.add(task.id)
        self.mix(task.sequence)

    # ------------------------------------------------------------ parents and children

    def pin(self, parent: Task, child: Task) -> None:
        """Tie a task, which is an object, to one that depends on it."""
        if parent.children is None:
            parent.children = set()
        parent.children.add(child.sequence)

    def _unpin_parents(self, child: Task, parents: Iterable[bytes]) -> None:
        for parent_id in parents:
            parent = self.tasks.objects.get(self.tasks.find(parent_id))
            if parent is not None and parent.children and child.sequence in parent.children:
                parent.children.remove(child.sequence)
                is_over = parent.state in FORGETTABLE and parent.lease is None
                if is_over and not parent.children and not parent.is_kept:
                    self._keep_outcome(parent, self.queues[parent.queue])

    def tell_children(self) -> None:
        """Let the children of tasks that are over know it; to be called after each command."""
        while self.over:
            parent = self.over.popleft()
            for sequence in sorted(parent.children or ()):
                child = self.tasks.objects[sequence]
                extras = child.extras
                if extras is not None and parent.sequence in extras.waits_for:
                    self._tell(child, parent)

    def _tell(self, child: Task, parent: Task) -> None:
        extras = child.extras
        assert extras is not None
        policy = extras.options.on_parent_failure
        if parent.state is not DONE and policy is not OnParentFailure.RUN:
            if policy is OnParentFailure.CANCEL or parent.state is not DEAD:
                self.cancel(child)
            return
        extras.waits_for.remove(parent.sequence)
        self.mix(child.sequence, parent.sequence)
        if not extras.waits_for and extras.blocked_by is Blocked.PARENTS:
            extras.blocked_by = None
            self.let_on(child)
