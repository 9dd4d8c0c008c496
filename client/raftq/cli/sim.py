"""`raftq sim`: the simulator, a program of the broker's side."""

import os
import sys
from typing import Annotated

import typer

from raftq.cli.options import AsJson


def sim(
    seeds: Annotated[int, typer.Option(help="Runs, spread over all scenarios.")] = 200,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Replay one seed and print its trace.")] = None,
    scenario: Annotated[str | None, typer.Option(help="Only this one; see --list.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Only clusters of this size: 3 or 5.")] = None,
    mutate: Annotated[
        str | None,
        typer.Option(help="Switch a safeguard off until a check notices; `all` tries each."),
    ] = None,
    budget: Annotated[int, typer.Option(help="Runs that a mutation may survive.")] = 200,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
    as_json: AsJson = False,
    names: Annotated[bool, typer.Option("--list", help="Print scenarios and mutations.")] = False,
) -> None:
    """Simulate clusters in virtual time, with seeded disasters, and judge them by the promises.

    Ends with 1 if a promise was broken, or a mutation survived. Ctrl-C prints what is done so far.
    """
    wanted = {
        "--seeds": seeds,
        "--first": first,
        "--seed": seed,
        "--scenario": scenario,
        "--nodes": nodes,
        "--mutate": mutate,
        "--budget": budget,
        "--jobs": jobs,
    }
    command = [sys.executable, "-m", "raftq.testing.sim"]
    for name, value in wanted.items():
        command += [] if value is None else [name, str(value)]
    command += ["--json"] if as_json else []
    command += ["--list"] if names else []
    os.execv(sys.executable, command)  # Ctrl-C reaches the run itself, which tells what it has.
