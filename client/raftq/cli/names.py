"""Names that are given on the command line."""

import re

import typer

from raftq.cli import output
from raftq.protocol.fields import NAME_PATTERN


def require_name(what: str, name: str) -> None:
    """End the command, with words, if a name is none of raftq's."""
    if not re.match(NAME_PATTERN, name):
        output.say(f"raftq: {what} is {name!r}; it must match {NAME_PATTERN}")
        raise typer.Exit(output.EXIT_USAGE)
