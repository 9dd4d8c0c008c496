"""`raftq dev`: a local cluster in one command."""

import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from raftq.cli import output
from raftq.cli.interrupts import SIGNALS, raise_keyboard_interrupts
from raftq.cli.local_cluster import LocalCluster, taken_port


def dev(
    nodes: Annotated[int, typer.Option(help="Number of nodes: 1, 3 or 5.")] = 3,
    base_port: Annotated[
        int,
        typer.Option(min=1, max=65_500, help="Ports: native this +1…, HTTP +11…, peers +21…."),
    ] = 7600,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data here; default: a folder that goes away.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON.")] = False,
) -> None:
    """Start a local cluster, say how to talk to it, and run until Ctrl-C."""
    if nodes not in (1, 3, 5):
        output.say(f"raftq: nodes is {nodes}; allowed is 1, 3 or 5")
        raise typer.Exit(output.EXIT_USAGE)
    raise_keyboard_interrupts()
    with tempfile.TemporaryDirectory(prefix="raftq-dev-") as temporary:
        cluster = LocalCluster(data_dir or Path(temporary), nodes, base_port)
        port = taken_port(cluster)
        if port is not None:
            output.say(f"raftq: port {port} is taken; choose others with --base-port")
            raise typer.Exit(output.EXIT_FAILED)
        try:
            cluster.start()
            _explain(cluster, as_json)
            _watch(cluster)
        except KeyboardInterrupt:
            output.say("stopping; a second Ctrl-C kills the nodes")
        except RuntimeError as error:
            output.say(f"raftq: {error}")
            raise typer.Exit(output.EXIT_FAILED) from None
        finally:
            _stop(cluster)


def _stop(cluster: LocalCluster) -> None:
    """Stop every node, whatever else is asked for meanwhile."""
    try:
        cluster.stop()
    except KeyboardInterrupt:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        cluster.kill_all()


def _explain(cluster: LocalCluster, as_json: bool) -> None:
    leader = cluster.wait_leader()
    if as_json:
        nodes = [
            {"id": node.id, "native": node.native, "http": node.http, "log": str(node.log)}
            for node in cluster.nodes
        ]
        facts = {"addresses": cluster.addresses, "leader": leader.id, "nodes": nodes}
        output.print_json(facts)
        return
    http = cluster.nodes[0].http
    print(f"{len(cluster.nodes)} nodes are running, {leader.id} leads. Ctrl-C stops them.\n")
    for node in cluster.nodes:
        print(f"  {node.id}  native {node.native}  http http://{node.http}  log {node.log}")
    print(
        f"""
Talk to them from another shell:

  export RAFTQ_ADDRESSES={cluster.addresses}
  raftq enqueue mail "hello"
  raftq lease mail
  raftq ack TOKEN --result "done"
  raftq cluster status

  curl -s -X POST http://{http}/v1/queues/mail/tasks -d '{{"tasks":[{{"payload":"hello"}}]}}'
""",
        flush=True,
    )


def _watch(cluster: LocalCluster) -> None:
    """Wait for Ctrl-C; say it when a node ends, and let the others go on."""
    reported: set[str] = set()
    while True:
        time.sleep(0.2)
        for node in cluster.nodes:
            if not node.is_running and node.id not in reported:
                reported.add(node.id)
                output.say(f"{node.id} ended; see {node.log}")
