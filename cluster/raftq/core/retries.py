"""How long a task pauses before it is run again."""

from google_crc32c import value as crc32c

from raftq.core.task import Task
from raftq.protocol import limits
from raftq.protocol.fields import BackoffKind
from raftq.protocol.options import QueueSettings

_SHIFT_MAX = limits.BACKOFF_MS_MAX.bit_length()
"""A base that is doubled so often is over every bound."""


def pause_ms(task: Task, settings: QueueSettings) -> int:
    """Return the pause after the newest failure of a task, by its backoff or its queue's.

    The jitter follows from the task's id and the number of the failure.
    """
    own = None if task.extras is None else task.extras.options.backoff
    backoff = settings.backoff if own is None else own
    failures = max(task.failures, 1)
    match backoff.kind:
        case BackoffKind.FIXED:
            pause = backoff.base_ms
        case BackoffKind.LINEAR:
            pause = backoff.base_ms * failures
        case BackoffKind.EXPONENTIAL:
            pause = backoff.base_ms << min(failures - 1, _SHIFT_MAX)
    pause = min(pause, backoff.max_ms)
    away_max = pause * backoff.jitter_percent // 100
    return pause - crc32c(task.id + failures.to_bytes(4)) % (away_max + 1)
