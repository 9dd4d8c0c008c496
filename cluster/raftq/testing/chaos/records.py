"""A history that survives its client: written to a file at each call, read back by the run.

Every call is written when it begins, and again when it ends; the last line of a number counts. The
kernel keeps what a killed process has written, so a call that was cut short is there as one that
never ended. All clients read one clock, CLOCK_MONOTONIC of the machine.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from raftq.protocol.calls import Call
from raftq.protocol.replies import Reply
from raftq.testing.history import History, Operation, dump_history, load_history


def now_ms() -> float:
    """Return the clock of the run, which all its processes share."""
    return time.monotonic() * 1_000


class WrittenHistory(History):
    """A history that is also written to a file, call by call.

    Args:
        path: The file; it must not exist.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(now_ms)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
        self._file = os.open(path, flags, 0o600)

    def invoke(self, client: str, call: Call) -> Operation:
        """Record that a client begins a call, in the file, too."""
        operation = super().invoke(client, call)
        self._write(operation)
        return operation

    def ok(self, operation: Operation, reply: Reply) -> None:
        """Record the reply of a call, in the file, too."""
        super().ok(operation, reply)
        self._write(operation)

    def fail(self, operation: Operation, error: BaseException) -> None:
        """Record the error that a call ended with, in the file, too."""
        super().fail(operation, error)
        self._write(operation)

    def _write(self, operation: Operation) -> None:
        os.write(self._file, b"".join(dump_history([operation])))


def read_histories(paths: Iterable[Path]) -> History:
    """Return the histories of several clients as one, in the order of invocation.

    A last line without its end, of a client that died while it wrote, is left out: its call had
    been written when it began.
    """
    operations: list[Operation] = []
    for path in paths:
        lines = path.read_bytes().split(b"\n")[:-1]
        latest = {each.number: each for each in load_history(lines)}
        operations += latest.values()
    operations.sort(key=lambda each: each.invoked_at_ms)
    history = History(now_ms)
    for number, operation in enumerate(operations):
        history.operations.append(msgspec.structs.replace(operation, number=number))
    return history
