"""Every error a caller can meet, grouped by what the caller can do about it.

The `code` of each class is stable and append-only: it is what travels on the wire. `facts` carries
numbers and names (`retry_after_ms`, `path`, `offset`), never only the text.
"""

from collections.abc import Mapping
from typing import ClassVar, Final, TypeAlias

Fact: TypeAlias = int | str | None


class RaftqError(Exception):
    """Base of all errors of raftq.

    Args:
        message: What was wrong, what was expected, what to do.
        facts: Values that a program may want; they travel with the error.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, /, **facts: Fact) -> None:
        super().__init__(message)
        self.message: Final = message
        self.facts: Final[Mapping[str, Fact]] = facts


class InternalError(RaftqError):
    """A bug in raftq; the node logged it."""


class RequestError(RaftqError):
    """The call is wrong; repeating it unchanged cannot help. Nothing happened."""


class InvalidRequest(RequestError):
    """A field is missing, unknown, of the wrong type or out of range."""

    code = "invalid_request"


class UnknownMethod(RequestError):
    """The method or path does not exist."""

    code = "unknown_method"


class UnsupportedVersion(RequestError):
    """The peer speaks a version that this side does not know."""

    code = "unsupported_version"


class UnknownTask(RequestError):
    """No such task, or it finished so long ago that it was forgotten."""

    code = "unknown_task"


class PayloadTooLarge(RequestError):
    """A payload, result or whole request is over its limit."""

    code = "payload_too_large"


class LeaseLost(RequestError):
    """The lease was superseded, settled or never existed; the task is no longer this caller's."""

    code = "lease_lost"


class TaskCancelled(LeaseLost):
    """The task was cancelled while this caller ran it: stop; its result is refused."""

    code = "cancelled"


class ForgottenTask(UnknownTask):
    """The task finished, and its outcome is not kept any more."""

    code = "forgotten_task"


class UnknownSchedule(RequestError):
    """There is no such schedule."""

    code = "unknown_schedule"


class Conflict(RequestError):
    """The same id was used before for something else, or what is asked contradicts what is."""

    code = "conflict"


class KeyTaken(Conflict):
    """Another live task has the unique key; the text names it."""

    code = "key_taken"


class EventsLost(RequestError):
    """This node does not keep events from so far back; read the present state, then go on."""

    code = "events_lost"


class Forbidden(RequestError):
    """The credentials do not allow this."""

    code = "forbidden"


class UnavailableError(RaftqError):
    """Nothing happened; try again, perhaps on another node."""


class NotLeader(UnavailableError):
    """This node is not the leader (any more); `leader` names it if known."""

    code = "not_leader"


class NoLeader(UnavailableError):
    """The cluster has no leader at the moment."""

    code = "no_leader"


class NotReady(UnavailableError):
    """The node is starting or catching up."""

    code = "not_ready"


class QueueFull(UnavailableError):
    """A quota is used up; acks still pass. `retry_after_ms` says when to try again."""

    code = "queue_full"


class RateLimited(UnavailableError):
    """Too many calls or connections; `retry_after_ms` says when to try again."""

    code = "rate_limited"


class DiskFull(UnavailableError):
    """The leader's disk is nearly full: enqueues are refused, acks still pass."""

    code = "disk_full"


class ShuttingDown(UnavailableError):
    """The node is draining; use another."""

    code = "shutting_down"


class OutcomeUnknown(RaftqError):
    """It may have happened. Retry only with the same task id, token or request id."""

    code = "outcome_unknown"


class CommitTimeout(OutcomeUnknown):
    """The deadline passed before the entry was committed or refused."""

    code = "commit_timeout"


class ConnectionLost(OutcomeUnknown):
    """The connection broke between the call and its answer."""

    code = "connection_lost"


class LeadershipLost(OutcomeUnknown):
    """The leader stepped down while the entry was in flight."""

    code = "leadership_lost"


class StorageError(RaftqError):
    """This node must stop: its disk cannot be trusted."""

    code = "storage"


class CorruptRecord(StorageError):
    """A stored record is damaged; `path` and `offset` say where."""

    code = "corrupt_record"


class UnsupportedFormat(StorageError):
    """The data folder was written by an unknown version, another cluster or another node."""

    code = "unsupported_format"


class DataDirLocked(StorageError):
    """Another process uses the data folder."""

    code = "data_dir_locked"


class SyncFailed(StorageError):
    """An fsync failed; it is never retried, because the kernel may have dropped the pages."""

    code = "sync_failed"


class RemovedFromCluster(StorageError):
    """This node was removed from the cluster; its data folder is of no use there any more."""

    code = "removed_from_cluster"


def _leaves(base: type[RaftqError]) -> dict[str, type[RaftqError]]:
    found = {base.code: base}
    for subclass in base.__subclasses__():
        found.update((code, cls) for code, cls in _leaves(subclass).items() if code not in found)
    return found


ERRORS_BY_CODE: Final[Mapping[str, type[RaftqError]]] = {
    **_leaves(RaftqError),
    InternalError.code: InternalError,
}


def error_from_code(code: str, message: str, facts: Mapping[str, Fact]) -> RaftqError:
    """Return the typed error for a code that came over the wire.

    An unknown code (from a newer server) becomes `InternalError` with the code in its facts.
    """
    cls = ERRORS_BY_CODE.get(code)
    if cls is None:
        return InternalError(message, **{**facts, "unknown_code": code})
    return cls(message, **facts)
