"""A simulated process: an asyncio event loop of its own on the world's clock.

Fault model, written down before the fake:

- Each process has a **monotonic clock** with an arbitrary start and a rate that is slightly off,
  and a **wall clock** with an error that can change in steps.
- A process runs in **turns**, like asyncio: what is ready at the beginning of a turn runs, what it
  makes ready runs in the next turn. A turn takes time; work that blocks it takes more.
- A **paused** process (SIGSTOP, a frozen virtual machine) runs no turn; what arrives is kept, and
  its clocks go on.
- A **killed** process never runs again, from the instruction at which it was killed: code that is
  in the middle of a turn meets `ProcessKilled` at its next file operation, and what it still sends
  goes nowhere.

There are no threads, no executors and no real sockets here; asking for one is an error.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Final, Protocol, TypeVarTuple

from raftq.testing.sim.world import WALL_AT_MS, World

Ts = TypeVarTuple("Ts")
TURN_SECONDS: Final = 20e-6
"""What each turn takes, at least."""
CLOCK_READ_SECONDS: Final = 5e-6
"""How far the clock moves when PySyncObj reads it, so that its loops that wait for it end."""
_CLOCK_READS_MAX: Final = 10_000
"""Reads in one turn that show that such a loop waits. Each message takes one or two, and when a
link comes back, more than a thousand arrive together."""


class ProcessKilled(BaseException):
    """Unwinds the code of a process that was killed in the middle of a turn."""


class Dialler(Protocol):
    """Connects asyncio protocols for a process."""

    async def connect_protocol(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]: ...


class Clock:
    """The clocks of one machine.

    Args:
        world: Whose time they follow.
        name: Of the machine; chooses their errors.
        drift: The greatest relative error of the monotonic clock.
    """

    def __init__(self, world: World, name: str, drift: float) -> None:
        chance = world.chance(f"clock {name}")
        self._world = world
        self.start = chance.uniform(100.0, 100_000.0)
        self.rate = 1.0 + chance.uniform(-drift, drift)
        self.wall_error_ms = chance.uniform(-20.0, 20.0)
        """How far the wall clock is ahead; change it to step the clock."""

    def monotonic(self) -> float:
        """Return seconds."""
        return self.start + self._world.now * self.rate

    def wall_ms(self) -> int:
        """Return milliseconds since 1970."""
        return int(WALL_AT_MS + self._world.now * 1_000 + self.wall_error_ms)


class Process(asyncio.AbstractEventLoop):
    """One process of one machine.

    Args:
        world: Where it lives.
        name: Of the process, for the trace.
        clock: Of its machine.
        network: Where it connects to others.
    """

    def __init__(self, world: World, name: str, clock: Clock, network: Dialler) -> None:
        self.world = world
        self.name = name
        self.clock = clock
        self.network = network
        self.is_alive = True
        self.is_paused = False
        self.on_error: Callable[[str], None] | None = None
        """Called with what no code of the process handled."""
        self._ready: deque[asyncio.Handle] = deque()
        self._never_run: list[asyncio.Handle] = []
        self._is_scheduled = False
        self._busy_until = 0.0
        self._spent = 0.0
        self._clock_reads = 0
        self._context = copy_context()
        """Shared by all callbacks: copying one for each would cost more than most of them."""
        world.processes.append(self)

    # ------------------------------------------------------------ life

    def pause(self) -> None:
        """Run no more turns until `resume`."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on with what has become ready."""
        self.is_paused = False
        self._schedule()

    def kill(self) -> None:
        """Never run again."""
        self.is_alive = False
        self._never_run += self._ready  # Their coroutines end when they are buried, not before.
        self._ready.clear()

    def spend(self, seconds: float) -> None:
        """Let the current turn take longer: the process is blocked."""
        self._spent += seconds

    def read_clock(self) -> float:
        """Return the monotonic clock, to code that may wait for it without returning."""
        self._spent += CLOCK_READ_SECONDS
        self._clock_reads += 1
        if self._clock_reads == _CLOCK_READS_MAX and self.on_error is not None:
            self.on_error(f"it read the clock {_CLOCK_READS_MAX} times in one turn: it spins")
        return self.time()

    def bury(self) -> None:
        """Close what is left of the coroutines, at a moment that does not depend on the garbage
        collector. Their `finally` blocks run, and reach nothing: the process is dead."""
        self.kill()
        for task in sorted(asyncio.all_tasks(self), key=lambda task: task.get_name()):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # asyncio's own switch; no public one
            coroutine = task.get_coro()
            try:
                asyncio._set_running_loop(self)
                assert isinstance(coroutine, Coroutine)
                coroutine.close()
            except BaseException:
                pass  # The code of a dead process may not know how to die.
            finally:
                asyncio._set_running_loop(None)

    # ------------------------------------------------------------ turns

    def _post(self, handle: asyncio.Handle) -> None:
        if self.is_alive:
            self._ready.append(handle)
            if not self._is_scheduled:
                self._schedule()

    def _schedule(self) -> None:
        if self._ready and not self._is_scheduled and self.is_alive and not self.is_paused:
            self._is_scheduled = True
            self.world.at(self._busy_until, self._turn)

    def _turn(self) -> None:
        """Run turns for as long as nothing else in the world is due in between."""
        self._is_scheduled = False
        world = self.world
        world.current = self
        asyncio._set_running_loop(self)
        try:
            while self.is_alive and not self.is_paused:
                self._run_ready()
                if not self._ready or not world.skip_to(self._busy_until):
                    break
        finally:
            asyncio._set_running_loop(None)
            world.current = None
        self._schedule()

    def _run_ready(self) -> None:
        ready = self._ready
        self._spent = TURN_SECONDS
        self._clock_reads = 0
        self._is_scheduled = True  # What becomes ready now belongs to the next turn.
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()
            if not self.is_alive:
                break
        self._is_scheduled = False
        self._busy_until = self.world.now + self._spent
        self._spent = 0.0

    # ------------------------------------------------------------ asyncio.AbstractEventLoop

    def time(self) -> float:
        """Return the monotonic clock; in a turn, what the turn took so far is added."""
        return self.clock.monotonic() + self._spent

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run a callback in the next turn."""
        handle = asyncio.Handle(callback, args, self, self._context if context is None else context)
        self._post(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback later."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback at an instant of this process's clock."""
        handle = asyncio.TimerHandle(
            when, callback, args, self, self._context if context is None else context
        )

        def fire() -> None:
            if not handle.cancelled():
                self._post(handle)

        self.world.at((when - self.clock.start) / self.clock.rate, fire)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by asyncio; a cancelled timer is skipped when it is due."""

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[Any]":
        """Start a task of this loop."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def is_running(self) -> bool:
        """Tell whether this process's code runs at this moment."""
        return self.world.current is self

    def is_closed(self) -> bool:
        """Tell whether the process is dead."""
        return not self.is_alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Called by asyncio with an error that nothing handled."""
        error = context.get("exception")
        if not self.is_alive or isinstance(error, ProcessKilled):
            return
        text = f"{context.get('message')}: {type(error).__name__}: {error}"
        self.world.note(f"{self.name} unhandled: {text}")
        if self.on_error is not None:
            self.on_error(text)

    async def create_connection(  # type: ignore[override]  # of the many forms, the one in use
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Connect a protocol, as the client does."""
        return await self.network.connect_protocol(protocol_factory, host, port)


def new_process(world: World, name: str, clock: Clock, network: Dialler) -> Process:
    """Return a new process; see `Process`."""
    return Process(world, name, clock, network)  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  # what is missing is not simulated
