"""How tasks move: through the gates, into and out of leases, to their ends, and with time.

A waiting task passes its gates in a fixed order: to be confirmed, its parents, its time, its order
key. Behind them it is ready; the limit key is looked at when it is about to be leased.
"""

from collections import deque
from collections.abc import Iterable

from google_crc32c import value as crc32c

from raftq.core.payloads import Payloads
from raftq.core.ready_queue import ReadyQueue
from raftq.core.retries import pause_ms
from raftq.core.state_hash import fold_lease
from raftq.core.table import Table
from raftq.core.task import (
    CANCELLED,
    DEAD,
    DONE,
    EXPIRED,
    FORGETTABLE,
    LEASED,
    OVER,
    Blocked,
    Extras,
    Lease,
    Settling,
    Task,
)
from raftq.protocol import limits
from raftq.protocol.messages import Attempt, OnParentFailure, TaskState


class State(Table):
    """The tasks of a cluster, and their moves.

    Args:
        payloads: Where their payloads are.
    """

    def __init__(self, payloads: Payloads) -> None:
        super().__init__(payloads)
        self.over: deque[Task] = deque()
        """Tasks that are over and have children who do not know it yet."""

    # ------------------------------------------------------------ gates

    def let_on(self, task: Task, *, at_front: bool = False) -> None:
        """Give a task that has no place the one where it waits now.

        Args:
            task: An object.
            at_front: Whether it came back, and stands before those that did not.
        """
        if (held_by := self._held_by(task)) is not None:
            self.put_blocked(task, held_by)
        elif task.not_before_at_ms > self.wall_now_ms:
            self.put_scheduled(task)
        elif self._has_its_order(task):
            self.put_ready(task, at_front=at_front)
        else:
            self.put_blocked(task, Blocked.ORDER_KEY)
        self.set_end(task)

    def _held_by(self, task: Task) -> Blocked | None:
        extras = task.extras
        if extras is not None and extras.confirm_by_ms:
            return Blocked.UNCONFIRMED
        if extras is not None and extras.waits_for and extras.home_queue is None:
            return Blocked.PARENTS
        return None

    def _has_its_order(self, task: Task) -> bool:
        extras = task.extras
        if extras is None or extras.options.order_key is None or extras.home_queue is not None:
            return True
        return self.order_keys.enter(extras.options.order_key, task.sequence)

    def _start(self, sequence: int) -> None:
        """The time of a scheduled task has come."""
        task = self.tasks.get(sequence)
        if task.extras is None:
            self.put_ready(task, at_front=False)
            self.tasks.started(sequence)
        else:
            self.let_on(task)

    # ------------------------------------------------------------ leases

    def room(self, queue: ReadyQueue) -> int:
        """Return how many more tasks of a queue may be leased now, ready or not."""
        settings = queue.settings
        if settings.paused:
            return 0
        room = queue.ready
        if settings.concurrency is not None:
            room = min(room, settings.concurrency - queue.leased)
        if settings.rate is not None and queue.bucket is not None:
            room = min(room, queue.bucket.tokens(settings.rate, self.wall_now_ms))
        return max(room, 0)

    def wake_later(self, queue: ReadyQueue) -> None:
        """See to it that a queue whose rate has no token now is looked at when it has one."""
        rate, bucket = queue.settings.rate, queue.bucket
        if rate is not None and bucket is not None and queue.ready and not queue.settings.paused:
            at_ms = bucket.next_ms(rate, self.wall_now_ms)
            if at_ms > self.wall_now_ms:
                self.wakes.arm(queue.name, at_ms)

    def park(self, queue: ReadyQueue, task: Task) -> bool:
        """Take the first ready task of a queue out if its limit key has no room; tell whether."""
        extras = task.extras
        if extras is None or extras.home_queue is not None:
            return False
        key = extras.options.limit_key
        if key is None or self.limit_keys.admits(key, self.wall_now_ms):
            return False
        # Not given out: that would be counted against its fair key.
        queue.remove(task.sequence, task.priority, extras.options.fair_key or "")
        self.put_blocked(task, Blocked.LIMIT_KEY)
        self.limit_keys.park(key, queue.name, task.priority, task.sequence, self.wall_now_ms)
        return True

    def grant(self, queue: ReadyQueue, task: Task, worker: str, lease_ms: int) -> None:
        """Lease the first ready task of a queue, which was just read."""
        queue.pop()
        self.tasks.own(task)
        if task.token:
            self.by_token.pop(task.token, None)
        self.last_token = token = self.last_token + 1
        task.token = token
        self.by_token[token] = task
        task.released_by = None
        deadline_ms = self.lease_now_ms + lease_ms
        task.lease = Lease(worker, deadline_ms, self.wall_now_ms)
        self.count(queue, task.state, LEASED)
        task.state = LEASED
        self.note(LEASED, queue.name, task.id)
        self.hash = fold_lease(self.hash, task.sequence, token, deadline_ms)
        self.leases.add(deadline_ms, token, task)
        queue.leased += 1
        if task.extras is not None:
            self._begin(task)
        if queue.settings.rate is not None and queue.bucket is not None:
            queue.bucket.take(queue.settings.rate, self.wall_now_ms)

    def _begin(self, task: Task) -> None:
        """A task with options is leased: it does not expire any more, and its key is in use."""
        extras = task.extras
        assert extras is not None
        if extras.home_queue is None:
            extras.expires_at_ms = 0
            if extras.options.limit_key is not None:
                self.limit_keys.take(extras.options.limit_key, self.wall_now_ms)
                self.let_next_on(task)
        self.set_end(task)

    def extend(self, task: Task, lease_ms: int, progress: bytes | None) -> None:
        """Move the deadline of a lease."""
        assert task.lease is not None
        deadline_ms = self.lease_now_ms + lease_ms
        if deadline_ms != task.lease.deadline_ms:
            task.lease.deadline_ms = deadline_ms
            self.leases.move(deadline_ms, task.token, task)
            self.mix(task.sequence, deadline_ms)
        if progress is not None and progress != task.progress:
            task.progress = progress
            self.mix(task.sequence, crc32c(progress))

    def _end_lease(self, task: Task) -> Lease:
        """Take a lease from its task; what it used is free again."""
        lease = task.lease
        assert lease is not None
        task.lease = None
        queue = self.queues[task.queue]
        queue.leased -= 1
        if queue.settings.concurrency is not None:
            self.became_ready[queue.name] = None
        extras = task.extras
        if extras is None:
            return lease
        if extras.options.limit_key is not None and extras.home_queue is None:
            self.limit_keys.release(extras.options.limit_key)
            self.unpark(self.limit_keys.unpark(extras.options.limit_key, self.wall_now_ms))
        return lease

    def _release(self, task: Task, by: Settling) -> Lease:
        task.released_by = by
        self.leases.forget()
        return self._end_lease(task)

    # ------------------------------------------------------------ settling

    def finish(self, task: Task, result: bytes | None) -> None:
        """Record a leased task as done."""
        self._release(task, Settling.ACK)
        task.result = result
        self.mix(0 if result is None else 1 + crc32c(result))
        self.end(task, DONE)

    def give_back(self, task: Task, delay_ms: int) -> None:
        """Return a leased task to its queue, or schedule it."""
        self._release(task, Settling.REQUEUE)
        if delay_ms:
            task.not_before_at_ms = self.wall_now_ms + delay_ms
        self.let_on(task, at_front=True)

    def void_lease(self, task: Task) -> None:
        """Return a leased task to its queue, as if it had never been leased."""
        self.leases.forget()
        self._end_lease(task)
        self.let_on(task, at_front=True)

    def fail(
        self,
        task: Task,
        error: str,
        delay_ms: int | None = None,
        *,
        is_final: bool = False,
        is_crash: bool = False,
    ) -> None:
        """Record a failed run: another attempt from the back of the queue, or dead.

        Args:
            task: A leased one.
            error: What went wrong.
            delay_ms: The pause before the retry; None means the backoff.
            is_final: Whether no retry can help.
            is_crash: Whether the worker's process died of it.
        """
        lease = self._release(task, Settling.FAIL)
        self._note_attempt(task, lease, "crashed" if is_crash else "failed", error)
        task.crashes += is_crash
        task.failures += not is_crash
        if is_final or self._is_spent(task):
            self.end(task, DEAD)
            return
        if delay_ms is None:
            delay_ms = 0 if is_crash else pause_ms(task, self.queues[task.queue].settings)
        if delay_ms:
            task.not_before_at_ms = self.wall_now_ms + delay_ms
        self.let_on(task)

    def _is_spent(self, task: Task) -> bool:
        settings = self.queues[task.queue].settings
        crashes_max = 0 if task.extras is None else task.extras.options.crashes_max
        return task.failures >= (task.attempts_max or settings.attempts_max) or task.crashes >= (
            crashes_max or settings.crashes_max
        )

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

    def settle_cancelled(self, task: Task) -> None:
        """The worker of a cancelled task has stopped."""
        if task.lease is not None:
            self.mix(task.sequence, task.token)
            self.leases.forget()
            self._end_lease(task)
            self._leave(task, self.queues[task.queue])

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

    # ------------------------------------------------------------ time

    def advance(self, lease_advance_ms: int, wall_at_ms: int) -> None:
        """Move both clocks and do what has fallen due, in a fixed order."""
        self.lease_now_ms += lease_advance_ms
        self.wall_now_ms = max(self.wall_now_ms, wall_at_ms)
        while (expired := self.leases.pop_due(self.lease_now_ms)) is not None:
            self._expire(expired)
        if self.ends.live:
            while (waiting := self.ends.pop_due(self.wall_now_ms)) is not None:
                self._time_is_up(waiting)
        while sequence := self.scheduled.pop_due(self.wall_now_ms):
            self._start(sequence)
        if self.limit_keys.wakes or self.wakes.heap or self.unique_keys.ends:
            self._pass_limits()
        if self.over:
            self.tell_children()
        while (old := self.outcomes.pop_old(self.wall_now_ms)) is not None:
            self._forget(old)
        self.requests.forget_silent(self.lease_now_ms)

    def _pass_limits(self) -> None:
        while (key := self.limit_keys.due(self.wall_now_ms)) is not None:
            self.unpark(self.limit_keys.unpark(key, self.wall_now_ms))
        while (name := self.wakes.pop_due(self.wall_now_ms)) is not None:
            self.became_ready[name] = None
        for key in self.unique_keys.pass_time(self.wall_now_ms):
            self.mix_text(key)

    def _expire(self, task: Task) -> None:
        """A lease ran out: its worker died or lost touch."""
        lease = self._end_lease(task)
        del self.by_token[task.token]
        if task.state in OVER:
            self.mix(task.sequence)
            self._leave(task, self.queues[task.queue])
            return
        self._note_attempt(task, lease, "lease ran out", f"lease ran out (worker {lease.worker})")
        task.crashes += 1
        if self._is_spent(task):
            self.end(task, DEAD)
        else:
            self.let_on(task, at_front=True)

    def _time_is_up(self, task: Task) -> None:
        """A waiting task expires, or was not confirmed in time and goes to be checked."""
        extras = task.extras
        assert extras is not None
        extras.end_at_ms = 0
        self.take_out(task)
        check_queue = extras.options.check_queue
        is_expired = 0 < extras.expires_at_ms <= self.wall_now_ms
        if is_expired or check_queue is None:
            self.end(task, EXPIRED)
            return
        extras.confirm_by_ms = 0
        extras.home_queue = task.queue
        extras.home_not_before_at_ms, task.not_before_at_ms = task.not_before_at_ms, 0
        self.move(task, check_queue)
        self.let_on(task)

    def confirm(self, task: Task) -> None:
        """Let an unconfirmed task go on, from wherever it is checked."""
        extras = task.extras
        assert extras is not None
        if task.state is LEASED:
            self._release(task, Settling.REQUEUE)
        else:
            self.take_out(task)
        extras.confirm_by_ms = 0
        home, extras.home_queue = extras.home_queue, None
        if home is not None:
            task.not_before_at_ms = extras.home_not_before_at_ms
            self.move(task, home)
        self.let_on(task)

    def redrive(self, task: Task) -> None:
        """Let a dead task begin anew."""
        self.tasks.own(task)
        task.failures = task.crashes = 0
        task.finished_at_ms = 0
        self.let_on(task)

    def _forget(self, task: Task) -> None:
        task.is_kept = False
        if task.children:
            return  # Kept again when the last of them is over.
        self.tasks.forget(task)
        self.by_token.pop(task.token, None)
        self.forgotten.add(task.id)
        self.mix(task.sequence)
