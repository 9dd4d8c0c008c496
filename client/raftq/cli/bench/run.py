"""One run of `raftq bench`: measure or read, then print, compare, draw."""

from dataclasses import asdict, dataclass
from pathlib import Path

from raftq.cli import output
from raftq.cli.bench import report
from raftq.cli.bench.cases import CASES
from raftq.cli.bench.compare import changes, differences
from raftq.cli.bench.curves import CURVES
from raftq.cli.bench.measure import Request, RequestRefused, measured, profiled
from raftq.cli.bench.plot import CannotPlot, check_can_plot, plot
from raftq.cli.bench.record import BadRecord, Record, read_record


@dataclass(frozen=True, slots=True)
class Wanted:
    """What becomes of a run; see the options of the command."""

    source: Path | None = None
    compare: Path | None = None
    plot: Path | None = None
    as_json: bool = False


def print_names(*, as_json: bool) -> None:
    """Print the names of cases and curves, and what they are."""
    found = {each.name: each.text for each in (*CASES, *CURVES)}
    if as_json:
        output.print_json(found)
    else:
        output.print_facts(found)


def carry_out(request: Request, wanted: Wanted) -> None:
    """Measure or read, and print, compare, draw.

    Raises:
        RequestRefused: Something asked for is impossible.
        RuntimeError: A case failed.
    """
    try:
        old = read_record(wanted.compare) if wanted.compare else None
        if wanted.plot:
            check_can_plot(wanted.plot)
        record = read_record(wanted.source) if wanted.source else measured(request)
        _print(record, old, as_json=wanted.as_json)
        if wanted.plot:
            plot(wanted.plot, record.curves, _title(record))
            output.say(f"drawn: {wanted.plot}")
    except (BadRecord, CannotPlot) as error:
        raise RequestRefused(str(error)) from None


def print_profile(request: Request, kept: Path, *, as_json: bool) -> None:
    """Run each case once and print where CPU is used.

    Raises:
        RequestRefused, RuntimeError: As `carry_out`.
    """
    found = profiled(request, kept)
    if as_json:
        output.print_json({"functions": [asdict(each) for each in found]})
    else:
        report.print_hot(found)
    output.say(f"stacks: {kept}")


def _print(record: Record, old: Record | None, *, as_json: bool) -> None:
    changed = changes(record, old) if old else []
    if as_json:
        compared = {"compared": [each.json() for each in changed]} if old else {}
        output.print_json({**record.json(), **compared})
    else:
        report.print_record(record, {each.name: each.text for each in CASES}, changed)
    for difference in differences(record, old) if old else []:
        output.say(f"not the same: {difference}")


def _title(record: Record) -> str:
    facts = {**record.machine, **record.settings}
    wanted = ("raftq", "nodes", "cores", "processor", "fdatasync_ms", "began_at")
    return ", ".join(f"{name} {facts.get(name)}" for name in wanted)
