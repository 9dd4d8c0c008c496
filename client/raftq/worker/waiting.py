"""Waiting for tasks to be over.

Each task is waited for with a call that the cluster answers when the task is over, so an outcome
arrives as soon as it is there. Of many tasks a window is asked about at a time, and for a moment
only: those behind may have ended long ago.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Final, TypeAlias

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration, seconds
from raftq.client.parts.reading import OVER
from raftq.protocol.errors import UnavailableError, UnknownTask
from raftq.protocol.fields import TaskState
from raftq.protocol.statuses import TaskStatus
from raftq.worker.connections import ClusterAccess

Ending: TypeAlias = TaskStatus | UnknownTask
"""How a task ended, or that the cluster does not know it (any more)."""
_WINDOW: Final = 50
"""Tasks asked about at a time at first. A question costs a node least if the task has ended when it
comes, and where tasks end one after the other, those behind a small window often have."""
_WINDOW_MAX: Final = 800
"""The same when tasks go on for so long that others must have their turn."""
_WAIT_SECONDS: Final = 20.0
"""How long one question may wait at a node if all tasks are asked about."""
_TURN_SECONDS: Final = 1.0
"""The same if others wait for their turn."""
_PAUSE_SECONDS: Final = 0.1
"""After a node that could not say anything, so that it is not asked all the time."""
_CALL_SECONDS_MIN: Final = 1.0
"""What one question may take at least, so that a wait of no length gets an answer."""
_CALL_SECONDS_MAX: Final = 10.0


def patience(access: ClusterAccess, timeout: Duration | None) -> float | None:
    """Return the seconds that a wait may take: none where no task goes on by itself."""
    if not access.is_live:
        return 0.0
    return None if timeout is None else seconds(timeout)


class Waiting:
    """Waits for tasks; `close` it.

    Args:
        ids: The tasks.
        timeout: Seconds from now; None is for ever.
    """

    def __init__(self, ids: Iterable[bytes], timeout: float | None) -> None:
        self._next: Final = deque(dict.fromkeys(ids))
        """Tasks that are to be asked about; those that were asked last are last."""
        self._asking: Final[dict[asyncio.Task[_Answer], bytes]] = {}
        self._window = _WINDOW
        self._answered: list[asyncio.Task[_Answer]] = []
        self._is_answered = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.last_state: TaskState | None = None
        """Of the task that was heard of last."""
        self._deadline = None if timeout is None else time.monotonic() + timeout

    @property
    def pending(self) -> list[bytes]:
        """The tasks that were not seen to have ended."""
        return [*self._asking.values(), *self._next]

    @property
    def is_asking(self) -> bool:
        """Whether there are questions that must be taken back with `close`."""
        return bool(self._asking)

    async def next(self, client: AsyncClient) -> list[tuple[bytes, Ending]]:
        """Return tasks that have ended, at least one; nothing once all have been returned.

        Raises:
            TimeoutError: None ended in time.
            UnavailableError: The same, and the cluster did not answer at the end.
            RequestError: The cluster refuses the question, like `Forbidden`.
        """
        self._enter_loop()
        problem: UnavailableError | None = None
        while self._asking or self._next:
            ended: list[tuple[bytes, Ending]] = []
            for task_id, answer in await self._answers(client):
                if isinstance(answer, TaskStatus | UnknownTask):
                    ended.append((task_id, answer))
                else:
                    self._next.append(task_id)
                    self._window = min(2 * self._window, _WINDOW_MAX)
                    problem = answer
            if ended:
                return ended
            if self._deadline is not None and time.monotonic() >= self._deadline:
                raise problem or TimeoutError
        return []

    async def _answers(self, client: AsyncClient) -> "list[tuple[bytes, _Answer]]":
        """Ask about the tasks whose turn it is, and return the answers that came first."""
        if not self._asking and len(self._next) == 1:
            # Asked here and now: a task of the loop for the question cost 8 of the client's 83 us
            # of a round trip. Until it is answered the task stays where a cancelled wait leaves it.
            answer = await self._answer(client, self._next[0], self._left(_WAIT_SECONDS))
            return [(self._next.popleft(), answer)]
        self._ask(client)
        await self._is_answered.wait()
        self._is_answered.clear()
        answered, self._answered = self._answered, []
        return [(self._asking.pop(task), task.result()) for task in answered]

    def _enter_loop(self) -> None:
        """Forget the questions of a loop that was left: an App that was closed has another one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._next.extendleft(self._asking.values())
            self._asking.clear()
            self._answered.clear()
            self._is_answered = asyncio.Event()
            self._loop = loop

    def _ask(self, client: AsyncClient) -> None:
        """Ask about as many tasks as the window has room for."""
        count = min(self._window - len(self._asking), len(self._next))
        is_all = count == len(self._next)
        for _ in range(count):
            task_id = self._next.popleft()
            wait = self._left(_WAIT_SECONDS if is_all else _TURN_SECONDS)
            asking = asyncio.create_task(self._answer(client, task_id, wait))
            self._asking[asking] = task_id
            asking.add_done_callback(self._on_answer)

    def _on_answer(self, asking: "asyncio.Task[_Answer]") -> None:
        # Noted one by one: `asyncio.wait` would look at all 500 of a window for each of them.
        if asking in self._asking:
            self._answered.append(asking)
            self._is_answered.set()

    def _left(self, at_most: float) -> float:
        """Return how long a wait may go on from now."""
        if self._deadline is None:
            return at_most
        return min(max(self._deadline - time.monotonic(), 0.0), at_most)

    async def _answer(self, client: AsyncClient, task_id: bytes, wait: float) -> "_Answer":
        """Return how a task ended; None if it goes on, or why nobody can tell."""
        timeout = max(self._left(_CALL_SECONDS_MAX), _CALL_SECONDS_MIN)
        asked_at = time.monotonic()
        try:
            status = await client.result(task_id, wait=wait, timeout=timeout)
        except UnknownTask as error:
            return error
        except UnavailableError as error:  # The cluster may come back before the deadline.
            await asyncio.sleep(self._left(_PAUSE_SECONDS))
            return error
        self.last_state = status.state
        if status.state in OVER:
            return status
        if time.monotonic() < asked_at + wait:  # It did not wait, as it was asked to.
            await asyncio.sleep(self._left(_PAUSE_SECONDS))
        return None

    async def close(self) -> None:
        """Wait for nothing any more; harmless when repeated."""
        self._enter_loop()
        asking = list(self._asking)
        self._asking.clear()
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)


_Answer: TypeAlias = Ending | UnavailableError | None
