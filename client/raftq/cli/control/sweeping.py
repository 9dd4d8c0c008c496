"""Doing one thing with many tasks: count, ask, do it, and say how many there were."""

import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias

import typer

from raftq.cli import output
from raftq.cli.control.bundles import bundled
from raftq.cli.control.known import require_queue
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.client import AsyncClient, FilterKeywords

Act: TypeAlias = Callable[[AsyncClient, bool], Coroutine[Any, Any, int]]
"""Does it, or, with True, counts the tasks; returns how many."""
_ADVICE: Final[output.Advice] = {
    "outcome_unknown": "a part of it may be done: repeat the command, and it does the rest"
}


@dataclass(frozen=True, slots=True)
class Way:
    """How a command was asked to do it."""

    address: str
    timeout: str
    dry_run: bool
    yes: bool
    as_json: bool


_OPTIONS: Final[dict[str, tuple[Any, object]]] = {
    "dry_run": (Annotated[bool, typer.Option("--dry-run", help="Only count the tasks.")], False),
    "yes": (
        Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")],
        False,
    ),
    "address": (Addresses, ""),
    "timeout": (Timeout, "10s"),
    "as_json": (AsJson, False),
}
"""Field of `Way` → its option and default."""


def sweeping(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of those that change many tasks; its parameter is `way`."""
    return bundled(command, "way", _OPTIONS, lambda told: Way(**told))


def sweep(done: str, act: Act, way: Way, queue: str | None = None) -> None:
    """Run a command that changes many tasks.

    Args:
        done: What they are then, like `cancelled`.
        act: Does it.
        way: How it was asked for.
        queue: Whose tasks they are, if all are of one; it must exist.
    """

    async def run(client: AsyncClient, dry_run: bool) -> int:
        found = await act(client, dry_run)
        if not found and queue is not None:
            await require_queue(client, queue)
        return found

    if way.dry_run or not way.yes:
        count = connected(way.address, way.timeout, lambda client: run(client, True))
        if way.dry_run:
            _tell(count, f"would be {done}", way)
            return
        if count:
            _confirm(count, done)
    tasks = connected(way.address, way.timeout, lambda client: run(client, False), advice=_ADVICE)
    _tell(tasks, done, way)


def _tell(tasks: int, what: str, way: Way) -> None:
    if way.as_json:
        output.print_json({"tasks": tasks, "dry_run": way.dry_run})
    else:
        print(f"{in_words(tasks)} {what}")


def in_words(tasks: int) -> str:
    """Return a number of tasks with its noun."""
    return f"{tasks:,} {'task' if tasks == 1 else 'tasks'}"


def _confirm(tasks: int, done: str) -> None:
    """Ask on the terminal; end the command if the answer is no, or nobody can be asked."""
    question = f"{in_words(tasks)} will be {done}"
    if not sys.stdin.isatty():
        output.say(f"raftq: {question}: say --yes to do it, or --dry-run to count only")
        raise typer.Exit(output.EXIT_USAGE)
    if not typer.confirm(f"{question}. Go on?", err=True):
        output.say("nothing was done")
        raise typer.Exit(output.EXIT_FAILED)


def move_act(to_queue: str, create: bool, where: FilterKeywords) -> Act:
    """Return what moves tasks; the queue that they go to must exist, or be wanted new."""

    async def act(client: AsyncClient, dry_run: bool) -> int:
        if not create:
            advice = "--create makes a new one of that name"
            await require_queue(client, to_queue, advice=advice)
        return await client.move(to_queue, dry_run=dry_run, **where)

    return act
