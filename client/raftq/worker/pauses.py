"""The pause before a retry that only the App asks for: computed by the worker that failed.

What a task says of its own, and what a queue was told, the cluster computes. The App's default is
not told to the cluster with each task, because a task that says nothing special takes less memory
there.
"""

import random

from raftq.protocol.fields import BackoffKind
from raftq.protocol.options import Backoff

_DOUBLINGS_MAX = 40
"""More would only make a number that is cut to the longest pause all the same."""


def pause_ms(backoff: Backoff, attempt: int, chance: float | None = None) -> int:
    """Return the pause before the next attempt.

    Args:
        backoff: How pauses grow.
        attempt: Which one has failed, from 1.
        chance: From 0 to 1, how much of the jitter is taken away; drawn unless given.
    """
    match backoff.kind:
        case BackoffKind.FIXED:
            pause = backoff.base_ms
        case BackoffKind.LINEAR:
            pause = backoff.base_ms * attempt
        case BackoffKind.EXPONENTIAL:
            pause = backoff.base_ms << min(attempt - 1, _DOUBLINGS_MAX)
    pause = min(pause, backoff.max_ms)
    part = random.random() if chance is None else chance
    return pause - int(pause * backoff.jitter_percent / 100 * part)
