"""`raftq quota`: what the whole cluster may hold and take in."""

from typing import Annotated

import typer

from raftq.cli import output
from raftq.cli.control import values
from raftq.cli.control.facts import settings_facts, settings_words
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.client import AsyncClient, Quota

app = typer.Typer(
    help="The quota of the cluster; those of queues are set with `raftq queue set`.",
    no_args_is_help=True,
)


@app.callback()
def quota() -> None:
    """The quota of the cluster; those of queues are set with `raftq queue set`."""


@app.command()
def show(address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False) -> None:
    """Show what the cluster may hold and take in."""
    _show(connected(address, timeout, lambda client: client.quota()), as_json)


@app.command("set")
def set_quota(
    tasks_max: Annotated[
        str | None,
        typer.Option(metavar="N", help="Unfinished tasks of all queues together; none: no bound."),
    ] = None,
    payload_bytes_max: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Their payload bytes, like 4GiB; none: no bound."),
    ] = None,
    enqueue_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE", help="How fast tasks may be enqueued, like 1000/s; none: no bound."
        ),
    ] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Set the quota, and show it. What is not given stays as it is.

    An enqueue over it is refused and may be tried again later; the end of runs always passes.
    """
    bounds = {
        "tasks_max": (tasks_max, values.read_count),
        "payload_bytes_max": (payload_bytes_max, values.read_size),
        "enqueue_rate": (enqueue_rate, values.read_rate),
    }
    with output.errors_in_words():
        changes = values.bounds(bounds)
    if not changes:
        output.say("raftq: say what to set: --tasks-max, --payload-bytes-max or --enqueue-rate")
        raise typer.Exit(output.EXIT_USAGE)

    async def body(client: AsyncClient) -> Quota:
        wanted = values.changed(await client.quota(), changes)
        await client.set_quota(
            tasks_max=wanted.tasks_max,
            payload_bytes_max=wanted.payload_bytes_max,
            enqueue_rate=wanted.enqueue_rate,
        )
        return wanted

    _show(connected(address, timeout, body), as_json)


def _show(found: Quota, as_json: bool) -> None:
    if as_json:
        output.print_json(settings_facts(found))
    else:
        output.print_facts(settings_words(found))
