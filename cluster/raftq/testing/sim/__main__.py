"""`raftq sim`: simulate many disasters, replay one, or take a safeguard away."""

import argparse
import json
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Final

from raftq.testing.sim import report
from raftq.testing.sim.interruption import EXIT_INTERRUPTED, asked_between_runs, is_stop_wanted
from raftq.testing.sim.mutations import MUTATIONS
from raftq.testing.sim.runner import Hunt, Job, Report, hunt_all, play, play_all, spread
from raftq.testing.sim.scenarios import SCENARIOS

_SIZES: Final = (3, 5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if a promise was broken or a mutation survived, 130
    if it was interrupted, after what was done so far is printed."""
    options = _parser().parse_args(arguments)
    if options.list:
        report.print_names()
        return 0
    try:
        if options.seed is not None:
            return _replay(options)
        with asked_between_runs():
            code = _search(options) if options.mutate is None else _hunt(options)
            return EXIT_INTERRUPTED if is_stop_wanted() else code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raftq sim",
        description="Simulate a cluster in virtual time: seeded disasters, judged by the promises.",
    )
    parser.add_argument("--seeds", type=int, default=200, help="runs, spread over all scenarios")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay one seed and print its trace")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), help="only this one")
    parser.add_argument("--nodes", type=int, choices=_SIZES, help="only this size of cluster")
    parser.add_argument(
        "--mutate",
        choices=[*sorted(MUTATIONS), "all"],
        metavar="NAME",
        help="switch a safeguard off, and run until a check notices; `all` tries each",
    )
    parser.add_argument("--budget", type=int, default=200, help="runs that a mutation may survive")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--list", action="store_true", help="print scenarios and mutations")
    return parser


def _search(options: argparse.Namespace) -> int:
    scenarios = [options.scenario] if options.scenario else list(SCENARIOS)
    sizes: list[int] = [options.nodes] if options.nodes else list(_SIZES)
    jobs = spread(options.seeds, options.first, scenarios, sizes)
    begun = monotonic()
    reports: list[Report] = []
    with report.progress(options.seeds, "runs", is_quiet=options.json) as step:
        for each in play_all(jobs, options.jobs):
            reports.append(each)
            step(bool(each.rules))
    bad = [each for each in reports if each.rules]
    if options.json:
        print(json.dumps([report.facts(each) for each in reports], indent=1))
    else:
        report.print_summary(reports, monotonic() - begun)
        for each in bad[:3]:
            report.print_violation(each)
    return 1 if bad else 0


def _replay(options: argparse.Namespace) -> int:
    if options.scenario is None:
        print("raftq sim: --seed needs --scenario", file=sys.stderr)
        return 2
    if options.mutate == "all":
        print("raftq sim: --seed takes one mutation, not all", file=sys.stderr)
        return 2
    job = Job(options.scenario, options.nodes or 3, options.seed, options.mutate)
    found = play(job, whole_trace=True)
    if options.json:
        print(json.dumps(report.facts(found), indent=1))
    else:
        print("\n".join(found.trace))
        if found.rules:
            report.print_violation(found)
    return 1 if found.rules else 0


def _hunt(options: argparse.Namespace) -> int:
    shown = [name for name, known in MUTATIONS.items() if not known.not_shown_because]
    names: list[str] = shown if options.mutate == "all" else [options.mutate]
    hunts: list[Hunt] = []
    with report.progress(len(names), "mutations", is_quiet=options.json) as step:
        for each in hunt_all(names, options.budget, options.jobs):
            hunts.append(each)
            step(each.caught is None)
    if options.json:
        print(json.dumps([report.hunt_facts(each) for each in hunts], indent=1))
    else:
        report.print_hunts(hunts)
    return 0 if all(each.caught is not None for each in hunts) else 1


if __name__ == "__main__":
    sys.exit(main())
