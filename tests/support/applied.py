"""Applied entries with the events that a test wants, and who is told of them."""

import asyncio

from tests.support.server_bench import ServerBench

from raftq.core.applied import Applied, Event
from raftq.protocol.fields import TaskState

LEFT_SECONDS = 5.0
READY, LEASED, DONE = TaskState.READY, TaskState.LEASED, TaskState.DONE


def numbered(*numbers: int) -> list[bytes]:
    """Return task ids by number."""
    return [number.to_bytes(16) for number in numbers]


def applied(index: int, *events: tuple[TaskState, str, list[bytes]]) -> Applied:
    """Return what the entry of a log index did."""
    return Applied(index=index, wall_at_ms=1_000 * index, events=[Event(*each) for each in events])


def tell(bench: ServerBench, index: int, *numbers: int, queue: str = "q") -> None:
    """Let an entry make tasks ready."""
    bench.server.service.on_applied(applied(index, (READY, queue, numbered(*numbers))))


async def until_left(bench: ServerBench) -> None:
    """Wait until nobody is subscribed."""
    async with asyncio.timeout(LEFT_SECONDS):
        while len(bench.server.service.events):
            await asyncio.sleep(0.001)
