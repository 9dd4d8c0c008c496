"""Tasks that are to have a process of their own: CPU work, and code that may not come back.

Child processes are started when they are needed and then kept, until they have run as many tasks
as they may or take too much memory. At its time limit a run gets SIGTERM, which raises an exception
in it, then SIGKILL. A child that dies by itself is a crash of the run, not a failure.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from raftq.worker.endings import GiveBack, RunCrashed
from raftq.worker.errors import RunFailed
from raftq.worker.executors import frames
from raftq.worker.executors.crossing import Crossing
from raftq.worker.executors.watch import GRACE_SECONDS, Interrupted, Watch, limit_seconds
from raftq.worker.logs import Level, Style
from raftq.worker.run import Run
from raftq.worker.task import Invocation

_START_SECONDS: Final = 60.0
"""How long a child may take to import the App."""
_END_SECONDS: Final = 2.0
"""How long a child that has nothing to do may take to end."""
_LAST_WORDS_SECONDS: Final = 0.2
"""How long what a child has written may be on its way when the child has ended."""


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """How child processes are started, and when they are replaced."""

    target: str
    """The App, as `module:name`."""
    tasks_max: int | None = None
    """Tasks after which a child is replaced."""
    memory_max_bytes: int | None = None
    """Memory above which a child is replaced when its run has ended."""
    log_level: Level = "info"
    log_style: Style = "auto"


class ProcessExecutor:
    """Runs tasks in child processes. Use it in `async with`.

    Args:
        here: The way into the worker's loop.
        size: The most children; further runs wait for one, and their time does not run meanwhile.
        options: Of the children.
        grace_seconds: How long a run may take to end after SIGTERM.
    """

    def __init__(
        self,
        here: Crossing,
        size: int,
        options: ChildOptions,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._here = here
        self._options = options
        self._grace_seconds = grace_seconds
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Child] = []
        self._ending: set[asyncio.Task[None]] = set()
        self.started_total = 0

    async def __aenter__(self) -> "ProcessExecutor":
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all children, which have nothing to do."""
        for child in self._idle:
            self._retire(child)
        self._idle.clear()
        if self._ending:
            await asyncio.wait(self._ending)

    async def run(self, run: Run, invocation: Invocation) -> bytes | None:
        """Run a task; see `Watch.ended` for what it raises.

        Raises:
            RunCrashed: The child died.
            GiveBack: No child can be started.
        """
        async with self._slots:
            child = await self._take()
            try:
                return await child.run(run, invocation, self._here, self._grace_seconds)
            finally:
                if child.is_spent(self._options):
                    self._retire(child)
                else:
                    self._idle.append(child)

    async def _take(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            if not child.is_over:
                return child
            self._retire(child)
        self.started_total += 1
        child = _Child()
        try:
            await child.start(self._options)
        except asyncio.CancelledError:
            self._retire(child)
            raise
        except (OSError, RunCrashed, TimeoutError) as error:
            self._retire(child)
            reason = str(error) or "it takes too long to start"
            raise GiveBack(f"no child process can be started: {reason}", is_over=True) from None
        return child

    def _retire(self, child: "_Child") -> None:
        task = asyncio.create_task(child.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Child:
    """One child process, as the worker sees it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._orders_fd: int | None = None
        self._reading: asyncio.Task[None] | None = None
        self._exiting: asyncio.Task[None] | None = None
        self._watch: Watch | None = None
        self._tasks = 0
        self._memory_bytes = 0
        self._was_ordered = False
        self.is_over = False
        """Whether it has ended, or is about to."""

    async def start(self, options: ChildOptions) -> None:
        """Start the process and wait until it has imported the App.

        Raises:
            OSError: The system can start no process.
            RunCrashed: It ended at once.
            TimeoutError: It took too long.
        """
        ours, its = socket.socketpair()
        its_orders, self._orders_fd = os.pipe()
        try:
            settings = {
                "target": options.target,
                "socket": its.fileno(),
                "orders": its_orders,
                "level": options.log_level,
                "style": options.log_style,
                "process": "child",
            }
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "raftq.worker.executors.child",
                json.dumps(settings),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(its.fileno(), its_orders),
            )
        finally:
            its.close()
            os.close(its_orders)
        self._exiting = asyncio.create_task(self._feed_end(self._process, reader))
        ready = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(reader, ready.set_result))
        async with asyncio.timeout(_START_SECONDS):
            await asyncio.wait([ready, self._reading], return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            raise RunCrashed(await self._how_it_ended())

    async def run(
        self, run: Run, invocation: Invocation, here: Crossing, grace_seconds: float
    ) -> bytes | None:
        """Run a task in this process."""
        watch = Watch(
            here, run, limit_seconds(invocation), grace_seconds, self._interrupt, self._insist
        )
        self._watch = watch
        self._tasks += 1
        assert self._writer is not None
        job = frames.Job(run.payload, run.task_id, run.queue, run.token, run.attempt)
        self._writer.write(frames.frame(job))
        watch.begin()
        if self.is_over:
            watch.end(None, RunCrashed("the child process ended before the run began"))
        try:
            return await watch.ended()
        finally:
            self._watch = None

    def is_spent(self, options: ChildOptions) -> bool:
        """Return whether it must be replaced."""
        tasks, memory = options.tasks_max, options.memory_max_bytes
        return (
            self.is_over
            or self._was_ordered
            or (tasks is not None and self._tasks >= tasks)
            or (memory is not None and self._memory_bytes > memory)
        )

    async def end(self) -> None:
        """Let it end, or kill it."""
        self.is_over = True
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._kill()
                await self._process.wait()
        if self._orders_fd is not None:
            os.close(self._orders_fd)
            self._orders_fd = None
        tasks = [each for each in (self._reading, self._exiting) if each is not None]
        if tasks:
            await asyncio.wait(tasks)

    # ------------------------------------------------------------ while it runs

    async def _read(self, reader: asyncio.StreamReader, on_ready: Callable[[None], None]) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = frames.LENGTH.unpack(await reader.readexactly(frames.LENGTH.size))
                match frames.answer(await reader.readexactly(size)):
                    case frames.Ready():
                        on_ready(None)
                    case frames.Extended(seconds=seconds):
                        if self._watch is not None:
                            self._watch.extend(seconds)
                    case frames.Told(progress=progress):
                        if self._watch is not None:
                            self._watch.tell(progress)
                    case frames.Ended() as ended:
                        self._memory_bytes = ended.memory_bytes
                        self._take_follow_ups(ended)
                        self._end_run(ended.result, _failure(ended.failure))
        self.is_over = True
        how = await self._how_it_ended()
        self._end_run(None, Interrupted() if self._was_ordered else RunCrashed(how))

    async def _feed_end(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader
    ) -> None:
        """End the stream when the process has ended: what a task forked may keep it open."""
        await process.wait()
        await asyncio.sleep(_LAST_WORDS_SECONDS)
        reader.feed_eof()

    def _take_follow_ups(self, ended: frames.Ended) -> None:
        if self._watch is not None:
            self._watch.follow_up(ended.follow_ups)

    def _end_run(self, result: bytes | None, error: BaseException | None) -> None:
        if self._watch is not None:
            self._watch.end(result, error)

    def _interrupt(self) -> None:
        self._was_ordered = True
        if self._orders_fd is not None:
            with suppress(OSError):
                os.write(self._orders_fd, frames.END_ORDER)

    def _insist(self) -> None:
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _how_it_ended(self) -> str:
        """Wait for the process's end and return what is known about it."""
        assert self._process is not None
        try:
            async with asyncio.timeout(_END_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            self._kill()
            code = await self._process.wait()
        if code >= 0:
            return f"child process {self._process.pid} ended with code {code}"
        text = f"child process {self._process.pid} was ended by {signal.Signals(-code).name}"
        hint = "; did it run out of memory?" if code == -signal.SIGKILL else ""
        return text + hint


def _failure(failure: frames.Failure | None) -> RunFailed | None:
    if failure is None:
        return None
    return RunFailed(failure.text, failure.delay_ms, failure.is_final)
