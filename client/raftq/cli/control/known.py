"""What there is, for names and ids that are not found: the nearest is suggested."""

import asyncio
from typing import Final, NoReturn
from uuid import UUID

import typer

from raftq.cli import output
from raftq.client import AsyncClient, Consistency, RaftqError
from raftq.client.keywords.naming import did_you_mean
from raftq.protocol import limits
from raftq.protocol.errors import ForgottenTask, UnknownTask

_SEARCH_SECONDS: Final = 1.0
_PAGES_MAX: Final = 20
_PREFIX_MIN: Final = 8
_CHARACTERS_WRONG_MAX: Final = 2


async def require_queue(client: AsyncClient, name: str, *, advice: str = "") -> None:
    """End the command with code 3 if there is no such queue, and suggest one."""
    names = [each.queue for each in await client.queues()]
    if name not in names:
        no_queue(name, names, advice=advice)


def no_queue(name: str, names: list[str], *, advice: str = "") -> NoReturn:
    """End the command with code 3, because there is no such queue."""
    words = advice or "`raftq queue list` shows all"
    output.say(f"raftq: there is no queue {name!r}{did_you_mean(name, names)}; {words}")
    raise typer.Exit(output.EXIT_NOT_FOUND)


async def read_id(client: AsyncClient, text: str) -> UUID:
    """Return a task's id; end the command with code 2 if it is none, and suggest one."""
    try:
        return UUID(text)
    except ValueError:
        near = await nearest_task(client, text)
        output.say(f"raftq: task_id is {text!r}, which is no id of a task{_suggestion(near)}")
        raise typer.Exit(output.EXIT_USAGE) from None


async def explain_unknown(client: AsyncClient, id: UUID, error: UnknownTask) -> RaftqError:
    """Return the error with the nearest id in its text, if there is one like it."""
    if isinstance(error, ForgottenTask):
        return error
    near = await nearest_task(client, str(id))
    return UnknownTask(f"there is no task {id}{_suggestion(near)}", **error.facts)


def _suggestion(near: UUID | None) -> str:
    return "" if near is None else f" (did you mean {near}?)"


async def nearest_task(client: AsyncClient, text: str) -> UUID | None:
    """Return the id most like a mistyped or cut one, looked for among a bounded number of tasks."""
    wanted = text.replace("-", "").strip().lower()
    try:
        async with asyncio.timeout(_SEARCH_SECONDS):
            after: int | None = 0
            for _ in range(_PAGES_MAX):
                if after is None:
                    break
                page = await client.tasks_page(
                    after=after,
                    count_max=limits.TASKS_PER_SWEEP_MAX,
                    consistency=Consistency.STALE,
                )
                for status in page.tasks:
                    if _is_near(wanted, status.id.hex()):
                        return UUID(bytes=status.id)
                after = page.next_after
    except (TimeoutError, RaftqError):
        pass  # It was a favour; the error that it was meant for is told without it.
    return None


def _is_near(wanted: str, known: str) -> bool:
    """Whether an id was cut off, or has a wrong, missing, doubled or swapped character or two."""
    if len(wanted) >= _PREFIX_MIN and known.startswith(wanted):
        return True
    front = _common(wanted, known)
    back = _common(wanted[front:][::-1], known[front:][::-1])
    longer = max(len(wanted), len(known))
    return front + back >= longer - _CHARACTERS_WRONG_MAX


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
