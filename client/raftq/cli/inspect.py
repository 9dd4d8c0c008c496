"""`raftq inspect`: what is in a node's files, read by the storage's own program."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from raftq.cli.options import AsJson


def inspect(
    path: Annotated[Path, typer.Argument(help="A data folder, or a file in one.")],
    as_json: AsJson = False,
) -> None:
    """Print what is in a node's files; changes nothing."""
    command = [sys.executable, "-m", "raftq.storage.inspect", *(["--json"] if as_json else [])]
    finished = subprocess.run([*command, "--", str(path)], check=False)
    raise typer.Exit(finished.returncode)
