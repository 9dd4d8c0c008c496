"""`raftq cluster`: the cluster as a whole."""

from typing import Annotated

import typer

from raftq.cli import output
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.protocol.statuses import ClusterStatus

app = typer.Typer(help="The cluster as a whole.", invoke_without_command=True)
_COLUMNS = ("id", "role", "is_voter", "reachable", "native_address", "http_address", "peer_address")


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
    _show(found, as_json=as_json)
    if found.leader is None:
        output.say("no leader: a majority of the nodes must be running and reach each other")
        raise typer.Exit(output.EXIT_UNAVAILABLE)


@app.command()
def add(
    node: Annotated[str, typer.Argument(metavar="ID", help="The new node's id.")],
    peer_address: Annotated[
        str, typer.Argument(metavar="HOST:PORT", help="Where the other nodes reach it.")
    ],
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Add a node, or give a member another address.

    The node becomes a voter when it has caught up. Repeating the command changes nothing.
    """
    found = connected(address, timeout, lambda client: client.add_member(node, peer_address))
    _show(found, as_json=as_json)


@app.command()
def remove(
    node: Annotated[str, typer.Argument(metavar="ID", help="The member's id.")],
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Remove a member; its process stops. Repeating the command changes nothing.

    Refused if the leader would reach no majority of the voters that are left.
    """
    _show(connected(address, timeout, lambda client: client.remove_member(node)), as_json=as_json)


@app.command("transfer-leader")
def transfer_leader(
    node: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Who shall lead; without it, anyone.")
    ] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Hand leadership to another voter."""
    found = connected(address, timeout, lambda client: client.transfer_leadership(node))
    _show(found, as_json=as_json)


def _show(found: ClusterStatus, *, as_json: bool) -> None:
    nodes = [{name: getattr(node, name) for name in node.__struct_fields__} for node in found.nodes]
    facts = {name: getattr(found, name) for name in found.__struct_fields__ if name != "nodes"}
    if as_json:
        output.print_json({**facts, "nodes": nodes})
    else:
        output.print_facts(facts)
        print()
        rows = [[node[column] for column in _COLUMNS] for node in nodes]
        output.print_table([column.replace("_address", "") for column in _COLUMNS], rows)
