"""What `raftq chaos` prints: progress, the table, and where the evidence is."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from raftq.testing.chaos.faults import FAULTS
from raftq.testing.chaos.rounds import RoundReport
from raftq.testing.chaos.sabotage import SABOTAGES

_COLUMNS = {
    "fault": "fault",
    "rounds": "rounds",
    "operations": "calls",
    "unknown": "unknown",
    "unavailable_ms_p50": "gap p50",
    "unavailable_ms_max": "gap max",
    "redelivered": "redelivered",
    "lost": "lost",
    "recorded_twice": "twice",
    "violations": "violations",
}
"""Keys in JSON, and the columns of the table."""
_TABLE_WIDTH = 130
_SHOWN = 3


@contextmanager
def progress(total: int) -> Generator[Callable[[RoundReport], None]]:
    """Tell of each round on stderr, over a bar if that is a terminal, and give the function that
    takes a round."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=quiet) as bar:
        task = bar.add_task("rounds", total=total)

        def step(report: RoundReport) -> None:
            verdict = f"{len(report.violations)} violations" if report.violations else "clean"
            bar.advance(task)
            bar.print(f"{report.fault} {report.number}: {verdict}, {report.seconds:.1f} s")

        yield step


def print_names() -> None:
    """Print every fault."""
    table = Table("fault", "what happens", "needs")
    for fault in FAULTS.values():
        table.add_row(fault.name, fault.summary, ", ".join(sorted(fault.needs)))
    proofs = Table("sabotage", "what happens", "must be reported")
    for name, sabotage in SABOTAGES.items():
        proofs.add_row(name, sabotage.fault.summary, " or ".join(sorted(sabotage.rules)))
    for each in (table, proofs):
        _wide_console().print(each)


def _wide_console() -> Console:
    """Return a console on which no column is cut off, also when it is a file."""
    console = Console()
    return console if console.width >= _TABLE_WIDTH else Console(width=_TABLE_WIDTH)


def _row(name: str, reports: Sequence[RoundReport]) -> list[object]:
    gaps = [each.figures.unavailable_ms for each in reports]
    return [
        name,
        len(reports),
        sum(each.figures.operations for each in reports),
        sum(each.figures.unknown for each in reports),
        round(median(gaps)),
        round(max(gaps)),
        sum(each.figures.redeliveries for each in reports),
        sum(each.figures.lost for each in reports),
        sum(each.figures.recorded_twice for each in reports),
        sum(len(each.violations) for each in reports),
    ]


def _rows(reports: Sequence[RoundReport]) -> list[list[object]]:
    names = dict.fromkeys(report.fault for report in reports)
    return [_row(name, [each for each in reports if each.fault == name]) for name in names]


def print_summary(
    reports: Sequence[RoundReport], left_out: Mapping[str, str], seed: str, seconds: float
) -> None:
    """Print the table, what was left out, and the first violations."""
    table = Table()
    for key, column in _COLUMNS.items():
        table.add_column(column, justify="left" if key == "fault" else "right")
    for row in _rows(reports):
        style = "red" if row[-1] else None
        table.add_row(*map(str, row), style=style)
    console = _wide_console()
    console.print(table)
    for name, reason in left_out.items():
        console.print(f"left out: {name} {reason}", highlight=False)
    bad = [report for report in reports if report.violations]
    for report in bad:
        console.print(f"\n[red]{report.fault} {report.number}[/red]: evidence in {report.evidence}")
        for violation in report.violations[:_SHOWN]:
            console.print(str(violation), markup=False, highlight=False)
    console.print("gap: the longest time between two successful enqueue calls of a round, in ms")
    console.print(
        f"{len(reports)} rounds in {seconds:.0f} s, {len(bad)} with violations, "
        f"{len(left_out)} faults left out; seed {seed}"
    )


def facts(
    reports: Sequence[RoundReport], left_out: Mapping[str, str], seed: str
) -> dict[str, object]:
    """Return the reports as JSON has them."""
    return {
        "seed": seed,
        "faults": [dict(zip(_COLUMNS, row, strict=True)) for row in _rows(reports)],
        "left_out": dict(left_out),
        "rounds": [_facts_of(report) for report in reports],
    }


def _facts_of(report: RoundReport) -> dict[str, object]:
    figures = report.figures
    return {
        "fault": report.fault,
        "round": report.number,
        "seconds": round(report.seconds, 1),
        "operations": figures.operations,
        "unknown": figures.unknown,
        "enqueued": figures.enqueued,
        "unavailable_ms": round(figures.unavailable_ms),
        "redelivered": figures.redeliveries,
        "lost": figures.lost,
        "recorded_twice": figures.recorded_twice,
        "violations": [str(violation) for violation in report.violations],
        "rules": sorted({violation.rule for violation in report.violations}),
        "notes": report.notes,
        "evidence": None if report.evidence is None else str(report.evidence),
    }
