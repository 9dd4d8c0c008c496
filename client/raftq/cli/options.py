"""Options that every command has."""

from typing import Annotated, Final

import typer

DEFAULT_ADDRESSES: Final = "127.0.0.1:7601,127.0.0.1:7602,127.0.0.1:7603"


def _addresses(text: str) -> str:
    return text or DEFAULT_ADDRESSES


Addresses = Annotated[
    str,
    typer.Option(
        "--address",
        "-a",
        envvar="RAFTQ_ADDRESSES",
        callback=_addresses,
        show_default=False,
        help="Any nodes, host:port separated by commas; default: ports 7601 to 7603 here.",
    ),
]
Timeout = Annotated[str, typer.Option(help="How long the command may take, like 500ms or 10s.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
