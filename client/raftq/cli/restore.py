"""`raftq restore` and `raftq recover`: nodes made of a backup, and a backup made of a node.

Both work on files of stopped nodes and run as programs of the node's own code.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from raftq.cli.options import AsJson


def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    cluster: Annotated[
        str,
        typer.Option(help="All members of the new cluster, as raftqd takes them: id=host:port,…"),
    ],
    node_id: Annotated[
        str, typer.Option(show_default=False, help="The node to be restored here.")
    ] = "",
    data_dir: Annotated[
        str, typer.Option(show_default=False, help="Its data folder, empty or not there yet.")
    ] = "",
    node: Annotated[
        list[str] | None,
        typer.Option(show_default=False, help="Several nodes at once: ID=DIR for each."),
    ] = None,
    cluster_id: Annotated[
        str,
        typer.Option(
            show_default=False,
            help="The new cluster's id, as the restore of its first node printed it; leave it out "
            "for that one.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make empty data folders into nodes of a new cluster that begins with a backup.

    Restore every member before you start the first. The new cluster and the old one never mix, and
    workers of the old one cannot settle anything in the new one.
    """
    named = {
        "--cluster": cluster,
        "--node-id": node_id,
        "--data-dir": data_dir,
        "--cluster-id": cluster_id,
    }
    options = [f"{name}={value}" for name, value in named.items() if value]
    options += [f"--node={each}" for each in node or ()]
    _run("restore", [*options, *_json(as_json), "--", str(file)])


def recover(
    data_dir: Annotated[Path, typer.Argument(help="The data folder of a stopped node.")],
    file: Annotated[
        Path | None,
        typer.Argument(help="Where the backup goes; without it, only say what is there."),
    ] = None,
    yes_lose_data: Annotated[
        bool, typer.Option("--yes-lose-data", help="Do not ask for confirmation.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """UNSAFE: save what one survivor has when the majority of a cluster is lost for good.

    Acknowledged tasks that had not reached this node are lost. Read
    docs/operating/lost-majority.md first. The data folder stays as it is.
    """
    flags = ["--yes-lose-data"] if yes_lose_data else []
    paths = [str(data_dir), *([] if file is None else [str(file)])]
    _run("recover", [*flags, *_json(as_json), "--", *paths])


def _json(as_json: bool) -> list[str]:
    return ["--json"] if as_json else []


def _run(program: str, arguments: list[str]) -> None:
    command = [sys.executable, "-m", f"raftq.node.{program}", *arguments]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
