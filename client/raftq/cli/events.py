"""`raftq events`: what becomes of tasks, while it happens."""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from raftq.cli import output
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.protocol.events import Position, TaskEvent
from raftq.protocol.fields import TaskState

if TYPE_CHECKING:
    from raftq.client import AsyncClient, Events

app = typer.Typer(help="What becomes of tasks, while it happens.", no_args_is_help=True)
_ADVICE: Final = {
    "events_lost": "look at the present state with `raftq queue` or `raftq task`, then follow "
    "without --after, or behind the index that the node named"
}


@app.callback()
def events() -> None:
    """What becomes of tasks, while it happens."""


@app.command()
def tail(
    queue: Annotated[str | None, typer.Option(help="Of this queue only.")] = None,
    task: Annotated[UUID | None, typer.Option(metavar="ID", help="Of this task only.")] = None,
    state: Annotated[
        list[TaskState] | None, typer.Option(help="Into this state only; may be repeated.")
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION",
            help="Behind a log index, like 17, or one of its events, like 17-3; default: now.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="End after so many events; default: never.")
    ] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Print each task that comes into a state, as it does: time, position, state, queue and id.

    Goes on at another node when one fails, without a gap. Interrupted, it says where to go on with
    --after; each node keeps the newest events only.
    """

    async def follow(client: "AsyncClient") -> None:
        begins = None if after is None else Position.parse(after)
        wanted = client.events(
            queue=queue,
            task_id=task,
            states=state or (),
            after_index=None if begins is None else begins.log_index,
            after_number=None if begins is None else begins.number,
        )
        try:
            async with wanted:
                await _print(wanted, count, as_json)
        except asyncio.CancelledError:
            if wanted.position is not None:
                output.say(f"go on with --after {wanted.position.text}")
            raise

    connected(address, timeout, follow, advice=_ADVICE)


async def _print(wanted: "Events", count: int | None, as_json: bool) -> None:
    printed = 0
    async for event in wanted:
        if as_json:
            output.print_json(_facts(event))
        else:
            print(_line(event), flush=True)
        printed += 1
        if printed == count:
            return


def _facts(event: TaskEvent) -> dict[str, object]:
    return {
        "index": event.index,
        "number": event.number,
        "at_ms": event.at_ms,
        "task_id": str(UUID(bytes=event.task_id)),
        "queue": event.queue,
        "state": event.state,
    }


def _line(event: TaskEvent) -> str:
    at = datetime.fromtimestamp(event.at_ms / 1_000).astimezone().isoformat(" ", "milliseconds")
    task_id = UUID(bytes=event.task_id)
    return f"{at}  {event.position.text:<10}  {event.state:<9}  {event.queue}  {task_id}"
