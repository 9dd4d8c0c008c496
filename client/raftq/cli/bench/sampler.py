"""Runs a module's `main` and notes where it uses CPU: `python -m …sampler FOLDER MODULE …`.

A timer of consumed CPU time interrupts the program; what one of its threads then does is one
sample, and each thread gets as many as it uses CPU. Time inside compiled code counts for the line
that called it. At the end `FOLDER/PID.folded` has one line for each stack, `outermost;…;innermost
COUNT`, which flame graph programs read.
"""

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

_EVERY_SECONDS: Final = 0.002


class Sampler:
    """Counts the stacks of this process's threads by CPU time."""

    def __init__(self) -> None:
        self._stacks: Counter[tuple[CodeType, ...]] = Counter()
        self._used: dict[int, int] = {}
        """The CPU nanoseconds of each thread at the last sample."""
        self._owed: Counter[int] = Counter()
        """What each thread used for which no sample was its own."""

    def start(self) -> None:
        """Begin to count."""
        signal.signal(signal.SIGPROF, self._note)
        threading.setprofile(_leave_to_main_thread)
        signal.setitimer(signal.ITIMER_PROF, _EVERY_SECONDS, _EVERY_SECONDS)

    def stop(self) -> None:
        """Count no more."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def folded(self) -> str:
        """Return one line for each stack."""
        counts: Counter[str] = Counter()
        for stack, count in self._stacks.items():
            counts[";".join(_name(code) for code in reversed(stack))] += count
        return "".join(f"{stack} {count}\n" for stack, count in counts.most_common())

    def _note(self, _signal: int, frame: FrameType | None) -> None:
        # Python runs this in the main thread, whichever thread it was that used the time.
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - documented in `sys`
        chosen = self._choose(frames)
        if chosen != threading.get_ident():
            frame = frames[chosen]
        codes: list[CodeType] = []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        self._stacks[tuple(codes)] += 1

    def _choose(self, threads: Iterable[int]) -> int:
        """Return whose sample this is: in the end each thread has its part of them.

        If it went to the one that used most of the time since the last sample, of threads that
        take turns the lesser one would leave no trace.
        """
        used = {each: time.clock_gettime_ns(time.pthread_getcpuclockid(each)) for each in threads}
        spent = {each: used[each] - self._used.get(each, 0) for each in used}
        self._owed = Counter({each: self._owed[each] + spent[each] for each in used})
        self._used = used
        chosen = max(used, key=lambda each: self._owed[each])
        self._owed[chosen] -= sum(spent.values())
        return chosen


def _leave_to_main_thread(*_: object) -> None:
    """Let the timer interrupt the main thread, where alone Python handles it; runs in each other.

    A main thread that waits would not be woken by a signal that another thread has got.
    """
    sys.setprofile(None)  # Once is enough.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])


def _name(code: CodeType) -> str:
    """Return where code is, from its package on, and its name."""
    parts = Path(code.co_filename).parts
    for root in ("raftq", "site-packages"):
        if root in parts:
            first = len(parts) - 1 - parts[::-1].index(root)
            parts = parts[first + (root == "site-packages") :]
            break
    else:
        parts = parts[-2:]
    return f"{'/'.join(parts)}:{code.co_qualname}"


def main() -> None:
    """Run the program that the command line names."""
    folder, name, *arguments = sys.argv[1:]
    module = import_module(name)  # Not sampled: imports happen once, and would bury short runs.
    sampler = Sampler()
    sys.argv = [name, *arguments]
    sampler.start()
    try:
        module.main()
    finally:
        sampler.stop()
        Path(folder, f"{os.getpid()}.folded").write_text(sampler.folded())


if __name__ == "__main__":
    main()
