"""One run of a function, from decoded arguments to the bytes of its result.

Executors call this where the function is to run: `aperform` on the loop, `perform` in a thread or a
child process. What it raises is the failure of the run.
"""

import inspect
from collections.abc import Generator
from contextlib import contextmanager

from raftq.worker.context import Context, running_as
from raftq.worker.hooks import entered
from raftq.worker.task import Invocation


def perform(invocation: Invocation, context: Context) -> bytes | None:
    """Run a `def` and return its result as bytes.

    Raises:
        Exception: The function's own, or that of a hook.
        InvalidArguments: The result cannot be stored.
        PayloadTooLarge: The result is more than the cluster keeps.
    """
    with _around(invocation, context):
        result = invocation.task.function(*invocation.args, **invocation.kwargs)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError(
                f"task {invocation.task.name!r} is a def that returned an awaitable; "
                "make it async def"
            )
    return invocation.task.encode_result(result)


async def aperform(invocation: Invocation, context: Context) -> bytes | None:
    """Run an `async def` and return its result as bytes; raises what `perform` does."""
    with _around(invocation, context):
        result = await invocation.task.function(*invocation.args, **invocation.kwargs)
    return invocation.task.encode_result(result)


@contextmanager
def _around(invocation: Invocation, context: Context) -> Generator[None]:
    """Make the context current and enter the hooks."""
    hooks = invocation.task.app.hooks
    with running_as(context), entered(each.running(context) for each in hooks):
        yield
