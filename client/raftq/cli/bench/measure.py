"""The measuring itself: which cases and curves, in rounds, each on a cluster of its own."""

import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from raftq.cli import output
from raftq.cli.bench import processes
from raftq.cli.bench.cases import CASES, Case
from raftq.cli.bench.curves import CURVES, Curve, Point
from raftq.cli.bench.figures import Sample, gather
from raftq.cli.bench.machine import describe_machine
from raftq.cli.bench.profile import Hot, profile_case
from raftq.cli.bench.record import Record
from raftq.cli.bench.stage import Scale, Stage, opened_stage

_SIZES: Final = (1, 3, 5)


class RequestRefused(Exception):
    """What was asked for cannot be done; the text says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be measured; see the options of the command."""

    names: list[str]
    rounds: int
    scale: Scale
    folder: Path
    has_curves: bool = False
    """Whether curves are wanted though none is named."""
    is_framework: bool = False
    """Whether the cases that run Apps are wanted, and no others unless they are named."""


def measured(request: Request) -> Record:
    """Measure what was asked for.

    Raises:
        RequestRefused: There is no such case, or it is none for so few nodes.
        RuntimeError: A case failed.
    """
    cases, curves = _chosen(request)
    machine = describe_machine(request.folder)
    samples: list[Sample] = []
    points: dict[str, list[list[Point]]] = {curve.name: [] for curve in curves}
    plan: list[tuple[int, Case | Curve]] = []
    for number in range(request.rounds):
        again = [each for each in cases if number == 0 or request.names or not each.is_long]
        plan += [(number, case) for case in again]
        plan += [(number, curve) for curve in curves]
    with _data_folder(request) as data, _progress(len(plan)) as advance:
        for number, each in plan:
            advance(f"round {number + 1}, {each.name}")
            with _clean_stage(data, request.scale, each.name) as stage:
                if isinstance(each, Case):
                    samples += each.measure(stage, each.name)
                else:
                    points[each.name].append(list(each.measure(stage)))
    settings = {**asdict(request.scale), "rounds": request.rounds}
    merged = {name: merged_points(found) for name, found in points.items()}
    return Record(machine, settings, gather(samples), merged)


def profiled(request: Request, kept: Path) -> list[Hot]:
    """Run each case asked for once, under the sampler, and keep the stacks in a folder.

    Raises:
        RequestRefused: As `measured`; or a case kills the process that is looked at.
        RuntimeError: A case failed.
    """
    cases, _ = _chosen(request)
    hurting = [each for each in cases if each.hurts_leader]
    if request.names and hurting:
        raise RequestRefused(f"{hurting[0].name} cannot be profiled: it harms the leader")
    cases = [each for each in cases if each not in hurting]
    found: list[Hot] = []
    with _data_folder(request) as data, _progress(len(cases)) as advance:
        for case in cases:
            advance(case.name)
            with _named(case.name):
                found += profile_case(case, request.scale, data, kept)
    return found


def merged_points(rounds: list[list[Point]]) -> list[Point]:
    """Return the curve of the medians of what several rounds found at the same place."""
    places = dict.fromkeys(point.at for points in rounds for point in points)
    merged: list[Point] = []
    for at in places:
        same = [point for points in rounds for point in points if point.at == at]
        merged.append(
            Point(
                at,
                median(point.rate for point in same),
                median(point.p50_ms for point in same),
                median(point.p99_ms for point in same),
            )
        )
    return merged


def _chosen(request: Request) -> tuple[list[Case], list[Curve]]:
    """Return what to measure: what is named, or all cases; curves only for a plot."""
    if not processes.is_supported():
        raise RequestRefused("`raftq bench` reads /proc, which only Linux has")
    if request.scale.nodes not in _SIZES:
        raise RequestRefused(f"nodes is {request.scale.nodes}; allowed is 1, 3 or 5")
    known = {each.name for each in (*CASES, *CURVES)}
    for name in request.names:
        if name not in known:
            raise RequestRefused(f"there is no case {name!r}; `raftq bench --list` prints them")
    if not request.folder.is_dir():
        raise RequestRefused(f"folder is {request.folder}, which is no folder")
    cases = [each for each in CASES if _is_wanted(each, request)]
    curves = [each for each in CURVES if each.name in request.names]
    if request.has_curves and not curves:
        curves = list(CURVES)
    if request.scale.nodes == 1:
        hurting = [each for each in cases if each.hurts_leader]
        if request.names and hurting:
            raise RequestRefused(f"{hurting[0].name} needs three nodes or more")
        cases = [each for each in cases if each not in hurting]
    return cases, curves


def _is_wanted(case: Case, request: Request) -> bool:
    if request.is_framework and case.is_framework:
        return True
    if request.names or request.is_framework:
        return case.name in request.names
    return not case.is_framework


@contextmanager
def _clean_stage(data: Path, scale: Scale, case: str) -> Generator[Stage]:
    """Open a stage, and leave nothing of it on the disk for the next one."""
    with (
        _named(case),
        tempfile.TemporaryDirectory(dir=data) as place,
        opened_stage(Path(place), scale) as stage,
    ):
        yield stage


@contextmanager
def _named(case: str) -> Generator[None]:
    """Say in which case something failed."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"{case}: {error}") from None


@contextmanager
def _progress(steps: int) -> Generator[Callable[[str], None]]:
    """Show on a terminal how far the run is; elsewhere print a line for each step."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=steps)
        begun = 0

        def advance(text: str) -> None:
            nonlocal begun
            progress.update(bar, description=text, completed=begun)
            begun += 1
            if not console.is_terminal:
                output.say(f"{begun}/{steps} {text}")

        yield advance
        progress.update(bar, description="done", completed=steps)


@contextmanager
def _data_folder(request: Request) -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="raftq-bench-", dir=request.folder) as data:
        yield Path(data)
