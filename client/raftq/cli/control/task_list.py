"""`raftq task list`: which tasks there are."""

from typing import Annotated, Final
from uuid import UUID

import typer

from raftq.cli import moments, output
from raftq.cli.control.facts import task_facts
from raftq.cli.control.filtering import filtered
from raftq.cli.control.known import require_queue
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.client import AsyncClient, FilterKeywords, TaskPage, TaskStatus
from raftq.protocol import limits

_LIMIT: Final = 50
_COLUMNS: Final = ("task", "queue", "state", "tries", "age", "newest error")


@filtered()
def list_tasks(
    where: FilterKeywords,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The most tasks shown.")] = (
        _LIMIT
    ),
    everything: Annotated[bool, typer.Option("--all", help="Show all that match.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Only count those that match.")] = False,
    ids: Annotated[bool, typer.Option("--ids", help="Print ids only, for other commands.")] = False,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """List the tasks that match all options, in the order of their enqueue."""
    most = None if everything else 0 if count else limit

    async def body(client: AsyncClient) -> TaskPage:
        found = await _read(client, where, most, counts=count)
        if not found.matched and "queue" in where:
            await require_queue(client, where["queue"])
        return found

    found = connected(address, timeout, body)
    if count:
        _tell_count(found.matched, as_json)
    elif as_json:
        facts = [task_facts(each) for each in found.tasks]
        output.print_json({"tasks": facts, "has_more": found.next_after is not None})
    elif ids:
        for each in found.tasks:
            print(UUID(bytes=each.id))
    elif found.tasks:
        now = moments.now_ms()
        rows = [_row(each, now) for each in found.tasks]
        output.print_table(_COLUMNS, rows, cut_last=True)
    else:
        output.say("no task matches")
    if found.next_after is not None and not count and not as_json:
        output.say(f"there are more than {limit}: --limit N or --all shows them")


def _tell_count(matched: int, as_json: bool) -> None:
    if as_json:
        output.print_json({"matched": matched})
    else:
        print(matched)


async def _read(
    client: AsyncClient, where: FilterKeywords, most: int | None, *, counts: bool
) -> TaskPage:
    """Return so many tasks as one page; None means all, and 0 with `counts` only their number."""
    tasks: list[TaskStatus] = []
    matched = 0
    after: int | None = 0
    while after is not None and (counts or most is None or len(tasks) < most):
        left = limits.TASKS_PER_SWEEP_MAX if most is None else most - len(tasks)
        size = 0 if counts else min(left, limits.TASKS_PER_SWEEP_MAX)
        page = await client.tasks_page(after=after, count_max=size, **where)
        tasks += page.tasks
        matched += page.matched
        after = page.next_after
    return TaskPage(tasks, matched, after)


def _row(found: TaskStatus, now: int) -> tuple[object, ...]:
    newest = output.printable(found.errors[-1].encode()) if found.errors else ""
    return (
        UUID(bytes=found.id),
        found.queue,
        found.state,
        f"{found.failures + found.crashes}/{found.attempts_max}",
        moments.span(now - found.enqueued_at_ms).split(" ")[0],
        newest,
    )
