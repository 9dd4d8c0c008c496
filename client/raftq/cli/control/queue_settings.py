"""`raftq queue set`: what holds for a queue."""

from typing import Annotated, Any, Final, cast

import typer

from raftq.cli import output
from raftq.cli.control import values
from raftq.cli.control.facts import settings_facts, settings_words
from raftq.cli.control.known import no_queue
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.client import AsyncClient, QueueKeywords, QueueSettings
from raftq.protocol import limits

_NONE: Final = "; none: no bound."


def set_command(
    name: Annotated[str, typer.Argument(help="The queue.")],
    concurrency: Annotated[
        str | None, typer.Option(metavar="N", help="Tasks that may be leased at a time" + _NONE)
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="How fast tasks may be leased, like 10/s or '100/5m burst 20'" + _NONE,
        ),
    ] = None,
    attempts_max: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=limits.ATTEMPTS_MAX_LIMIT,
            help="Failures after which a task is dead.",
        ),
    ] = None,
    crashes_max: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=limits.CRASHES_MAX_LIMIT,
            help="Deaths of its worker after which a task is dead.",
        ),
    ] = None,
    backoff: Annotated[
        str | None,
        typer.Option(
            metavar="BACKOFF",
            help="The pause before a retry, like 5s or '1s linear max 10m jitter 20'.",
        ),
    ] = None,
    result_ttl: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long outcomes are kept.")
    ] = None,
    ageing: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Waiting that counts as much as one step of priority; 0: none does.",
        ),
    ] = None,
    tasks_max: Annotated[
        str | None, typer.Option(metavar="N", help="Unfinished tasks that it may hold" + _NONE)
    ] = None,
    payload_bytes_max: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Payload bytes of its unfinished tasks, like 64MiB" + _NONE
        ),
    ] = None,
    enqueue_rate: Annotated[
        str | None, typer.Option(metavar="RATE", help="How fast tasks may be enqueued" + _NONE)
    ] = None,
    fair_weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=N",
            show_default=False,
            help="The share of a fair key, 1 unless set; repeatable, and others stay. "
            "none: all are 1.",
        ),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the queue if there is none.")
    ] = False,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Change settings of a queue, and show them. What is not given stays as it is.

    They hold in the whole cluster at once, and survive every node.
    """
    bounds = {
        "concurrency": (concurrency, values.read_count),
        "rate": (rate, values.read_rate),
        "tasks_max": (tasks_max, values.read_count),
        "payload_bytes_max": (payload_bytes_max, values.read_size),
        "enqueue_rate": (enqueue_rate, values.read_rate),
    }
    plain = {
        "attempts_max": attempts_max,
        "crashes_max": crashes_max,
        "result_ttl": result_ttl,
        "ageing": ageing,
    }
    with output.errors_in_words():
        changes: dict[str, Any] = values.bounds(bounds)
        changes |= {key: value for key, value in plain.items() if value is not None}
        if backoff is not None:
            changes["backoff"] = values.read_backoff(backoff)
        values.read_weights(fair_weight or [], {})  # Refused before anything is asked.
    if not changes and not fair_weight:
        output.say("raftq: say what to set, like --concurrency 5; `raftq queue set -h` shows all")
        raise typer.Exit(output.EXIT_USAGE)

    async def body(client: AsyncClient) -> tuple[bool, QueueSettings]:
        found = {each.queue: each.settings for each in await client.queues()}
        if name not in found and not create:
            no_queue(name, list(found), advice="--create makes it")
        if fair_weight:
            present = found.get(name, QueueSettings()).fair_weights
            changes["fair_weights"] = values.read_weights(fair_weight, present)
        is_changed = await client.set_queue(name, **cast(QueueKeywords, changes))
        return is_changed, (await client.queue(name)).settings

    is_changed, settings = connected(address, timeout, body)
    if as_json:
        facts = {"queue": name, "is_changed": is_changed, "settings": settings_facts(settings)}
        output.print_json(facts)
        return
    output.print_facts(settings_words(settings))
    if not is_changed:
        output.say("it was so already")
