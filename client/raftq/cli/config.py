"""`raftq config`: what is known about the cluster, and who said so."""

import os

import typer

from raftq.cli import output
from raftq.cli.config_file import Setting, client_settings
from raftq.cli.options import Addresses, AsJson
from raftq.protocol.errors import RaftqError

app = typer.Typer(help="How the command line reaches the cluster.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """How the command line reaches the cluster."""


@app.command()
def show(address: Addresses = "", as_json: AsJson = False) -> None:
    """Show addresses, token file and CA, and where each comes from; never a token.

    Options go before the environment, which goes before raftq.toml in this folder, else
    ~/.config/raftq/config.toml. Nothing is asked of the cluster.
    """
    try:
        settings = client_settings(address, os.environ)
    except RaftqError as error:
        output.fail(error)
    found: dict[str, Setting] = {
        "addresses": settings.addresses,
        "token_file": settings.token_file,
        "tls_ca": settings.tls_ca,
    }
    if as_json:
        output.print_json(
            {key: {"value": each.value, "from": each.origin} for key, each in found.items()}
        )
    else:
        rows = [(key, each.value, each.origin) for key, each in found.items()]
        output.print_table(("key", "value", "from"), rows)
