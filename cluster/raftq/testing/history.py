"""What clients saw: every call with its times, its outcome and its reply.

Times are milliseconds of one clock, the harness's, which never goes back: virtual time in a
simulation, one monotonic clock in a test of real processes. A call takes effect somewhere between
`invoked_at_ms` and `ended_at_ms`; one whose outcome is unknown may take effect at any time after
it was invoked, or never.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from raftq.protocol.calls import Call
from raftq.protocol.errors import RaftqError, RequestError, UnavailableError
from raftq.protocol.replies import Reply


class Outcome(StrEnum):
    """How a call ended, as far as its client knows."""

    OK = "ok"
    """There is a reply. Items of a settlement may still have been refused one by one."""
    REFUSED = "refused"
    """A request error: the call as a whole did nothing."""
    UNAVAILABLE = "unavailable"
    """The cluster could not serve it: it did nothing."""
    UNKNOWN = "unknown"
    """It may have happened, may still happen, or never will."""
    NEVER_ENDED = "never_ended"
    """The harness stopped, or the client died, before there was an answer."""


class Operation(Struct):
    """One call of one client. Filled in by `History`; read by the checks."""

    client: str
    number: int
    """Of the call in its history, from 0, in the order of invocation."""
    call: Call
    invoked_at_ms: float
    ended_at_ms: float | None = None
    outcome: Outcome = Outcome.NEVER_ENDED
    reply: Reply | None = None
    error_code: str = ""

    @property
    def may_have_happened(self) -> bool:
        """False only if the cluster said that nothing happened."""
        return self.outcome not in (Outcome.REFUSED, Outcome.UNAVAILABLE)

    def ended_before(self, other: "Operation") -> bool:
        """Return whether this call had ended when the other was invoked."""
        return self.ended_at_ms is not None and self.ended_at_ms < other.invoked_at_ms

    def __str__(self) -> str:
        ended = "…" if self.ended_at_ms is None else f"{self.ended_at_ms:g}"
        answer = self.error_code or self.reply or ""
        return (
            f"#{self.number} {self.client} [{self.invoked_at_ms:g}, {ended}] ms "
            f"{self.call!r:.300} -> {self.outcome} {answer!s:.300}".rstrip()
        )


class History:
    """All calls of a run, in the order in which they were invoked.

    Args:
        now_ms: The harness's clock.
    """

    def __init__(self, now_ms: Callable[[], float] = lambda: 0.0) -> None:
        self.now_ms = now_ms
        self.operations: list[Operation] = []

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def invoke(self, client: str, call: Call) -> Operation:
        """Record that a client begins a call; hand the result to `ok` or `fail` later."""
        operation = Operation(client, len(self.operations), call, self.now_ms())
        self.operations.append(operation)
        return operation

    def ok(self, operation: Operation, reply: Reply) -> None:
        """Record the reply of a call."""
        operation.ended_at_ms = self.now_ms()
        operation.outcome = Outcome.OK
        operation.reply = reply

    def fail(self, operation: Operation, error: BaseException) -> None:
        """Record the error that a call ended with. Whatever is not known to have done nothing
        (a broken connection, a cancelled wait, a bug) is an unknown outcome."""
        operation.ended_at_ms = self.now_ms()
        operation.error_code = error.code if isinstance(error, RaftqError) else type(error).__name__
        match error:
            case RequestError():
                operation.outcome = Outcome.REFUSED
            case UnavailableError():
                operation.outcome = Outcome.UNAVAILABLE
            case _:
                operation.outcome = Outcome.UNKNOWN


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Operation)


def dump_history(history: Iterable[Operation]) -> Iterator[bytes]:
    """Yield a history as JSON lines, each ending in a newline."""
    for operation in history:
        yield _encode(operation) + b"\n"


def load_history(lines: Iterable[bytes]) -> History:
    """Return the history that was dumped.

    Raises:
        msgspec.MsgspecError: A line is no operation.
    """
    history = History()
    history.operations.extend(_decoder.decode(line) for line in lines if line.strip())
    return history
