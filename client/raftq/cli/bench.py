"""`raftq bench`: start a cluster, measure, print medians over several rounds."""

import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from raftq.cli import output


def bench(
    nodes: Annotated[int, typer.Option(help="Number of nodes, started for this.")] = 3,
    seconds: Annotated[float, typer.Option(help="Length of each case.")] = 4.0,
    rounds: Annotated[int, typer.Option(help="Rounds; medians are printed.")] = 3,
    folder: Annotated[
        Path | None, typer.Option(help="Where the data goes; must be a real disk.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure enqueues, life cycles, latency and failover of a local cluster with fsync."""
    from raftq.cli.bench_cases import Cases, Figure
    from raftq.cli.local_cluster import LocalCluster

    figures: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="raftq-bench-", dir=folder or Path.cwd()) as data:
        try:
            with LocalCluster(Path(data), nodes) as cluster:
                cases = Cases(cluster, seconds)
                for number in range(rounds):
                    output.say(f"round {number + 1} of {rounds}")
                    found: list[Figure] = cases.round()
                    for figure in found:
                        figures.setdefault((figure.name, figure.unit), []).append(figure.value)
        except RuntimeError as error:
            output.say(f"raftq: {error}")
            raise typer.Exit(output.EXIT_FAILED) from None
    settings: dict[str, object] = {
        "raftq": version("raftq"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "nodes": nodes,
        "seconds": seconds,
        "rounds": rounds,
        "payload_bytes": 256,
        "fsync": "on a majority, before each answer",
    }
    if as_json:
        rows = [
            {"name": name, "unit": unit, "median": median(values), "values": values}
            for (name, unit), values in figures.items()
        ]
        output.print_json({"settings": settings, "figures": rows})
    else:
        _print(settings, figures)


def _print(settings: dict[str, object], figures: dict[tuple[str, str], list[float]]) -> None:
    rows = [
        (name, _short(median(values)), unit, f"{_short(min(values))} to {_short(max(values))}")
        for (name, unit), values in figures.items()
    ]
    output.print_table(("case", "median", "unit", "spread"), rows)
    print(", ".join(f"{name} {value}" for name, value in settings.items()), file=sys.stderr)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
