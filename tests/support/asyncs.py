"""Asynchronous test bodies: each runs in an event loop of its own, with a deadline."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

TEST_SECONDS = 60.0
P = ParamSpec("P")
T = TypeVar("T")


def asynchronous(body: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a coroutine function a test.

    An exception that nobody retrieved, or that a callback raised, fails the test.
    """

    @functools.wraps(body)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        unhandled: list[dict[str, Any]] = []

        async def run() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: unhandled.append(context))
            async with asyncio.timeout(TEST_SECONDS):
                await body(*args, **kwargs)

        asyncio.run(run())
        assert not unhandled, unhandled

    return test


async def within(seconds: float, waiting: Awaitable[T]) -> T:
    """Await something that must come in time."""
    async with asyncio.timeout(seconds):
        return await waiting


async def turns(count: int = 5) -> None:
    """Let everything that is ready now run, a few turns of the loop deep."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It did not in time.
    """
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
