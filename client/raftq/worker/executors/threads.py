"""Tasks that are `def`, in threads.

A thread cannot be killed. At its time limit an exception is raised in it, which ends Python code;
code that hangs in C goes on, and only the end of the process will stop it.
"""

import threading
from enum import Enum, auto
from queue import SimpleQueue

from raftq.worker.executors.crossing import Crossing
from raftq.worker.executors.interrupting import clear_in_thread, raise_in_thread, where_is
from raftq.worker.executors.watch import (
    GRACE_SECONDS,
    Interrupted,
    Watch,
    failed,
    limit_seconds,
    make_context,
)
from raftq.worker.performing import perform
from raftq.worker.run import Run
from raftq.worker.task import Invocation


class ThreadExecutor:
    """Runs tasks in threads, which are started when they are needed and then kept.

    Args:
        here: The way into the worker's loop.
        size: The most threads; further runs wait for one, and their time does not run meanwhile.
        grace_seconds: How long code may take to end when it was interrupted.
    """

    def __init__(self, here: Crossing, size: int, grace_seconds: float = GRACE_SECONDS) -> None:
        self._here = here
        self._size = size
        self._grace_seconds = grace_seconds
        self._runs: SimpleQueue[_ThreadRun | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    async def run(self, run: Run, invocation: Invocation) -> bytes | None:
        """Run a task; see `Watch.ended` for what it raises."""
        started = _ThreadRun(self._here, run, invocation, self._grace_seconds)
        self._runs.put(started)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._size:
            name = f"raftq-task-{len(self._threads) + 1}"
            # Daemons: a thread that cannot be stopped must not keep the process alive.
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return await started.watch.ended()

    def close(self) -> None:
        """End the threads that have nothing to do; those that have end after it."""
        for _ in self._threads:
            self._runs.put(None)

    def _work(self) -> None:
        while (run := self._runs.get()) is not None:
            run.execute()
            del run  # Its arguments may be large, and the next may be long in coming.
            self._idle.release()


class _ThreadRun:
    """One run, and the thread that executes it."""

    def __init__(
        self, here: Crossing, run: Run, invocation: Invocation, grace_seconds: float
    ) -> None:
        self.watch = Watch(
            here, run, limit_seconds(invocation), grace_seconds, self._interrupt, self._insist
        )
        self._context = make_context(run, invocation, self.watch)
        self._invocation = invocation
        self._lock = threading.Lock()
        self._state = _State.WAITING
        self._thread_id = 0
        self._was_interrupted = False

    def execute(self) -> None:
        """Run the task on this thread and tell the worker."""
        result: bytes | None = None
        error: BaseException | None = None
        try:
            with self._lock:
                if self._was_interrupted:
                    return  # The worker does not wait for it any more.
                self._state, self._thread_id = _State.RUNNING, threading.get_ident()
            self.watch.begin()
            try:
                result = perform(self._invocation, self._context)
            except BaseException as problem:
                error = failed(problem)
            self._leave()
        except Interrupted as late:  # It came when the task had ended, on the way out.
            error = late
            self._leave()
        self.watch.finish(result, error)

    def _leave(self) -> None:
        """From here on no interrupt can come; one that is on its way is taken back."""
        with self._lock:
            self._state = _State.OVER
            if self._was_interrupted:
                clear_in_thread(self._thread_id)

    def _interrupt(self) -> None:
        with self._lock:
            if self._was_interrupted:
                return
            self._was_interrupted = True
            if self._state is _State.RUNNING:
                raise_in_thread(self._thread_id, Interrupted)
        if self._state is _State.WAITING:
            self.watch.end(None, Interrupted())

    def _insist(self) -> str | None:
        with self._lock:
            return where_is(self._thread_id) if self._state is _State.RUNNING else None


class _State(Enum):
    WAITING = auto()
    RUNNING = auto()
    OVER = auto()
