"""The parent of worker processes: starts them, restarts what dies, passes signals on.

The first SIGTERM or SIGINT has the processes lease no more and let runs end; the second has them
give everything back at once; the third kills them. It reaps orphans, too, for it may be process 1
of a container.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Final

from raftq.worker.supervision import link
from raftq.worker.supervision.child import WorkerProcess
from raftq.worker.supervision.settings import Settings

_log = logging.getLogger(__name__)
_BACKOFF_SECONDS: Final = 0.5
_BACKOFF_MAX_SECONDS: Final = 30.0
_WELL_SECONDS: Final = 60.0
"""A process that lived so long is restarted as if it were the first time."""
_LOOK_SECONDS: Final = 5.0
_SILENT_SECONDS: Final = 60.0
"""A process that shows no life for so long is killed; and for no less than two leases, so that
whatever it holds has run out by then."""


class Supervisor:
    """Keeps worker processes running until it is told to stop.

    Args:
        settings: Of each process.
        processes: How many.
        waits_for_changes: Whether a process that cannot work is kept down until `restart`.
    """

    def __init__(self, settings: Settings, processes: int, waits_for_changes: bool = False) -> None:
        self._settings = settings
        self._waits_for_changes = waits_for_changes
        self._places = [
            WorkerProcess(number, settings, self._start_rest) for number in range(1, processes + 1)
        ]
        self._backoffs = {place.number: _BACKOFF_SECONDS for place in self._places}
        self._starts: dict[int, asyncio.TimerHandle] = {}
        """Restarts that are due later."""
        self._signals = 0
        self._code = link.EXIT_STOPPED
        self._finished = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []

    async def run(self) -> int:
        """Run until everything has stopped and return the exit code."""
        loop = asyncio.get_running_loop()
        handled = (signal.SIGTERM, signal.SIGINT)
        for number in handled:
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGCHLD, self._on_child)
        looking = asyncio.create_task(self._look_for_life())
        try:
            self._start(self._places[0])
            await self._finished.wait()
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            for timer in (*self._timers, *self._starts.values()):
                timer.cancel()
            for number in (*handled, signal.SIGCHLD):
                loop.remove_signal_handler(number)
        return self._code

    # ------------------------------------------------------------ ending

    def stop(self) -> None:
        """Let runs end; again: give everything back; again: kill."""
        self._signals += 1
        if self._signals == 1:
            _log.info("worker_stops", extra={"advice": "a second signal gives everything back"})
            self._drain()
        elif self._signals == 2:
            _log.warning("worker_gives_back", extra={"advice": "a third signal kills"})
            self._tell_all(link.STOP)
        else:
            self._kill_all()

    def _drain(self) -> None:
        for timer in self._starts.values():
            timer.cancel()
        self._starts.clear()
        self._tell_all(link.DRAIN)
        patience = self._settings.drain_seconds + link.EXTRA_SECONDS
        self._timers.append(asyncio.get_running_loop().call_later(patience, self._kill_all))
        self._finish_if_over()

    def _tell_all(self, word: bytes) -> None:
        for place in self._places:
            place.tell(word)

    def _kill_all(self) -> None:
        for place in self._places:
            if place.is_running:
                _log.error("worker_process_killed", extra=_facts(place))
                place.kill()

    @property
    def _is_stopping(self) -> bool:
        return self._signals > 0

    def _finish_if_over(self) -> None:
        if self._is_stopping and not any(place.is_running for place in self._places):
            self._finished.set()

    # ------------------------------------------------------------ processes that end

    def _on_child(self) -> None:
        for place in self._places:
            facts = _facts(place)
            code = place.poll()
            if code is not None:
                self._on_ended(place, code, {**facts, "code": code})
        _reap_orphans([place.pid for place in self._places])

    def _on_ended(self, place: WorkerProcess, code: int, facts: dict[str, object]) -> None:
        if self._is_stopping:
            if code not in (link.EXIT_STOPPED, link.EXIT_RECYCLE):
                self._code = self._code or (code if code > 0 else link.EXIT_FAILED)
            self._finish_if_over()
        elif code in link.EXITS_FOR_GOOD and not any(each.is_ready for each in self._places):
            self._on_misfit(code)
        elif place.was_told_to_end or code == link.EXIT_RECYCLE:
            _log.info("worker_process_replaced", extra=facts)
            self._start(place)
        else:
            self._restart_later(place, facts)

    def _on_misfit(self, code: int) -> None:
        """A process says that it can never work, and so will the others: nothing is left to do."""
        if self._waits_for_changes:
            _log.warning("worker_waits", extra={"advice": "it is tried again when a file changes"})
            return
        self._code = code
        self._signals = max(self._signals, 1)
        self._drain()

    def _restart_later(self, place: WorkerProcess, facts: dict[str, object]) -> None:
        if time.monotonic() - place.started_at > _WELL_SECONDS:
            self._backoffs[place.number] = _BACKOFF_SECONDS
        pause = self._backoffs[place.number]
        self._backoffs[place.number] = min(2 * pause, _BACKOFF_MAX_SECONDS)
        _log.error("worker_process_died", extra={**facts, "restart_in_seconds": pause})
        loop = asyncio.get_running_loop()
        self._starts[place.number] = loop.call_later(pause, self._start, place)

    def _start_rest(self) -> None:
        """One process can work, so start the others: of a mistake one tells, and not each."""
        for place in self._places:
            if not place.is_running and place.number not in self._starts:
                self._start(place)

    def _start(self, place: WorkerProcess) -> None:
        self._starts.pop(place.number, None)
        if self._is_stopping:
            return
        try:
            place.start()
        except OSError as error:  # No more processes, files or memory just now.
            self._restart_later(place, {"number": place.number, "error": str(error)})

    def restart(self, drain_seconds: float) -> None:
        """Replace every process, because the code has changed.

        Args:
            drain_seconds: How long runs may take to end; then they are given back.
        """
        for place in self._places:
            if place.is_running:
                place.tell(link.DRAIN)
                loop = asyncio.get_running_loop()
                timer = loop.call_later(drain_seconds, self._hurry, place, place.pid)
                self._timers = [
                    *(each for each in self._timers if each.when() > loop.time()),
                    timer,
                ]
            elif place is self._places[0] and place.number not in self._starts:
                self._start(place)

    def _hurry(self, place: WorkerProcess, pid: int | None) -> None:
        if place.pid == pid:
            place.tell(link.STOP)

    # ------------------------------------------------------------ processes that hang

    async def _look_for_life(self) -> None:
        """Kill a process whose loop does not turn: code that holds the interpreter's lock stops
        heartbeats and signals alike, and its leases have run out by now."""
        limit = max(_SILENT_SECONDS, 2 * self._settings.lease_seconds)
        while True:
            began = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            was_stopped = now - began > 2 * _LOOK_SECONDS
            for place in self._places:
                if place.heard_at is None:
                    continue
                if was_stopped:
                    place.heard_at = now  # This process slept, too: nobody could be heard.
                elif now - place.heard_at > limit:
                    _log.error("worker_process_silent", extra=_facts(place))
                    place.kill()


def _facts(place: WorkerProcess) -> dict[str, object]:
    return {"number": place.number, "pid": place.pid}


def _reap_orphans(ours: Sequence[int | None]) -> None:
    """Reap what has ended and is nobody's: process 1 of a container inherits such processes."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in ours:
            return
        os.waitpid(found.si_pid, 0)


async def supervise(settings: Settings, processes: int) -> int:
    """Run worker processes until a signal ends them; return the exit code."""
    return await Supervisor(settings, processes).run()
