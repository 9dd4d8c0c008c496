"""A child process that runs tasks, one after the other: `python -m raftq.worker.executors.child`.

It ends when the worker closes the socket, and at once when the worker is gone. SIGTERM alone does
nothing, because whoever stops a group of processes means the worker, which decides when runs end;
an order of the worker comes with it.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

from raftq.protocol.options import NewTask
from raftq.worker.app import App
from raftq.worker.executors import frames
from raftq.worker.executors.watch import Interrupted, failed, limit_seconds, make_context
from raftq.worker.finding import load_app
from raftq.worker.logs import configure_logs
from raftq.worker.performing import perform
from raftq.worker.run import Run

_EXIT_ORPHANED: Final = 1


class Child:
    """Runs what the worker sends, on this process's main thread.

    Args:
        connection: To the worker.
        orders_fd: The pipe of the worker's orders.
    """

    def __init__(self, connection: socket.socket, orders_fd: int) -> None:
        self._connection = connection
        self._input = connection.makefile("rb")
        self._orders_fd = orders_fd
        self._sending = threading.Lock()
        self._is_running = False
        self.is_ending = False
        """Whether the worker ordered the end of the run; the process ends with it."""

    def listen(self) -> None:
        """Obey orders from now on."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, _ignore)
        threading.Thread(target=self._obey, name="raftq-orders", daemon=True).start()

    def serve(self, app: App) -> None:
        """Run tasks until there are no more."""
        self.send(frames.Ready())
        while not self.is_ending and (head := self._input.read(frames.LENGTH.size)):
            body = self._input.read(*frames.LENGTH.unpack(head))
            self.send(self._run(app, frames.job(body)))

    def send(self, answer: frames.Answer) -> None:
        """Tell the worker something; safe on any thread."""
        with self._sending, suppress(ConnectionError):
            self._connection.sendall(frames.frame(answer))

    def _run(self, app: App, job: frames.Job) -> frames.Ended:
        result: bytes | None = None
        failure: frames.Failure | None = None
        run = Run(job.task_id, job.queue, job.token, job.attempt, job.payload)
        try:
            self._is_running = True
            try:
                invocation = app.read(run.payload, run.queue)
                control = _Control(self, run, limit_seconds(invocation))
                result = perform(invocation, make_context(run, invocation, control))
            except BaseException as problem:
                failure = _failure(problem)
            self._is_running = False
        except Interrupted as late:  # It came when the task had ended, on the way out.
            failure = _failure(late)
        follow_ups = run.follow_ups if failure is None else []
        return frames.Ended(result, failure, memory_bytes(), follow_ups)

    def _obey(self) -> None:
        while os.read(self._orders_fd, 1):
            self.is_ending = True
            main = threading.main_thread().ident
            assert main is not None
            # Sent to the main thread, and not just handled there: it may wait in a system call.
            signal.pthread_kill(main, signal.SIGTERM)
        os._exit(_EXIT_ORPHANED)

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        if self.is_ending and self._is_running:
            self._is_running = False
            raise Interrupted


class _Control:
    """What a task in a child process can know and ask about its run."""

    def __init__(self, child: Child, run: Run, limit: float | None) -> None:
        self._child = child
        self._run = run
        self._deadline = None if limit is None else time.monotonic() + limit

    @property
    def deadline(self) -> float | None:
        """See RunControl."""
        return self._deadline

    @property
    def is_lost(self) -> bool:
        """See RunControl."""
        return self._child.is_ending

    @property
    def is_cancelled(self) -> bool:
        """See RunControl; a child that is ended is not told why."""
        return self._child.is_ending

    def tell(self, progress: bytes) -> None:
        """See RunControl."""
        self._child.send(frames.Told(progress))

    def follow_up(self, tasks: Sequence[tuple[str, NewTask]]) -> None:
        """See RunControl."""
        self._run.follow_up(tasks)

    def extend(self, seconds: float) -> None:
        """See RunControl."""
        self._deadline = time.monotonic() + seconds
        self._child.send(frames.Extended(seconds))


def _failure(error: BaseException) -> frames.Failure:
    told = failed(error)
    return frames.Failure(told.text, told.delay_ms, told.is_final)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Ignore a signal; unlike SIG_IGN, programs that a task starts do not inherit it."""


def memory_bytes() -> int:
    """Return this process's memory, or 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Serve the worker that started this process."""
    settings = json.loads(sys.argv[1])
    for fd in (settings["socket"], settings["orders"]):
        os.set_inheritable(fd, False)  # What a task starts must not keep them open.
    child = Child(socket.socket(fileno=settings["socket"]), settings["orders"])
    child.listen()
    configure_logs(settings["level"], settings["style"], settings["process"])
    app = load_app(settings["target"])
    child.serve(app)


if __name__ == "__main__":
    main()
