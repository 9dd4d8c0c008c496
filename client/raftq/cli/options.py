"""Options that every command has, and the client that they make."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from raftq.cli import output

if TYPE_CHECKING:
    from raftq.client import AsyncClient

T = TypeVar("T")

Addresses = Annotated[
    str,
    typer.Option(
        "--address",
        "-a",
        metavar="HOST:PORT",
        envvar="RAFTQ_ADDRESSES",
        show_default=False,
        help="Any nodes, host:port separated by commas; default: what raftq.toml says, else ports "
        "7601 to 7603 here.",
    ),
]
Timeout = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="How long the command may take, like 500ms or 10s; what it waits comes on top.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def connected(
    addresses: str,
    timeout: str,
    body: Callable[["AsyncClient"], Coroutine[Any, Any, T]],
    *,
    advice: output.Advice = output.NO_ADVICE,
) -> T:
    """Run a command's body with a client; errors become one line and an exit code.

    Args:
        addresses: What `--address` says.
        timeout: Of each call.
        body: What the command does.
        advice: What to do about some errors of this command; see `output.fail`.
    """
    import os

    from raftq.cli.config_file import client_settings
    from raftq.client import AsyncClient

    async def main() -> T:
        settings = client_settings(addresses, os.environ)
        token, tls_ca = settings.credentials(os.environ)
        async with AsyncClient(
            settings.addresses.value or "",
            timeout=timeout,
            name="raftq-cli",
            token=token,
            tls_ca=tls_ca,
        ) as client:
            return await body(client)

    return output.run(main, advice)
