"""`raftq limit`: what holds for all tasks of a limit key together."""

from typing import Annotated

import typer

from raftq.cli import output
from raftq.cli.control import values
from raftq.cli.control.facts import rate_text, settings_facts
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.client import AsyncClient, KeyLimit, LimitStatus
from raftq.client.keywords.naming import did_you_mean

Key = Annotated[str, typer.Argument(help="The limit key.")]

app = typer.Typer(
    help="Limits of keys: how many tasks of one key run at a time, and how fast they start.",
    no_args_is_help=True,
)


@app.callback()
def limit() -> None:
    """Limits of keys: how many tasks of one key run at a time, and how fast they start."""


@app.command("list")
def list_all(address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False) -> None:
    """List the limit keys that are set or in use: what holds, and who waits."""
    found = connected(address, timeout, lambda client: client.limits())
    if as_json:
        output.print_json({"limits": [_facts(each) for each in found]})
    elif found:
        columns = ("key", "concurrency", "rate", "leased", "waiting")
        output.print_table(columns, [_row(each) for each in found])
    else:
        output.say("no limit key is set or in use")


@app.command("set")
def set_limit(
    key: Key,
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="N", help="Tasks of the key that may be leased at a time; none: any."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="How fast tasks of the key may be leased, like 10/s or '100/5m burst 20'; none: "
            "no bound.",
        ),
    ] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Set what holds for a key in all queues. What is not given stays as it is."""
    if concurrency is rate is None:
        output.say("raftq: say what to set: --concurrency, --rate, or both")
        raise typer.Exit(output.EXIT_USAGE)
    with output.errors_in_words():
        changes = values.bounds(
            {"concurrency": (concurrency, values.read_count), "rate": (rate, values.read_rate)}
        )

    async def body(client: AsyncClient) -> tuple[bool, KeyLimit]:
        present = {each.key: each.limit for each in await client.limits()}.get(key, KeyLimit())
        wanted = values.changed(present, changes)
        is_changed = await client.set_limit(key, concurrency=wanted.concurrency, rate=wanted.rate)
        return is_changed, wanted

    is_changed, wanted = connected(address, timeout, body)
    if as_json:
        output.print_json({"key": key, "is_changed": is_changed, "limit": settings_facts(wanted)})
        return
    output.print_table(("key", "concurrency", "rate"), [(key, *_bounds(wanted))])
    if not is_changed:
        output.say("it was so already")


@app.command()
def remove(
    key: Key, address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False
) -> None:
    """Remove the limit of a key; tasks that wait for it go on."""

    async def body(client: AsyncClient) -> bool:
        keys = [each.key for each in await client.limits() if each.limit != KeyLimit()]
        if key not in keys:
            near = did_you_mean(key, keys)
            output.say(f"raftq: no limit is set for {key!r}{near}; `raftq limit list` shows all")
            raise typer.Exit(output.EXIT_NOT_FOUND)
        return await client.set_limit(key)

    is_changed = connected(address, timeout, body)
    if as_json:
        output.print_json({"key": key, "is_changed": is_changed})
    else:
        print("removed")


def _facts(found: LimitStatus) -> dict[str, object]:
    return {
        "key": found.key,
        "limit": settings_facts(found.limit),
        "leased": found.leased,
        "parked": found.parked,
    }


def _row(found: LimitStatus) -> tuple[object, ...]:
    return output.safe(found.key), *_bounds(found.limit), found.leased, found.parked


def _bounds(limit: KeyLimit) -> tuple[object, object]:
    any_number = values.NOTHING if limit.concurrency is None else limit.concurrency
    return any_number, values.NOTHING if limit.rate is None else rate_text(limit.rate)
