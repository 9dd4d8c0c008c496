"""The commands of `raftq`, put together. Only the module of the command asked for is imported."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any, Final, cast

import typer

_TASKS: Final = ("lease", "ack", "fail", "requeue", "extend")
_MODULES: Final[dict[str, str]] = {
    "enqueue": "enqueue",
    **dict.fromkeys(_TASKS, "tasks"),
    "status": "control.status",
    "task": "control.task",
    "queue": "control.queue",
    "limit": "control.limit",
    "quota": "control.quota",
    "schedule": "schedules",
    "events": "events",
    "top": "top.command",
    "cluster": "cluster",
    "config": "config",
    "node": "node",
    "certs": "certs",
    "token": "token",
    "inspect": "inspect",
    "backup": "backup",
    "restore": "restore",
    "recover": "restore",
    "dev": "dev",
    "worker": "worker",
    "bench": "bench.command",
    "sim": "sim",
    "chaos": "chaos",
}
"""Command → module of raftq.cli. A module has `app` (a group) or a function of the same name."""


def build(only: str | None = None) -> typer.Typer:
    """Return the command line; with `only`, the part of it that this command needs."""
    app = typer.Typer(
        name="raftq",
        help="A task queue that survives its own servers.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for command, module_name in _MODULES.items():
        if only is None or command == only:
            module = import_module(f"raftq.cli.{module_name}")
            group = getattr(module, "app", None)
            if isinstance(group, typer.Typer):
                app.add_typer(group, name=command)
            else:
                app.command(command)(cast("Callable[..., Any]", getattr(module, command)))
    return app


def print_version(wanted: bool) -> None:
    """Print the version and end, if that is wanted."""
    if wanted:
        from importlib.metadata import version

        print(f"raftq {version('raftq')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A task queue that survives its own servers."""


def run(arguments: Sequence[str]) -> None:
    """Run the command line with these arguments; ends the process."""
    first = arguments[0] if arguments else ""
    # A version needs no command at all; any known one will do.
    only = "node" if first == "--version" else first if first in _MODULES else None
    build(only)(list(arguments), prog_name="raftq")
