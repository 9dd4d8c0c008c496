"""How long a task pauses before it is run again."""

from google_crc32c import value as crc32c

from raftq.core.task import Task
from raftq.protocol import limits
from raftq.protocol.fields import BackoffKind
from raftq.protocol.options import QueueSettings

_SHIFT_MAX = limits.BACKOFF_MS_MAX.bit_length()
"""A base that is doubled so often is over every bound."""


def pause_ms(task: Task, settings: QueueSettings, number: int) -> int:
    """Return the pause after a failure or a crash of a task, by its backoff or its queue's.

    The jitter follows from the task's id and the number.

    Args:
        task: What is tried again.
        settings: Of its queue.
        number: How many failures there were, or crashes, with this one.
    """
    own = None if task.extras is None else task.extras.options.backoff
    backoff = settings.backoff if own is None else own
    match backoff.kind:
        case BackoffKind.FIXED:
            pause = backoff.base_ms
        case BackoffKind.LINEAR:
            pause = backoff.base_ms * number
        case BackoffKind.EXPONENTIAL:
            pause = backoff.base_ms << min(number - 1, _SHIFT_MAX)
    pause = min(pause, backoff.max_ms)
    away_max = pause * backoff.jitter_percent // 100
    return pause - crc32c(task.id + number.to_bytes(4)) % (away_max + 1)
