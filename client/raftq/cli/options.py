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
        envvar="RAFTQ_ADDRESSES",
        show_default=False,
        help="Any nodes, host:port separated by commas; default: ports 7601 to 7603 here.",
    ),
]
Timeout = Annotated[
    str,
    typer.Option(
        help="How long the command may take, like 500ms or 10s; what it waits comes on top."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def connected(
    addresses: str, timeout: str, body: Callable[["AsyncClient"], Coroutine[Any, Any, T]]
) -> T:
    """Run a command's body with a client; errors become one line and an exit code."""
    import os

    from raftq.client import AsyncClient
    from raftq.client.environment import DEFAULT_ADDRESSES, client_credentials

    async def main() -> T:
        token, tls_ca = client_credentials(os.environ)
        async with AsyncClient(
            addresses or DEFAULT_ADDRESSES,
            timeout=timeout,
            name="raftq-cli",
            token=token,
            tls_ca=tls_ca,
        ) as client:
            return await body(client)

    return output.run(main)
