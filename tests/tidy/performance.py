"""Write the tables of docs/internals/performance.md from kept runs of `raftq bench`.

    python -m tests.tidy.performance                    write the tables
    python -m tests.tidy.performance record [RUN …]     measure, keep, then write them

The kept runs are docs/internals/performance/RUN.json. A figure that no kept run has is shown as
not measured; nothing here fails because of a figure.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftq.cli.bench.curves import CURVES
from raftq.cli.bench.figures import Figure, Pick
from raftq.cli.bench.record import Record, read_record
from raftq.cli.bench.report import short

PAGE: Final = Path(__file__).parents[2] / "docs" / "internals" / "performance.md"
FOLDER: Final = PAGE.with_suffix("")
_FRAMEWORK: Final = "framework"
PICTURE: Final = f"{FOLDER.name}/curves.png"
"""As the page links to it."""
RUNS: Final[dict[str, tuple[str, ...]]] = {
    "standard": (),
    "curves": (*(word for curve in CURVES for word in ("--case", curve.name)), "--seconds", "2"),
    "many-tasks": ("--case", "backlog", "--rounds", "1", "--tasks", "5000000"),
    "large-payloads": ("--case", "backlog", "--rounds", "1", "--payload-bytes", "4096"),
    _FRAMEWORK: ("--framework",),
}
"""Name of a kept run → what `raftq bench` was given."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the goals' table.

    Attributes:
        text: What is measured, in words.
        limit: The value to reach.
        case, what: Names a figure.
        unit: Of limit and figure.
        peers: The best replicated peer, and in brackets single-node Redis with fsync; of the
            framework, the best peer on single-node Redis.
        run: Whose figure it is.
    """

    text: str
    limit: float
    case: str
    what: str
    unit: str
    peers: str = ""
    run: str = "standard"

    def is_met_by(self, figure: Figure) -> bool:
        """Whether a figure reaches the goal."""
        more = figure.is_more_better
        return figure.value >= self.limit if more else figure.value <= self.limit

    def limit_text(self) -> str:
        """Return the goal in words."""
        return f"{'≥' if self.unit == '/s' else '≤'} {short(self.limit)} {self.unit}"


_STALL: Final = "longest stall"
_MEMORY: Final = "memory of a node"
GOALS: Final = (
    Goal(
        "enqueue, 128 callers, one task a call",
        *(35_000, "enqueue-128", "rate", "/s"),
        "NATS 21,300 without fsync, 12,800 with (12,800)",
    ),
    Goal(
        "enqueue, batches of 100",
        *(100_000, "enqueue-batched", "rate", "/s"),
        "NATS 27,900 without fsync, 18,000 with (156,000)",
    ),
    Goal(
        "life cycle, 1 producer and 4 consumer processes, one task a call",
        *(12_000, "life-cycle", "rate", "/s"),
        "NATS 4,210 without fsync, 3,700 with (10,100)",
    ),
    Goal(
        "life cycle, 1 producer and 4 consumer processes, batches of 100",
        *(40_000, "life-cycle-batched", "rate", "/s"),
        "NATS 7,490 without fsync, 6,420 with (47,800)",
    ),
    Goal("enqueue at 200/s, p50", 0.7, "paced", "enqueue, p50", "ms", "NATS 1.0"),
    Goal("enqueue at 200/s, p99", 2.5, "paced", "enqueue, p99", "ms", "NATS 3.2"),
    Goal(
        "enqueue to delivery at 200/s, p50",
        *(1.0, "paced", "enqueue to delivery, p50", "ms"),
        "NATS 1.2",
    ),
    Goal(
        "leader SIGKILLed to next accepted enqueue, median",
        *(150, "leader-killed", "gap, median", "ms"),
        "RabbitMQ 203",
    ),
    Goal(
        "leader SIGKILLed to next accepted enqueue, worst", 600, "leader-killed", "gap, worst", "ms"
    ),
    Goal(
        "leader SIGSTOPped to next accepted enqueue, median; nothing run twice",
        *(1_000, "leader-hangs", "gap, median", "ms"),
        "etcd 2,060, NATS 4,690, RabbitMQ 6,230",
    ),
    Goal(
        "memory of a node, 1,000,000 tasks of 256 B",
        *(150, "backlog", _MEMORY, "MB"),
        "NATS 39 (Redis 280; RabbitMQ 300+ at 200,000)",
    ),
    Goal(
        "memory of a node, 1,000,000 tasks of 4 KiB",
        160,
        "backlog",
        _MEMORY,
        "MB",
        run="large-payloads",
    ),
    Goal(
        "memory of a node, 5,000,000 tasks of 256 B",
        400,
        "backlog",
        _MEMORY,
        "MB",
        run="many-tasks",
    ),
    Goal(
        "disk of a node, 1,000,000 tasks of 256 B",
        *(320, "backlog", "disk of a node", "MB"),
        "NATS 297",
    ),
    Goal(
        "CPU of all nodes for a batched life cycle",
        *(30, "life-cycle-batched", "CPU, all nodes", "µs/task"),
        "NATS 130",
    ),
    Goal(
        "CPU of all nodes at 200 tasks/s",
        *(0.25, "paced", "CPU of all nodes", "cores"),
        "RabbitMQ 0.54, NATS 0.57",
    ),
    Goal("drain of 1,000,000 tasks", 30_000, "backlog", "drain", "/s"),
    Goal(
        "restart of a node with 1,000,000 tasks, until ready",
        15,
        "backlog",
        "restart until ready",
        "s",
    ),
    Goal(
        "longest stall of a loop, snapshot and compaction",
        *(50, "backlog", f"{_STALL}, snapshot and compaction", "ms"),
    ),
    Goal(
        "longest stall of a loop, catch-up of a peer",
        *(50, "backlog", f"{_STALL}, catch-up", "ms"),
    ),
    Goal("idle cluster, CPU of the leader", 1, "idle", "CPU of the leader", "% of a core"),
    Goal("idle cluster, CPU of a follower", 1, "idle", "CPU of the follower", "% of a core"),
    Goal(
        "a backlog of tasks of an App, drained by one worker process, async tasks",
        *(10_000, "worker-backlog", "rate, async tasks", "/s"),
        "Dramatiq 5,160 with two processes; Celery 490 to 910",
        run="framework",
    ),
    Goal(
        "the same, sync tasks",
        *(10_000, "worker-backlog", "rate, sync tasks", "/s"),
        "the same",
        run="framework",
    ),
    Goal(
        "enqueue, run, wait for the result, one caller process, one worker process",
        *(5_000, "worker-end-to-end", "rate", "/s"),
        "1,570",
        run="framework",
    ),
    Goal(
        "enqueue by 32 callers, async rate to blocking rate",
        *(1.5, "blocking-enqueue", "async rate to blocking rate", "x"),
        run="framework",
    ),
)


# ---------------------------------------------------------------- the page


def page(text: str, records: Mapping[str, Record]) -> str:
    """Return the page with its tables written anew; all else in it stays."""
    for name, table in {
        "goals": _goals(
            records, "best replicated peer", (run for run in RUNS if run != _FRAMEWORK)
        ),
        "framework": _goals(records, "best peer", [_FRAMEWORK]),
        "costs": _costs(records),
        "curves": _curves(records),
        "all figures": _figures(records),
        "runs": _runs(records),
    }.items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{PAGE.name} has no place for the table {name!r}")
        text = before + begin + table + end + after
    return text


def kept_records() -> dict[str, Record]:
    """Return the runs that are kept, by name."""
    paths = {name: FOLDER / f"{name}.json" for name in RUNS}
    return {name: read_record(path) for name, path in paths.items() if path.exists()}


def _goals(records: Mapping[str, Record], peers: str, runs: Iterable[str]) -> str:
    text = _head("what", "goal", "measured", "spread", "n", "met", peers)
    wanted = set(runs)
    for goal in (each for each in GOALS if each.run in wanted):
        figure = _find(records, goal.run, goal.case, goal.what)
        if figure is None:
            text += _row(goal.text, goal.limit_text(), "not measured", "", "", "", goal.peers)
            continue
        text += _row(
            goal.text,
            goal.limit_text(),
            f"**{short(figure.value)}**",
            _spread(figure),
            len(figure.values),
            "yes" if goal.is_met_by(figure) else "**no**",
            goal.peers,
        )
    return text


def _costs(records: Mapping[str, Record]) -> str:
    who = ("leader", "follower", "all nodes", "clients")
    text = _head("µs of CPU for each task", *who)
    for run in ("standard", _FRAMEWORK):
        for case in dict.fromkeys(figure.case for figure in _figures_of(records, run)):
            found = [_find(records, run, case, f"CPU, {each}") for each in who]
            if any(found):
                text += _row(f"`{case}`", *(short(each.value) if each else "" for each in found))
    return text


def _curves(records: Mapping[str, Record]) -> str:
    curves = records["curves"].curves if "curves" in records else {}
    if not curves:
        return "Not measured.\n"
    text = f"![rates and latencies as load, backlog and payloads grow]({PICTURE})\n\n"
    text += _head("curve", "at", "tasks/s", "p50 ms", "p99 ms")
    for name, points in curves.items():
        for point in points:
            times = (short(each) if each else "" for each in (point.p50_ms, point.p99_ms))
            text += _row(f"`{name}`", short(point.at), short(point.rate), *times)
    return text


def _figures(records: Mapping[str, Record]) -> str:
    text = _head("run", "case", "figure", "value", "unit", "spread", "n")
    for name in records:
        for each in _figures_of(records, name):
            if not each.what.startswith("CPU, "):
                value, spread, n = short(each.value), _spread(each), len(each.values)
                text += _row(name, f"`{each.case}`", each.what, value, each.unit, spread, n)
    return text


def _runs(records: Mapping[str, Record]) -> str:
    text = _head("run", "command", "measured on")
    for name, arguments in RUNS.items():
        command = " ".join(("raftq bench", *arguments))
        facts = dict(records[name].machine) if name in records else {}
        told = ", ".join(f"{key} {value}" for key, value in facts.items()) or "not measured"
        text += _row(name, f"`{command}`", told)
    return text


def _figures_of(records: Mapping[str, Record], run: str) -> list[Figure]:
    return records[run].figures if run in records else []


def _find(records: Mapping[str, Record], run: str, case: str, what: str) -> Figure | None:
    found = (each for each in _figures_of(records, run) if (each.case, each.what) == (case, what))
    return next(found, None)


def _spread(figure: Figure) -> str:
    if len(figure.values) == 1 or figure.pick is Pick.WORST:
        return ""
    return f"{short(min(figure.values))} to {short(max(figure.values))}"


def _head(*cells: str) -> str:
    return _row(*cells) + "|---" * len(cells) + "|\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


# ---------------------------------------------------------------- measuring


def record(name: str) -> bool:
    """Measure a run and keep it; of curves, draw the picture too. Return whether it succeeded."""
    command = [sys.executable, "-m", "raftq.cli.main", "bench"]
    said = subprocess.run([*command, *RUNS[name], "--json"], stdout=subprocess.PIPE, check=False)
    if said.returncode:
        print(f"{name} was not measured", file=sys.stderr)
        return False
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(json.loads(said.stdout), indent=1, ensure_ascii=False) + "\n")
    if name == "curves":
        picture = ("--from", str(path), "--plot", str(PAGE.parent / PICTURE))
        subprocess.run([*command, *picture], stdout=subprocess.DEVNULL, check=True)
    return True


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit code."""
    is_recording = arguments[:1] == ["record"]
    unknown = [name for name in arguments[is_recording:] if name not in RUNS or not is_recording]
    if unknown:
        print(f"{unknown[0]} is no run; there are {', '.join(RUNS)}", file=sys.stderr)
        return 2
    failed = 0
    for name in (arguments[1:] or RUNS) if is_recording else ():
        failed += not record(name)
        _write()  # Each at once: the next may take long, or fail.
    _write()
    return 1 if failed else 0


def _write() -> None:
    PAGE.write_text(page(PAGE.read_text(), kept_records()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
