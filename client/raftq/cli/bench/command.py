"""`raftq bench`: start clusters, measure, print medians over several rounds."""

from pathlib import Path
from typing import Annotated

import typer

from raftq.cli import output
from raftq.cli.interrupts import raise_keyboard_interrupts


def bench(
    case: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated. See --list.")
    ] = None,
    framework: Annotated[
        bool,
        typer.Option(
            "--framework",
            help="The cases that run an App's tasks, with worker processes; no others but those "
            "that `--case` names.",
        ),
    ] = False,
    names: Annotated[bool, typer.Option("--list", help="Print the cases.")] = False,
    nodes: Annotated[int, typer.Option(help="Nodes of each cluster: 1, 3 or 5.")] = 3,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Rounds, interleaved; medians are printed. The backlog is measured in the first "
            "round only, unless `--case` asks for it.",
        ),
    ] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of each case.")] = 4.0,
    disturbances: Annotated[
        int, typer.Option(min=1, help="Leaders killed, and hung, in each round.")
    ] = 7,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks of the backlog.")] = 1_000_000,
    payload_bytes: Annotated[int, typer.Option(min=1, help="Size of each payload.")] = 256,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of the nodes, as `name=value`; may be repeated.", metavar="SET"
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the data goes; must be a real disk.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Measure nothing; read what `--json` printed earlier."),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Print ratios to what `--json` printed earlier.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Measure curves too, all or those that `--case` names, and draw them into this "
            "file (.png, .svg, .pdf). Needs `pip install 'raftq[plot]'`."
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            help="Run each case once and print where leader, follower, clients and workers use "
            "CPU; their stacks go into this folder, one a line, as flame graph programs read them."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure local clusters with fsync: rates, latency, failover, memory, disk and CPU.

    Each case gets a cluster of its own. Linux only.
    """
    from raftq.cli.bench.measure import Request, RequestRefused
    from raftq.cli.bench.run import Wanted, carry_out, print_names, print_profile
    from raftq.cli.bench.stage import Scale

    if names:
        print_names(as_json=as_json)
        return
    scale = Scale(nodes, seconds, disturbances, tasks, payload_bytes, _settings(setting or []))
    request = Request(
        case or [],
        rounds,
        scale,
        folder or Path.cwd(),
        has_curves=plot is not None,
        is_framework=framework,
    )
    raise_keyboard_interrupts()
    try:
        if profile:
            print_profile(request, profile, as_json=as_json)
        else:
            carry_out(request, Wanted(source, compare, plot, as_json))
    except RequestRefused as error:
        output.say(f"raftq: {error}")
        raise typer.Exit(output.EXIT_USAGE) from None
    except RuntimeError as error:
        output.say(f"raftq: {error}")
        raise typer.Exit(output.EXIT_FAILED) from None
    except KeyboardInterrupt:
        output.say("interrupted")
        raise typer.Exit(output.EXIT_INTERRUPTED) from None


def _settings(given: list[str]) -> dict[str, str]:
    """Return settings by the names of their flags."""
    found: dict[str, str] = {}
    for each in given:
        name, separator, value = each.partition("=")
        if not separator or not name:
            output.say(f"raftq: --set is {each!r}; it must be name=value")
            raise typer.Exit(output.EXIT_USAGE)
        found[name.replace("_", "-")] = value
    return found
