"""Waiting for tasks to finish, by asking.

The cluster has no call that waits for an outcome, so the pauses between two questions grow with the
time that has passed: a fifth of it, from 5 to 500 ms. Of many tasks a window is asked at a time.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable
from typing import Final, TypeAlias

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration, seconds
from raftq.protocol.errors import UnavailableError, UnknownTask
from raftq.protocol.messages import TaskState, TaskStatus
from raftq.worker.connections import ClusterAccess

Ending: TypeAlias = TaskStatus | UnknownTask
"""How a task ended, or that the cluster does not know it (any more)."""
ENDED: Final = frozenset({TaskState.DONE, TaskState.DEAD, TaskState.CANCELLED, TaskState.EXPIRED})
_WINDOW: Final = 100
"""Tasks asked about at a time."""
_PAUSE_SECONDS_PER_TASK: Final = 0.001
"""Bounds how many questions a wait for many tasks puts to the cluster."""
_PAUSE_SECONDS_MIN: Final = 0.005
_PAUSE_SECONDS_MAX: Final = 0.5
_CALL_SECONDS_MIN: Final = 1.0
"""What one question may take at least, so that a wait of no length gets an answer."""
_CALL_SECONDS_MAX: Final = 10.0


def patience(access: ClusterAccess, timeout: Duration | None) -> float | None:
    """Return the seconds that a wait may take: none where no task goes on by itself."""
    if not access.is_live:
        return 0.0
    return None if timeout is None else seconds(timeout)


class Waiting:
    """Waits for tasks, on whatever loop its `next` is called.

    Args:
        ids: The tasks.
        timeout: Seconds from now; None is for ever.
    """

    def __init__(self, ids: Iterable[bytes], timeout: float | None) -> None:
        self.pending: Final = deque(dict.fromkeys(ids))
        """Tasks that were not seen to have ended; those that were asked last are last."""
        self.last_state: TaskState | None = None
        """Of the task that was asked last."""
        self._pause_seconds = 0.0
        self._began_at = time.monotonic()
        self._deadline = None if timeout is None else self._began_at + timeout

    async def next(self, client: AsyncClient) -> list[tuple[bytes, Ending]]:
        """Return tasks that have ended, at least one; nothing once all have been returned.

        Raises:
            TimeoutError: None ended in time.
            UnavailableError: The same, and the cluster did not answer at the end.
            RequestError: The cluster refuses the question, like `Forbidden`.
        """
        while self.pending:
            await asyncio.sleep(self._pause_seconds)
            window = [self.pending.popleft() for _ in range(min(_WINDOW, len(self.pending)))]
            answers = await asyncio.gather(*(self._ask(client, each) for each in window))
            ended: list[tuple[bytes, Ending]] = []
            problem: UnavailableError | None = None
            for task_id, answer in zip(window, answers, strict=True):
                if isinstance(answer, TaskStatus | UnknownTask):
                    ended.append((task_id, answer))
                else:
                    self.pending.append(task_id)
                    problem = problem or answer
            if ended:
                # Others of this window are asked again soon, but not as fast as they answer.
                self._pause_seconds = (len(window) - len(ended)) * _PAUSE_SECONDS_PER_TASK
                return ended
            self._pause_seconds = self._pause(len(window), problem)
        return []

    async def _ask(self, client: AsyncClient, task_id: bytes) -> Ending | UnavailableError | None:
        """Return how a task ended; None if it goes on, or why nobody can tell."""
        left = _CALL_SECONDS_MAX if self._deadline is None else self._deadline - time.monotonic()
        timeout = min(max(left, _CALL_SECONDS_MIN), _CALL_SECONDS_MAX)
        try:
            status = await client.task(task_id, timeout=timeout)
        except (UnknownTask, UnavailableError) as error:
            return error  # An unavailable cluster may come back before the deadline.
        self.last_state = status.state
        return status if status.state in ENDED else None

    def _pause(self, asked: int, problem: UnavailableError | None) -> float:
        """Return how long to wait after a window of which nothing had ended."""
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            raise problem or TimeoutError
        pause = asked * _PAUSE_SECONDS_PER_TASK
        if asked == len(self.pending):  # Else there are others that have waited longer.
            pause = max(pause, min((now - self._began_at) / 5, _PAUSE_SECONDS_MAX))
        pause = max(pause, _PAUSE_SECONDS_MIN) * (0.75 + random.random() / 2)
        return pause if self._deadline is None else min(pause, self._deadline - now)
