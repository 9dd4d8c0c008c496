"""`raftq queue`: queues, their settings, and what can be done with all tasks of one."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from raftq.cli import moments, output
from raftq.cli.control.facts import queue_facts, settings_words
from raftq.cli.control.filtering import filtered
from raftq.cli.control.known import no_queue, require_queue
from raftq.cli.control.queue_settings import set_command
from raftq.cli.control.sweeping import Way, move_act, sweep, sweeping
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.client import AsyncClient, FilterKeywords, QueueStatus

Name = Annotated[str, typer.Argument(help="The queue.")]
Names = Annotated[list[str], typer.Argument(help="The queues.")]
Create = Annotated[bool, typer.Option("--create", help="Make the queue if there is none.")]
WAITING = ("ready", "leased", "scheduled", "blocked", "dead")


class _ShowByDefault(TyperGroup):
    """Reads `raftq queue NAME` as `raftq queue show NAME`.

    Of two words in a row the first is a mistyped command, and is left to be told so.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # Typer's own context is one
        is_help = bool({"-h", "--help"} & set(args))
        is_command = bool(self.commands.keys() & set(args)) or (
            len(args) > 1 and not args[0].startswith("-") and not args[1].startswith("-")
        )
        if args and not is_help and not is_command:
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    help="Queues: what is in them, and their settings.", no_args_is_help=True, cls=_ShowByDefault
)


@app.callback()
def queue() -> None:
    """Queues: what is in them, and their settings."""


@app.command("list")
def list_all(address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False) -> None:
    """List all queues with the tasks that are in them, and how long the first one waits."""
    found = connected(address, timeout, lambda client: client.queues())
    if as_json:
        output.print_json({"queues": [queue_facts(each) for each in found]})
    elif found:
        columns = ("queue", *WAITING, "done", "oldest", "")
        output.print_table(columns, [_row(each) for each in found])
    else:
        output.say("there is no queue yet; `raftq enqueue QUEUE PAYLOAD` makes one")


def _row(found: QueueStatus) -> tuple[object, ...]:
    counts = [found.counts.get(state, 0) for state in (*WAITING, "done")]
    return found.queue, *counts, oldest(found), "paused" if found.settings.paused else ""


def oldest(found: QueueStatus) -> str:
    """Return how long the task that is given out next has been ready."""
    at = found.oldest_ready_at_ms
    return "" if at is None else moments.span(moments.now_ms() - at)


@app.command()
def show(
    name: Name, address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False
) -> None:
    """Show a queue: its tasks by state, and its settings; `raftq queue NAME` for short."""

    async def body(client: AsyncClient) -> QueueStatus:
        found = await client.queues()
        names = [each.queue for each in found]
        if name not in names:
            no_queue(name, [*names, *("list", "set", "pause", "resume")])
        return found[names.index(name)]

    found = connected(address, timeout, body)
    if as_json:
        output.print_json(queue_facts(found))
        return
    facts: dict[str, object] = {"queue": name, "enqueued": found.enqueued, **found.counts}
    facts["payload bytes"] = found.payload_bytes
    if found.oldest_ready_at_ms is not None:
        facts["oldest ready"] = moments.instant(found.oldest_ready_at_ms, moments.now_ms())
    output.print_facts(facts)
    print("\nsettings (`raftq queue set`)")
    settings = settings_words(found.settings)
    output.print_facts({f"  {key}": value for key, value in settings.items()})


app.command("set")(set_command)


@app.command()
def pause(
    names: Names,
    create: Create = False,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Let nothing of a queue be leased. Enqueues, and the end of runs, go on."""
    _hold(names, True, create, address, timeout, as_json)


@app.command()
def resume(
    names: Names, address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False
) -> None:
    """Let tasks of a paused queue be leased again."""
    _hold(names, False, False, address, timeout, as_json)


def _hold(
    names: list[str], paused: bool, create: bool, address: str, timeout: str, as_json: bool
) -> None:
    async def body(client: AsyncClient) -> list[bool]:
        if not create:
            advice = "--create makes it" if paused else ""
            for name in names:
                await require_queue(client, name, advice=advice)
        return [await client.set_queue(name, paused=paused) for name in names]

    changed = connected(address, timeout, body)
    if as_json:
        output.print_json(
            {
                "queues": [
                    {"queue": name, "paused": paused, "is_changed": each}
                    for name, each in zip(names, changed, strict=True)
                ]
            }
        )
        return
    now, before = ("paused", "was paused already") if paused else ("runs", "was not paused")
    for name, each in zip(names, changed, strict=True):
        print(f"{name} {now if each else before}")


# ---------------------------------------------------------------- many tasks


@app.command()
@sweeping
def purge(name: Name, *, way: Way) -> None:
    """Cancel all tasks that wait in a queue. Those that run, and dead ones, stay."""
    sweep("cancelled", lambda client, dry: client.purge(name, dry_run=dry), way, name)


@app.command()
@sweeping
@filtered("queue", "states")
def redrive(name: Name, *, where: FilterKeywords, way: Way) -> None:
    """Let dead tasks of a queue begin anew, with no failures.

    One whose unique key another task has taken since stays dead.
    """
    where["queue"] = name
    sweep("redriven", lambda client, dry: client.redrive(dry_run=dry, **where), way, name)


@app.command()
@sweeping
@filtered("queue", "states")
def discard(name: Name, *, where: FilterKeywords, way: Way) -> None:
    """Give dead tasks of a queue up for good."""
    where["queue"] = name
    sweep("discarded", lambda client, dry: client.discard(dry_run=dry, **where), way, name)


@app.command()
@sweeping
@filtered("queue")
def move(
    name: Name,
    to: Annotated[str, typer.Argument(metavar="TO", help="The queue where they go.")],
    *,
    where: FilterKeywords,
    create: Create = False,
    way: Way,
) -> None:
    """Put tasks of a queue that wait, and dead ones, into another; ready ones go to its back."""
    where["queue"] = name
    sweep("moved", move_act(to, create, where), way, name)
