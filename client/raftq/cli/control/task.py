"""`raftq task`: single tasks, by their ids, and many, by what they have in common."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from uuid import UUID

import typer

from raftq.cli import moments, output
from raftq.cli.control.facts import reason_words, task_facts, task_words
from raftq.cli.control.filtering import filtered
from raftq.cli.control.known import explain_unknown, read_id
from raftq.cli.control.settling import each_task
from raftq.cli.control.sweeping import Way, sweep, sweeping
from raftq.cli.control.task_list import list_tasks
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.client import AsyncClient, Consistency, FilterKeywords, TaskStatus, UnknownTask
from raftq.client.durations import seconds
from raftq.protocol import limits

Id = Annotated[str, typer.Argument(metavar="TASK_ID", help="The task's id.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="TASK_ID", help="Ids of tasks; or choose by options.")
]
Freshness = Annotated[Consistency, typer.Option(help="stale asks one node only.")]

app = typer.Typer(help="Tasks: look at them and step in.", no_args_is_help=True)


@app.callback()
def task() -> None:
    """Tasks: look at them and step in."""


async def of_task(
    client: AsyncClient, text: str, body: Callable[[UUID], Coroutine[Any, Any, Any]]
) -> Any:
    """Do something with a task; of one that there is not, suggest the nearest."""
    id = await read_id(client, text)
    try:
        return await body(id)
    except UnknownTask as error:
        raise await explain_unknown(client, id, error) from None


@app.command()
def show(
    task_id: Id,
    wait: Annotated[
        str, typer.Option(metavar="DURATION", help="Wait up to so long for it to be over.")
    ] = "0",
    consistency: Freshness = Consistency.LINEARIZABLE,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Show a task: state, attempts, result, reasons of failure; `raftq status` for short."""

    async def body(client: AsyncClient) -> TaskStatus:
        async def read(id: UUID) -> TaskStatus:
            if seconds(wait):
                return await client.result(id, wait=wait, consistency=consistency)
            return await client.task(id, consistency=consistency)

        found: TaskStatus = await of_task(client, task_id, read)
        return found

    found = connected(address, timeout, body)
    if as_json:
        output.print_json(task_facts(found))
        return
    output.print_facts(task_words(found))
    if found.history:
        print("\nattempts that did not succeed")
        columns = ("attempt", "end", "worker", "began", "took", "error")
        rows = [
            (
                each.number,
                each.end,
                each.worker,
                moments.short_instant(each.began_at_ms),
                moments.span(each.ended_at_ms - each.began_at_ms),
                output.printable(each.error.encode()),
            )
            for each in found.history
        ]
        output.print_table(columns, rows, cut_last=True)


@app.command()
def why(
    task_id: Id,
    consistency: Freshness = Consistency.LINEARIZABLE,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Say what holds a task back; the first reason is the one that must go first."""

    async def body(client: AsyncClient) -> Any:
        return await of_task(client, task_id, lambda id: client.why(id, consistency=consistency))

    found = connected(address, timeout, body)
    if as_json:
        reasons = [
            {"rule": each.rule, "text": each.text, "facts": each.facts} for each in found.reasons
        ]
        id = str(UUID(bytes=found.id))
        output.print_json({"id": id, "state": found.state, "reasons": reasons})
        return
    print(found.state)
    rows = [(each.rule, reason_words(each)) for each in found.reasons]
    if rows:
        output.print_table(("rule", "what it says"), rows)


@app.command()
def edit(
    task_id: Id,
    delay: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Its earliest start from now, like 10m; 0 is at once."
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="The same as an instant, like 2026-12-24T18:00."),
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=limits.PRIORITY_MAX, help="0 (first) to 9."),
    ] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Change when a waiting task begins, or its priority. What is not given stays as it is."""
    if (delay, at, priority) == (None, None, None):
        output.say("raftq: say what to change: --delay, --at or --priority")
        raise typer.Exit(output.EXIT_USAGE)
    with output.errors_in_words():
        moment = None if at is None else moments.read_instant(at)

    async def body(client: AsyncClient) -> Any:
        return await of_task(
            client,
            task_id,
            lambda id: client.edit(id, delay=delay, not_before=moment, priority=priority),
        )

    advice = {"conflict": "only a task that waits can be changed; `raftq task show` tells more"}
    state = connected(address, timeout, body, advice=advice)
    if as_json:
        output.print_json({"state": state})
    else:
        print(state)


@app.command()
def confirm(
    task_ids: Annotated[list[str], typer.Argument(metavar="TASK_ID", help="Ids of tasks.")],
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Let tasks go on that were enqueued with --confirm-within."""
    each_task(task_ids, lambda client, id: client.confirm(id), address, timeout, as_json)


@app.command()
@sweeping
@filtered()
def cancel(task_ids: Ids = None, *, where: FilterKeywords, way: Way) -> None:
    """Cancel tasks, by their ids, or all that match the options.

    Those that wait are not run any more. The result of one that runs is refused from now on, and
    its worker hears it. Dead ones are given up.
    """
    if _chosen_by_id(task_ids, where, way):
        each_task(
            task_ids or [],
            lambda client, id: client.cancel(id),
            way.address,
            way.timeout,
            way.as_json,
        )
        return
    queue = where.get("queue")
    sweep("cancelled", lambda client, dry: client.cancel_where(dry_run=dry, **where), way, queue)


@app.command()
@sweeping
@filtered()
def retry(task_ids: Ids = None, *, where: FilterKeywords, way: Way) -> None:
    """Let dead tasks begin anew, by their ids, or all that match the options.

    A scheduled one that is named by its id begins now.
    """
    if _chosen_by_id(task_ids, where, way):
        each_task(
            task_ids or [],
            lambda client, id: client.retry(id),
            way.address,
            way.timeout,
            way.as_json,
        )
        return
    queue = where.get("queue")
    sweep("redriven", lambda client, dry: client.redrive(dry_run=dry, **where), way, queue)


def _chosen_by_id(ids: list[str] | None, where: FilterKeywords, way: Way) -> bool:
    """Whether ids choose the tasks; ends the command unless exactly one way to choose is used."""
    if bool(ids) == bool(where):
        both = "not both" if ids else "for example --queue mail"
        output.say(f"raftq: choose tasks by their ids, or by options, {both}")
        raise typer.Exit(output.EXIT_USAGE)
    if ids and way.dry_run:
        output.say("raftq: --dry-run counts tasks that options choose, not ids")
        raise typer.Exit(output.EXIT_USAGE)
    return bool(ids)


app.command("list")(list_tasks)
