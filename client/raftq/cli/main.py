"""The command `raftq`."""

from importlib.metadata import version
from typing import Annotated

import typer

from raftq.cli import bench, dev, operate, tasks
from raftq.cli.options import Addresses, AsJson, Timeout

app = typer.Typer(
    name="raftq",
    help="A task queue that survives its own servers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
cluster = typer.Typer(help="The cluster as a whole.", invoke_without_command=True)
node = typer.Typer(help="One node.", no_args_is_help=True)

for command in (
    tasks.enqueue,
    tasks.lease,
    tasks.ack,
    tasks.fail,
    tasks.requeue,
    tasks.extend,
    tasks.status,
    tasks.queue,
    operate.inspect,
    dev.dev,
    bench.bench,
):
    app.command()(command)
cluster.command("status")(operate.cluster_status)
node.command("ready")(operate.node_ready)
app.add_typer(cluster, name="cluster")
app.add_typer(node, name="node")


@cluster.callback()
def cluster_default(
    context: typer.Context,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Show the cluster, if no other command is given."""
    if context.invoked_subcommand is None:
        operate.cluster_status(address, timeout, as_json)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"raftq {version('raftq')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A task queue that survives its own servers."""


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
