"""`raftq top`: who leads, how far each node is, and what the queues do."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Final

import typer

from raftq.cli import output
from raftq.cli.config_file import client_settings
from raftq.cli.options import Addresses, AsJson, connected
from raftq.cli.top.nodes import Nodes
from raftq.cli.top.sampling import Looks, View, as_json, look
from raftq.client import AsyncClient, RaftqError
from raftq.client.credentials import credentials
from raftq.client.durations import seconds

_PATIENCE_SECONDS: Final = 2.0
_PIPE_COLUMNS: Final = 1_000
"""Where nobody looks at a screen, nothing is cut."""
_INTERVAL_MIN_SECONDS: Final = 0.2


def top(
    interval: Annotated[
        str,
        typer.Option("--interval", "-i", metavar="DURATION", help="The time between two looks."),
    ] = "1s",
    once: Annotated[
        bool, typer.Option("--once", help="Look for one interval, print it, and end.")
    ] = False,
    address: Addresses = "",
    json: AsJson = False,
) -> None:
    """Watch the cluster: leader, how far each node is behind, and of each queue depth, rates and
    how long the oldest task has been ready. Ctrl-C ends it.

    Rates are those of the last five seconds. Every node is asked itself, and what it says may be
    stale, so that this works without a majority as well. Where the output is no terminal, it is as
    with --once; with --json, it is a line for each look.
    """
    with output.errors_in_words():
        pause = max(seconds(interval), _INTERVAL_MIN_SECONDS)
        settings = client_settings(address, os.environ)
        nodes = Nodes(credentials(*settings.credentials(os.environ)))
    is_live = not once and not json and sys.stdout.isatty()

    async def body(client: AsyncClient) -> None:
        try:
            if is_live:
                await _show(client, nodes, pause)
            else:
                await _print(client, nodes, pause, json=json, once=once or not json)
        except asyncio.CancelledError:
            pass  # Ctrl-C: there is no other way to end it.
        finally:
            await nodes.close()

    connected(address, f"{_PATIENCE_SECONDS:g}s", body)


async def _views(client: AsyncClient, nodes: Nodes, pause: float) -> AsyncIterator[View]:
    looks = Looks()
    while True:
        yield looks.add(await look(client, nodes, _PATIENCE_SECONDS))
        await asyncio.sleep(pause)


async def _print(
    client: AsyncClient, nodes: Nodes, pause: float, *, json: bool, once: bool
) -> None:
    """Print a look for each interval, or the second one, which is the first that has rates."""
    is_first = True
    async for view in _views(client, nodes, pause):
        if is_first and once:
            is_first = False
            continue
        if json:
            output.print_json(as_json(view))
        else:
            from rich.console import Console

            from raftq.cli.top.drawing import draw

            console = Console()
            if not console.is_terminal:
                console = Console(width=_PIPE_COLUMNS)
            console.print(draw(view, console.width, None))
        if once:
            return


async def _show(client: AsyncClient, nodes: Nodes, pause: float) -> None:
    """Draw each look over the one before; while no node answers, say so and go on."""
    from rich.console import Console
    from rich.live import Live

    from raftq.cli.top.drawing import draw

    console = Console()
    looks = Looks()
    newest = looks.add(await look(client, nodes, _PATIENCE_SECONDS))
    with Live(
        draw(newest, *console.size), console=console, screen=True, auto_refresh=False
    ) as live:
        while True:
            await asyncio.sleep(pause)
            trouble = None
            try:
                newest = looks.add(await look(client, nodes, _PATIENCE_SECONDS))
            except RaftqError as error:
                trouble = f"no node answers: {output.safe(error.message)}"
            live.update(draw(newest, *console.size, trouble), refresh=True)
