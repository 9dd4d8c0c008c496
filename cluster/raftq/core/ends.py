"""How tasks end, and what follows: for their keys, their children, and what is remembered."""

from collections import deque

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
    OVER,
    Blocked,
    Extras,
    Lease,
    Task,
)
from raftq.protocol import limits
from raftq.protocol.fields import OnParentFailure, TaskState
from raftq.protocol.statuses import Attempt


class Ends(Gates):
    """The tasks of a cluster, their gates and their ends.

    Args:
        payloads: Where their payloads are.
    """

    def __init__(self, payloads: Payloads) -> None:
        super().__init__(payloads)
        self.over: deque[Task] = deque()
        """Tasks that are over, whose children or parents do not know it yet."""
        self.told_until = 0
        """The sequence of the last child of the first of them that knows; 0 if none does."""
        self.children_left = 0
        """How many more children are told in this entry."""
        self.ties_left = 0
        """From how many more parents children are taken in this entry."""

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
        if task.lease is None:
            self._leave(task, queue)
        elif task.children:
            self.over.append(task)

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
        is_untied = task.extras is None or self._let_go(task, task.extras)
        if is_untied and not task.children:
            if task.state is not DEAD:
                self._keep_outcome(task, queue)
        else:
            self.over.append(task)

    def _let_go(self, task: Task, extras: Extras) -> bool:
        """Take a task from its order key and its parents; tell whether nothing is left to do."""
        key = extras.options.order_key
        if key is not None and (following := self.order_keys.leave(key, task.sequence)):
            self._unblock(self.tasks.objects[following])
        return task.state is DEAD or not extras.parents or self._untie(task, extras.parents)

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
        keep_ms = own_ms or queue.settings.result_ttl_ms
        self.outcomes.add(task, max(keep_ms, limits.RETRY_MEMORY_MS))

    def _forget(self, task: Task) -> None:
        task.is_kept = False
        if task.children:
            return  # Kept again when the last of them is over.
        self.tasks.forget(task)
        self.by_token.pop(task.token, None)
        self.forgotten.add(task.id)
        self.mix(task.sequence)

    # ------------------------------------------------------------ parents and children

    def tie(self, child: Task, parents: list[Task]) -> None:
        """Tie a task, which is an object, to all that it depends on, which are objects, too."""
        extras = child.extras
        assert extras is not None
        for parent in parents:
            if parent.children is None:
                parent.children = set()
            parent.children.add(child.sequence)
        extras.parents = sorted([parent.sequence for parent in parents], reverse=True)

    def tell_relatives(self) -> None:
        """Let the children and the parents of tasks that are over know it.

        To be called after each command, and after each enqueue within one. An entry tells a
        bounded number, in the order in which the tasks ended; the next entries go on.
        """
        while self.over:
            task = self.over[0]
            if not (self._tell_children(task) and self._untie_rest(task)):
                return
            self.over.popleft()
            self.told_until = 0

    def _tell_children(self, parent: Task) -> bool:
        """Let the children of a task that is over know it; tell whether all of them do."""
        told_until = self.told_until
        for sequence in sorted([each for each in parent.children or () if each > told_until]):
            if not self.children_left:
                return False
            self.children_left -= 1
            self.told_until = sequence
            child = self.tasks.objects[sequence]
            if child.extras is not None and parent.sequence in child.extras.waits_for:
                self._tell(child, child.extras, parent)
        return True

    def _tell(self, child: Task, extras: Extras, parent: Task) -> None:
        if parent.state not in OVER:
            return  # It was redriven before this child's turn came.
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

    def _untie_rest(self, child: Task) -> bool:
        """Take a task that is over from the parents that were too many; tell whether none is left.

        One that may still be run, because it was cancelled while it ran, keeps them until it is
        not; one that is dead, until it is discarded.
        """
        extras = child.extras
        is_left = child.state in FORGETTABLE and child.lease is None
        if extras is None or not extras.parents or not is_left:
            return True
        is_untied = self._untie(child, extras.parents)
        if is_untied:
            self._keep_if_unneeded(child)
        return is_untied

    def _untie(self, child: Task, parents: list[int]) -> bool:
        """Take a task from as many parents as this entry may still; tell whether none is left."""
        count = min(len(parents), self.ties_left)
        self.ties_left -= count
        for _ in range(count):
            parent = self.tasks.objects[parents.pop()]
            assert parent.children is not None
            parent.children.remove(child.sequence)
            if not parent.children:
                self._keep_if_unneeded(parent)
        return not parents

    def _keep_if_unneeded(self, task: Task) -> None:
        """Remember a task for its time if it is over for good, and tied to nobody any more."""
        is_over = task.state in FORGETTABLE and task.lease is None and not task.is_kept
        is_tied = task.children or (task.extras is not None and task.extras.parents)
        if is_over and not is_tied:
            self._keep_outcome(task, self.queues[task.queue])
