"""How tasks move into and out of leases, and with time: the whole state of a cluster.

Where a task waits is told by its gates, what becomes of one that is over by its end.
"""

from google_crc32c import value as crc32c

from raftq.core.ends import Ends
from raftq.core.ready_queue import ReadyQueue
from raftq.core.retries import pause_ms
from raftq.core.state_hash import fold_lease
from raftq.core.task import (
    DEAD,
    DONE,
    EXPIRED,
    LEASED,
    OVER,
    Blocked,
    Lease,
    Settling,
    Task,
)
from raftq.protocol import limits


class State(Ends):
    """The tasks of a cluster, and all their moves."""

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
            is_crash: Whether what ran it died of it. It pauses all the same: one that dies at once
                would come again and again, as fast as processes start.
        """
        lease = self._release(task, Settling.FAIL)
        self._note_attempt(task, lease, "crashed" if is_crash else "failed", error)
        task.crashes += is_crash
        task.failures += not is_crash
        if is_final or self._is_spent(task):
            self.end(task, DEAD)
            return
        if delay_ms is None:
            number = task.crashes if is_crash else task.failures
            delay_ms = pause_ms(task, self.queues[task.queue].settings, number)
        if delay_ms:
            task.not_before_at_ms = self.wall_now_ms + delay_ms
        self.let_on(task)

    def _is_spent(self, task: Task) -> bool:
        settings = self.queues[task.queue].settings
        crashes_max = 0 if task.extras is None else task.extras.options.crashes_max
        return task.failures >= (task.attempts_max or settings.attempts_max) or task.crashes >= (
            crashes_max or settings.crashes_max
        )

    def settle_cancelled(self, task: Task) -> None:
        """The worker of a cancelled task has stopped."""
        if task.lease is not None:
            self.mix(task.sequence, task.token)
            self._release(task, Settling.CANCELLED)
            self._leave(task, self.queues[task.queue])

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

    # ------------------------------------------------------------ time

    def advance(self, lease_advance_ms: int, wall_at_ms: int) -> None:
        """Move both clocks and do what has fallen due, in a fixed order.

        Of each kind so many at most: who waits for the rest is served by the next entries, which
        are proposed as long as anything is due.
        """
        self.lease_now_ms += lease_advance_ms
        self.wall_now_ms = max(self.wall_now_ms, wall_at_ms)
        self.children_left = limits.CHILDREN_PER_ENTRY_MAX
        self.ties_left = limits.TIES_PER_ENTRY_MAX
        while (expired := self.leases.pop_due(self.lease_now_ms)) is not None:
            self._expire(expired)
        if self.ends.live:
            self._pass_ends()
        started = 0
        while started < limits.DUE_PER_ENTRY_MAX and (
            sequence := self.scheduled.pop_due(self.wall_now_ms)
        ):
            self._start(sequence)
            started += 1
        if self.limit_keys.wakes or self.wakes.heap or self.unique_keys.ends:
            self._pass_limits()
        if self.over:
            self.tell_relatives()
        forgotten = 0
        while forgotten < limits.DUE_PER_ENTRY_MAX and (
            old := self.outcomes.pop_old(self.wall_now_ms)
        ):
            self._forget(old)
            forgotten += 1
        self.requests.forget_silent(self.lease_now_ms)

    def _pass_ends(self) -> None:
        for _ in range(limits.DUE_PER_ENTRY_MAX):
            waiting = self.ends.pop_due(self.wall_now_ms)
            if waiting is None:
                return
            self._time_is_up(waiting)

    def drop_expired(self, task: Task) -> bool:
        """Let a ready task expire whose time was up before its turn to do so came; tell whether."""
        extras = task.extras
        if extras is None or not 0 < extras.expires_at_ms <= self.wall_now_ms:
            return False
        self.take_out(task)
        self.end(task, EXPIRED)
        return True

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
