"""`raftq node`: one node, asked over HTTP."""

import os
from typing import Annotated

import typer

from raftq.cli.options import AsJson
from raftq.cli.readiness import DEFAULT_HTTP, DEFAULT_SECONDS, report

app = typer.Typer(help="One node.", no_args_is_help=True)


@app.callback()
def node() -> None:
    """One node."""


@app.command()
def ready(
    http: Annotated[
        str, typer.Option(envvar="RAFTQ_HTTP", help="The node's HTTP address.")
    ] = DEFAULT_HTTP,
    timeout: Annotated[float, typer.Option(min=0.001, max=600, help="Seconds.")] = DEFAULT_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Exit with 0 if a node serves calls, with 1 if not; for health checks.

    No token is needed. With RAFTQ_TLS_CA, TLS is spoken.
    """
    tls_ca = os.environ.get("RAFTQ_TLS_CA") or None
    raise typer.Exit(report(http, timeout, tls_ca, as_json=as_json))
