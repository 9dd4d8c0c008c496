"""`raftq chaos`: faults on real processes, a program of the broker's side."""

import os
import sys
from typing import Annotated

import typer

from raftq.cli.options import AsJson


def chaos(
    fault: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated. See --list.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of each fault.")] = 1,
    seconds: Annotated[float | None, typer.Option(help="Begin no round after this time.")] = None,
    short: Annotated[bool, typer.Option("--short", help="A few faults only.")] = False,
    seed: Annotated[str | None, typer.Option(help="Of what is left to chance.")] = None,
    loopback: Annotated[
        bool, typer.Option("--loopback", help="Make no namespaces and disks, also if root may.")
    ] = False,
    keep: Annotated[
        str | None, typer.Option(help="Where evidence is kept; a new folder if not given.")
    ] = None,
    as_json: AsJson = False,
    names: Annotated[bool, typer.Option("--list", help="Print the faults.")] = False,
) -> None:
    """Hurt a cluster of real processes in every way, under load, and judge it by the promises.

    Network namespaces and disks need root; without, what needs neither is run, and the rest is
    named. Ends with 1 if a promise was broken, with 3 if nothing could be tried.
    """
    wanted = {
        "--rounds": rounds,
        "--seconds": seconds,
        "--seed": seed,
        "--keep": keep,
    }
    command = [sys.executable, "-m", "raftq.testing.chaos"]
    for name, value in wanted.items():
        command += [] if value is None else [name, str(value)]
    for each in fault or []:
        command += ["--fault", each]
    switches = {"--short": short, "--loopback": loopback, "--json": as_json, "--list": names}
    command += [name for name, is_on in switches.items() if is_on]
    os.execv(sys.executable, command)  # Signals reach the run itself, which cleans up.
