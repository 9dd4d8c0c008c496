"""`raftq backup`: a file with everything that a live cluster knows, and its check."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from raftq.cli import output
from raftq.cli.options import Addresses, AsJson, connected
from raftq.client import Consistency
from raftq.client.durations import seconds


class _TakeByDefault(TyperGroup):
    """Reads `raftq backup FILE` as `raftq backup take FILE`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # Typer's own context is one
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["take", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(help="Backups of a live cluster.", no_args_is_help=True, cls=_TakeByDefault)


@app.callback()
def backup() -> None:
    """Backups of a live cluster."""


@app.command()
def take(
    file: Annotated[Path, typer.Argument(help="Where the backup goes.")],
    http: Annotated[
        str,
        typer.Option(
            show_default=False,
            help="The HTTP address of the node to ask; default: the nodes are asked who there is, "
            "and a follower is chosen.",
        ),
    ] = "",
    consistency: Annotated[
        Consistency,
        typer.Option(help="stale asks one node only, and works without a majority."),
    ] = Consistency.LINEARIZABLE,
    overwrite: Annotated[bool, typer.Option(help="Replace a file of that name.")] = False,
    address: Addresses = "",
    timeout: Annotated[
        str, typer.Option(help="How long all of it may take, with every repetition.")
    ] = "10m",
    as_json: AsJson = False,
) -> None:
    """Save the cluster's state at one log index to a file, verified; `raftq backup FILE` for short.

    It holds every write that was acknowledged before the command began. The file gets its name
    only when it is whole and on the disk.
    """
    from raftq.cli.backup_download import Choice, download

    if file.exists() and not overwrite:
        output.say(f"raftq: {file} exists; name another file, or give --overwrite")
        raise typer.Exit(output.EXIT_USAGE)

    def choose() -> Choice:
        if http:
            return [http]
        found = connected(address, timeout, lambda client: client.cluster())
        # Followers first: the leader has enough to do.
        nodes = sorted(found.nodes, key=lambda node: node.role != "follower")
        return [node.http_address for node in nodes if node.reachable and node.http_address]

    facts = download(file, choose, consistency.value, seconds(timeout), address)
    if as_json:
        output.print_json(facts)
    else:
        output.print_facts(facts)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The backup.")], as_json: AsJson = False
) -> None:
    """Read every bit of a backup and print what is in it; exit code 1 if anything is wrong."""
    command = [sys.executable, "-m", "raftq.node.verify", *(["--json"] if as_json else [])]
    finished = subprocess.run([*command, "--", str(file)], check=False)
    raise typer.Exit(finished.returncode)
