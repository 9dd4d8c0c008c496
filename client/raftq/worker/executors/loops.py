"""Tasks that are `async def`, on an event loop of their own.

The loop is not the worker's: code that blocks it delays the tasks on it, but no heartbeat, so that
their leases live and the worker can see what blocks, say so, and end it at its time limit.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from raftq.worker.executors.crossing import Crossing, Gathering
from raftq.worker.executors.interrupting import raise_in_thread, where_is
from raftq.worker.executors.watch import (
    GRACE_SECONDS,
    Interrupted,
    Watch,
    failed,
    limit_seconds,
    make_context,
)
from raftq.worker.performing import aperform
from raftq.worker.run import Run
from raftq.worker.task import Invocation

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 1.0
"""How often the loop is asked for a sign of life, and how long it may take to give one."""
_CLOSE_SECONDS: Final = 3.0
"""How long the loop may take to end."""


class LoopExecutor:
    """Runs tasks on a loop in a thread of its own. Use it in `async with`.

    Args:
        here: The way into the worker's loop.
        grace_seconds: How long code may take to end when it was cancelled.
        close: Called on the loop before it ends, to close what tasks share on it.
    """

    def __init__(
        self,
        here: Crossing,
        grace_seconds: float = GRACE_SECONDS,
        close: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._here = here
        self._grace_seconds = grace_seconds
        self._close = close
        self.loop: Final = asyncio.new_event_loop()
        there = Crossing(self.loop)
        self.there: Final = Gathering(asyncio.get_running_loop(), there)
        self.back: Final = Gathering(self.loop, here)
        self._thread = threading.Thread(target=self._work, name="raftq-loop", daemon=True)
        self._is_closing = False
        self._watchman: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "LoopExecutor":
        self._thread.start()
        self._watchman = asyncio.create_task(self._watch_loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the loop, unless a task that blocks it keeps it from ending."""
        if self._watchman is not None:
            self._watchman.cancel()
            await asyncio.wait([self._watchman])
        self._is_closing = True
        self.there.call(self.loop.stop)
        deadline = time.monotonic() + _CLOSE_SECONDS
        while self._thread.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.005)

    @property
    def thread_id(self) -> int:
        """Of the loop's thread."""
        return self._thread.ident or 0

    async def run(self, run: Run, invocation: Invocation) -> bytes | None:
        """Run a task; see `Watch.ended` for what it raises."""
        started = _LoopRun(self, self._here, run, invocation, self._grace_seconds)
        self.there.call(started.start)
        return await started.watch.ended()

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._is_closing:
            # An interrupt that came when its task had just yielded strikes the loop instead.
            with contextlib.suppress(Interrupted):
                self.loop.run_forever()
        with contextlib.suppress(Interrupted, RuntimeError, TimeoutError):
            _cancel_all(self.loop)
            if self._close is not None:
                self.loop.run_until_complete(asyncio.wait_for(self._close(), _LOOK_SECONDS))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    async def _watch_loop(self) -> None:
        """Say it when a task blocks the loop: once each time, with where it is."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            alive = asyncio.Event()
            self.there.call(partial(self._here.call, alive.set))
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await alive.wait()
            except TimeoutError:
                task = asyncio.current_task(self.loop)
                facts = {
                    "task_name": None if task is None else task.get_name(),
                    "advice": "a task that blocks belongs into a thread: make it a plain def",
                    "exception": where_is(self.thread_id),
                }
                _log.warning("loop_blocked", extra=facts)
                await alive.wait()


class _LoopRun:
    """One run on the loop."""

    def __init__(
        self,
        executor: LoopExecutor,
        here: Crossing,
        run: Run,
        invocation: Invocation,
        grace_seconds: float,
    ) -> None:
        self._executor = executor
        self.watch = Watch(
            here, run, limit_seconds(invocation), grace_seconds, self._interrupt, self._insist
        )
        self._context = make_context(run, invocation, self.watch)
        self._invocation = invocation
        self._task: asyncio.Task[bytes | None] | None = None
        self._was_interrupted = False
        self._was_insisted = False

    def start(self) -> None:
        """Begin the run; called on its loop."""
        if self._was_interrupted:
            self._finish(None, asyncio.CancelledError())
            return
        self.watch.begin()
        self._task = self._executor.loop.create_task(self._perform(), name=self._context.name)
        self._task.add_done_callback(self._on_ended)

    async def _perform(self) -> bytes | None:
        try:
            return await aperform(self._invocation, self._context)
        except BaseException as error:
            raise failed(error) from None

    def _on_ended(self, task: "asyncio.Task[bytes | None]") -> None:
        if task.cancelled():
            self._finish(None, asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._finish(None, error)
        else:
            self._finish(task.result(), None)

    def _finish(self, result: bytes | None, error: BaseException | None) -> None:
        self._executor.back.call(partial(self.watch.end, result, error))

    def _interrupt(self) -> None:
        self._was_interrupted = True
        self._executor.there.call(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _insist(self) -> str | None:
        """Interrupt code that blocks the loop; whoever only ignores cancellation is not stopped."""
        task, executor = self._task, self._executor
        if task is None or task.done():
            return None
        is_blocking = asyncio.current_task(executor.loop) is task
        if is_blocking and not self._was_insisted:
            self._was_insisted = True
            raise_in_thread(executor.thread_id, Interrupted)
            return None
        return where_is(executor.thread_id) if is_blocking else _where_waiting(task)


def _where_waiting(task: "asyncio.Task[bytes | None]") -> str:
    """Return where a task waits, down to the innermost coroutine, as a traceback."""
    text = "Traceback (most recent call last):\n"
    waiting: object = task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        code = frame.f_code
        text += f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n'
        waiting = getattr(waiting, "cr_await", None)
    return text


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what tasks left behind on the loop, and let it end."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=_LOOK_SECONDS))
