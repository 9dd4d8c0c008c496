"""One round: start, load, fault, heal, drain, verdict; and the evidence if a promise was broken."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from raftq.testing.chaos.arena import Arena, Equipment
from raftq.testing.chaos.faults import Fault
from raftq.testing.chaos.figures import Figures, figures_of
from raftq.testing.chaos.records import now_ms
from raftq.testing.checks import Bounds, Violation, check_all
from raftq.testing.facts import dump_facts
from raftq.testing.history import History, dump_history


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What came of a round."""

    fault: str
    number: int
    seconds: float
    figures: Figures
    violations: list[Violation]
    notes: list[str]
    evidence: Path | None
    """Where history, logs and data folders are, if a promise was broken."""


def play(
    fault: Fault,
    number: int,
    equipment: Equipment,
    folder: Path,
    evidence: Path,
    seed: str,
    tamper: Callable[[History], None] | None = None,
) -> RoundReport:
    """Play a round of a fault and judge it.

    Args:
        fault: What goes wrong.
        number: Of the round; chooses among the fault's variants.
        equipment: What this machine can do.
        folder: Where the round works; made, and removed.
        evidence: Under this folder it is kept what shows a violation.
        seed: Of the run.
        tamper: Changes the history before it is judged, to prove that the judge sees it.
    """
    begun = time.monotonic()
    folder.mkdir(parents=True)
    arena = Arena(folder, fault.plan, equipment, f"{seed}/{fault.name}/{number}")
    history = History()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(arena)
        try:
            history = _run(fault, number, arena)
        except (RuntimeError, OSError) as error:  # The harness itself, or a node that is not there.
            arena.violations.append(Violation("broken-off", f"{type(error).__name__}: {error}"))
            history = arena.history()
        if tamper is not None:
            tamper(history)
        bounds = Bounds(
            wall_error_ms=fault.wall_error_ms,
            healed_at_ms=arena.healed_at_ms,
            recovery_ms=fault.recovery_ms,
        )
        violations = [*arena.violations, *check_all(history, arena.facts, bounds)]
        kept = None
        if violations:
            kept = evidence / f"{fault.name}-{number}"
            _keep(kept, arena, history, violations)
    seconds = time.monotonic() - begun
    figures = figures_of(history, violations)
    return RoundReport(fault.name, number, seconds, figures, violations, arena.notes, kept)


def _run(fault: Fault, number: int, arena: Arena) -> History:
    arena.start()
    arena.note("the load is on")
    fault.act(arena, number)
    arena.heal()
    arena.healed_at_ms = now_ms()
    arena.settle()
    arena.stop()
    return arena.history()


def _keep(folder: Path, arena: Arena, history: History, violations: list[Violation]) -> None:
    """Keep what a person needs to understand a violation."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "violations.txt").write_text("\n\n".join(map(str, violations)) + "\n")
    (folder / "notes.txt").write_text("\n".join(arena.notes) + "\n")
    with (folder / "history.jsonl").open("wb") as file:
        file.writelines(dump_history(history))
    with (folder / "facts.jsonl").open("wb") as file:
        file.writelines(dump_facts(arena.facts))
    for path in _evidence(arena.folder):
        target = folder / path.relative_to(arena.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _evidence(folder: Path) -> Iterator[Path]:
    """Yield logs, histories and data files; not the images of disks and what fills them."""
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".disk", ".shim") and path.name != "ballast":
            yield path
