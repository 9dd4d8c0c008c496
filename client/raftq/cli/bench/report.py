"""What `raftq bench` prints for people."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Table

from raftq.cli.bench.compare import Change
from raftq.cli.bench.figures import Figure, Pick
from raftq.cli.bench.profile import Hot
from raftq.cli.bench.record import Record

_CPU: Final = {
    "CPU, leader": "leader",
    "CPU, follower": "follower",
    "CPU, all nodes": "nodes",
    "CPU, clients": "clients",
}
"""Figures that become columns beside the first figure of their case."""
_WIDTH_ELSEWHERE: Final = 200
"""Columns where the output is no terminal: nothing is cut or folded."""


def print_record(record: Record, texts: Mapping[str, str], changed: Sequence[Change]) -> None:
    """Print the figures of a run, and how they changed.

    Args:
        record: The run.
        texts: What each case is, by name.
        changed: Ratios to an earlier run; may be empty.
    """
    console = _console()
    ratios = {(each.figure.case, each.figure.what): each for each in changed}
    table = Table(title="raftq bench", title_justify="left", show_edge=False, pad_edge=False)
    for name in ("case", "figure"):
        table.add_column(name)
    for name in ("value", "unit", "spread", "n"):
        table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    for name in _CPU.values():
        table.add_column(f"{name}\nµs/task", justify="right", no_wrap=True)
    if changed:
        table.add_column("was", justify="right", no_wrap=True)
        table.add_column("ratio", no_wrap=True)
    for case, group in groupby(record.figures, key=lambda figure: figure.case):
        _add_case(table, case, list(group), ratios if changed else None)
    if record.figures:
        console.print(table)
    for case, text in texts.items():
        if any(figure.case == case for figure in record.figures):
            console.print(f"{case}: {text}", highlight=False, markup=False)
    _print_curves(console, record)
    _print_facts(console, "machine", record.machine)
    _print_facts(console, "settings", record.settings)


def _add_case(
    table: Table,
    case: str,
    figures: list[Figure],
    ratios: Mapping[tuple[str, str], Change] | None,
) -> None:
    cpu = {_CPU[figure.what]: short(figure.value) for figure in figures if figure.what in _CPU}
    shown = [figure for figure in figures if figure.what not in _CPU]
    for number, figure in enumerate(shown):
        is_last = number == len(shown) - 1
        columns = [cpu.get(name, "") for name in _CPU.values()] if number == 0 else [""] * len(_CPU)
        spread = f"{short(min(figure.values))} to {short(max(figure.values))}"
        what = figure.what
        row = [
            case if number == 0 else "",
            what if figure.pick is Pick.MEDIAN or figure.pick.value in what else f"{what}, worst",
            short(figure.value),
            figure.unit,
            spread if len(figure.values) > 1 else "",
            str(len(figure.values)),
            *columns,
        ]
        if ratios is not None:
            row += _compared(ratios.get((case, what)))
        table.add_row(*row, end_section=is_last)


def _compared(change: Change | None) -> tuple[str, str]:
    if change is None:
        return "", ""
    ratio = "" if change.ratio is None else f"{change.ratio:.2f} {change.verdict}".rstrip()
    return short(change.old), ratio


def _print_curves(console: Console, record: Record) -> None:
    for name, points in record.curves.items():
        table = Table(title=name, title_justify="left", show_edge=False, pad_edge=False)
        for column in ("at", "tasks/s", "p50 ms", "p99 ms"):
            table.add_column(column, justify="right", no_wrap=True)
        for point in points:
            times = (point.p50_ms, point.p99_ms)
            table.add_row(
                short(point.at), short(point.rate), *(short(each) if each else "" for each in times)
            )
        console.print(table)


def print_hot(found: Sequence[Hot]) -> None:
    """Print where CPU went."""
    console = _console()
    for (case, role), group in groupby(found, key=lambda each: (each.case, each.role)):
        table = Table(title=f"{case}, {role}", title_justify="left", show_edge=False)
        table.add_column("own %", justify="right", no_wrap=True)
        table.add_column("total %", justify="right", no_wrap=True)
        table.add_column("function", overflow="fold")
        for each in group:
            table.add_row(f"{each.own:.1f}", f"{each.total:.1f}", each.function)
        console.print(table)


def _print_facts(console: Console, name: str, facts: Mapping[str, object]) -> None:
    text = ", ".join(f"{key} {value}" for key, value in facts.items())
    console.print(f"{name}: {text}", highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_ELSEWHERE)


def short(value: float) -> str:
    """Return a number with as many digits as are worth reading."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
