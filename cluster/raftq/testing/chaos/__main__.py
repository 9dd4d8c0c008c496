"""`raftq chaos`: hurt a real cluster in every way, and judge what its clients saw."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from typing import Final

from raftq.testing.chaos import isolation, report
from raftq.testing.chaos.arena import Equipment
from raftq.testing.chaos.equipment import equip, missing_equipment, why_left_out
from raftq.testing.chaos.faults import FAULTS, SHORT, Fault, Need
from raftq.testing.chaos.rounds import RoundReport, play
from raftq.testing.chaos.sabotage import SABOTAGES

_EXIT_VIOLATED: Final = 1
_EXIT_NOTHING: Final = 3
_EXIT_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if a promise was broken, 3 if nothing could be
    tried."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    if options.list:
        report.print_names()
        return 0
    inside = isolation.folder_inside()
    if inside is not None:
        isolation.prepare()
        return _interruptible(options, inside, None)
    why_not = "--loopback was given" if options.loopback else isolation.why_not_isolated()
    folder = Path(tempfile.mkdtemp(prefix="raftq-chaos-"))
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        if why_not is None:
            return isolation.run_inside(given, folder)
        return _interruptible(options, folder, why_not)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _interruptible(options: argparse.Namespace, folder: Path, why_not: str | None) -> int:
    try:
        return _run(options, folder, why_not)
    except KeyboardInterrupt:
        print("raftq chaos: interrupted", file=sys.stderr)
        return _EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raftq chaos",
        description="Hurt a cluster of real processes in every way, under load, and judge it by "
        "the promises. Namespaces and disks need root; without, what needs neither is run.",
    )
    choices = [*FAULTS, *SABOTAGES]
    parser.add_argument(
        "--fault",
        action="append",
        choices=choices,
        metavar="NAME",
        help="only this one; see --list",
    )
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each fault")
    parser.add_argument("--seconds", type=float, help="begin no round after this time")
    parser.add_argument("--short", action="store_true", help="a few faults only")
    parser.add_argument("--seed", help="of the harness's and the clients' decisions")
    parser.add_argument("--loopback", action="store_true", help="use no namespaces and disks")
    parser.add_argument("--keep", type=Path, help="where evidence is kept; default: a new folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--list", action="store_true", help="print the faults")
    return parser


def _run(options: argparse.Namespace, folder: Path, why_not: str | None) -> int:
    missing = missing_equipment(why_not)
    faults, left_out = _chosen(options, missing)
    seed = options.seed or f"{SystemRandom().getrandbits(32):08x}"
    evidence = options.keep or Path(tempfile.gettempdir()) / f"raftq-chaos-evidence-{seed}"
    equipment = equip(missing, folder)
    begun = time.monotonic()
    reports: list[RoundReport] = []
    jobs = [(fault, number) for number in range(options.rounds) for fault in faults]
    with report.progress(len(jobs)) as step:
        for fault, number in jobs:
            if options.seconds and time.monotonic() - begun > options.seconds:
                break
            reports.append(_play(fault, number, equipment, folder, evidence, seed))
            step(reports[-1])
    if options.json:
        print(json.dumps(report.facts(reports, left_out, seed), indent=1))
    else:
        report.print_summary(reports, left_out, seed, time.monotonic() - begun)
    if any(each.violations for each in reports):
        return _EXIT_VIOLATED
    return 0 if reports else _EXIT_NOTHING


def _chosen(
    options: argparse.Namespace, missing: dict[Need, str]
) -> tuple[list[Fault], dict[str, str]]:
    """Return the faults to make, and why others are left out."""
    names: Sequence[str] = options.fault or (SHORT if options.short else list(FAULTS))
    faults = [FAULTS[name] if name in FAULTS else SABOTAGES[name].fault for name in names]
    left_out = {f.name: why for f in faults if (why := why_left_out(f, missing)) is not None}
    return [fault for fault in faults if fault.name not in left_out], left_out


def _play(
    fault: Fault, number: int, equipment: Equipment, folder: Path, evidence: Path, seed: str
) -> RoundReport:
    tamper = SABOTAGES[fault.name].tamper if fault.name in SABOTAGES else None
    place = folder / f"{fault.name}-{number}"
    return play(fault, number, equipment, place, evidence, seed, tamper)


if __name__ == "__main__":
    sys.exit(main())
