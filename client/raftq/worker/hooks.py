"""What an App's owner can do around every enqueue and every run: `App(hooks=[…])`."""

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from uuid import UUID

from raftq.worker.context import Context


@dataclass(slots=True)
class Outgoing:
    """A task that is about to be enqueued; a hook may add headers."""

    task_id: UUID
    name: str
    """The task's name."""
    queue: str
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Hook:
    """Base of hooks: override what you need.

    Hooks are called in the order in which the App has them, and contexts are left in reverse.
    """

    def enqueuing(self, outgoing: Outgoing) -> None:
        """Called before a task is sent, on the caller's thread; must not block.

        What it raises, the caller of `enqueue` gets, and nothing is sent.
        """

    def sending(self, queue: str | None, count: int) -> AbstractContextManager[object]:
        """Return a context manager that is entered around the call that sends tasks.

        It is entered where the caller of `enqueue` is, and surrounds `enqueuing` too, unless the
        tasks were drafted before. It sees what the call raises, and cannot swallow it.

        Args:
            queue: Where they go; None if to several.
            count: How many they are.
        """
        del queue, count
        return nullcontext()

    def running(self, context: Context) -> AbstractContextManager[object]:
        """Return a context manager that is entered around the function, where it runs.

        For a task that is `async def` that is the event loop, so it must not block. It sees the
        function's exception; one that it raises itself fails the run; it cannot swallow any.
        """
        del context
        return nullcontext()


@contextmanager
def entered(contexts: Iterable[AbstractContextManager[object]]) -> Generator[None]:
    """Enter contexts, one after the other; none of them can swallow an exception."""
    failure: BaseException | None = None
    with ExitStack() as stack:
        for each in contexts:
            stack.enter_context(each)
        try:
            yield
        except BaseException as error:
            failure = error
            raise
    if failure is not None:
        raise failure
