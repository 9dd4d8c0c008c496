"""The commands that operators use: cluster, node ready, inspect."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import typer

from raftq.cli import output
from raftq.cli.options import Addresses, AsJson, Timeout


def cluster_status(
    address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False
) -> None:
    """Show the nodes of the cluster, who leads, and how far the answering node is."""
    from raftq.cli.tasks import connected

    found = connected(address, timeout, lambda client: client.cluster())
    nodes = [{name: getattr(node, name) for name in node.__struct_fields__} for node in found.nodes]
    facts = {name: getattr(found, name) for name in found.__struct_fields__ if name != "nodes"}
    if as_json:
        output.print_json({**facts, "nodes": nodes})
        return
    output.print_facts(facts)
    print()
    columns = ("id", "role", "reachable", "native_address", "http_address", "peer_address")
    rows = [[node[column] for column in columns] for node in nodes]
    output.print_table([column.replace("_address", "") for column in columns], rows)
    if found.leader is None:
        output.say("no leader: a majority of the nodes must be running and reach each other")
        raise typer.Exit(output.EXIT_UNAVAILABLE)


def node_ready(
    http: Annotated[
        str, typer.Option(envvar="RAFTQ_HTTP", help="The node's HTTP address.")
    ] = "127.0.0.1:7611",
    timeout: Annotated[float, typer.Option(help="Seconds.")] = 2.0,
) -> None:
    """Exit with 0 if a node serves calls, with 1 if not; for health checks."""
    try:
        with urlopen(f"http://{http}/readyz", timeout=timeout) as answer:
            print(answer.read().decode())
    except HTTPError as error:
        with error:
            output.say(error.read().decode())
        raise typer.Exit(output.EXIT_FAILED) from None
    except (URLError, OSError, ValueError) as error:
        output.say(f"raftq: {http} does not answer: {error}")
        raise typer.Exit(output.EXIT_FAILED) from None


def inspect(
    path: Annotated[Path, typer.Argument(help="A data folder, or a file in one.")],
    as_json: AsJson = False,
) -> None:
    """Print what is in a node's files; changes nothing."""
    command = [sys.executable, "-m", "raftq.storage.inspect", str(path)]
    finished = subprocess.run([*command, "--json"] if as_json else command, check=False)
    raise typer.Exit(finished.returncode)
