"""`raftq cluster`: the cluster as a whole."""

import typer

from raftq.cli import output
from raftq.cli.options import Addresses, AsJson, Timeout, connected

app = typer.Typer(help="The cluster as a whole.", invoke_without_command=True)
_COLUMNS = ("id", "role", "reachable", "native_address", "http_address", "peer_address")


@app.callback()
def default(
    context: typer.Context,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Show the cluster, if no other command is given."""
    if context.invoked_subcommand is None:
        status(address, timeout, as_json)


@app.command()
def status(address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False) -> None:
    """Show the nodes of the cluster, who leads, and how far the answering node is.

    Exit code 4 if there is no leader.
    """
    found = connected(address, timeout, lambda client: client.cluster())
    nodes = [{name: getattr(node, name) for name in node.__struct_fields__} for node in found.nodes]
    facts = {name: getattr(found, name) for name in found.__struct_fields__ if name != "nodes"}
    if as_json:
        output.print_json({**facts, "nodes": nodes})
    else:
        output.print_facts(facts)
        print()
        rows = [[node[column] for column in _COLUMNS] for node in nodes]
        output.print_table([column.replace("_address", "") for column in _COLUMNS], rows)
    if found.leader is None:
        output.say("no leader: a majority of the nodes must be running and reach each other")
        raise typer.Exit(output.EXIT_UNAVAILABLE)
