"""The App of `raftq bench --framework`: tasks that do nothing, so that what is left is raftq's."""

from typing import Any, Final

from raftq.worker import App, Task

CALL_SECONDS: Final = 60.0
app: Final = App(timeout=CALL_SECONDS)


@app.task(queue="async")
async def nothing() -> None:
    """Do nothing, on a loop."""


@app.task(queue="sync")
def nothing_in_a_thread() -> None:
    """Do nothing, in a thread."""


TASKS: Final[dict[str, Task[[], Any]]] = {
    task.queue: task for task in (nothing, nothing_in_a_thread)
}
"""Queue → the task that waits in it."""
