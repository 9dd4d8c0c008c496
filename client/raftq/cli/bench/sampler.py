"""Runs a module's `main` and notes where it uses CPU: `python -m …sampler FOLDER MODULE …`.

A timer of consumed CPU time interrupts the program; what its main thread then does is one sample.
Time inside compiled code counts for the line that called it. At the end `FOLDER/PID.folded` has
one line for each stack, `outermost;…;innermost COUNT`, which flame graph programs read.
"""

import os
import signal
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

_EVERY_SECONDS: Final = 0.002


class Sampler:
    """Counts the stacks of this process's main thread by CPU time."""

    def __init__(self) -> None:
        self._stacks: Counter[tuple[CodeType, ...]] = Counter()

    def start(self) -> None:
        """Begin to count."""
        signal.signal(signal.SIGPROF, self._note)
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
        codes: list[CodeType] = []
        while frame is not None:
            codes.append(frame.f_code)
            frame = frame.f_back
        self._stacks[tuple(codes)] += 1


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
