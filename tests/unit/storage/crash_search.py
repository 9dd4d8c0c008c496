"""Runs a script against a disk, cuts the power at every step, and checks each outcome.

Owns the search and the faults "a sync that is missing". Does not own what is right: the check
that the caller passes says so by raising.
"""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from raftq.protocol.errors import StorageError
from raftq.testing.memory_files import Keep, Kept, MemoryFiles, PowerCut

Check = Callable[[MemoryFiles], None]
"""Fails (AssertionError, StorageError) unless the disk after the crash is as promised."""

Scenario = Callable[[MemoryFiles], Check]
"""Sets up a run on a disk that loses power at some step, runs it until then, returns the check."""


def search(scenario: Scenario, outcomes: int = 2, lie: str | None = None) -> str | None:
    """Cut the power before each step of a scenario and check what each crash may leave.

    Args:
        scenario: What runs.
        outcomes: Arbitrary outcomes of each crash, besides losing and keeping everything.
        lie: A call site of `call_sites` whose syncs do nothing.

    Returns:
        The first violation, or None.
    """
    steps = list(range(_steps(scenario) + 1))
    if lie is not None:
        Random(0).shuffle(steps)  # Meets a step that shows the fault sooner.
    for step in steps:
        disk = MemoryFiles()
        disk.steps_max = step
        if lie is not None:
            disk.is_lying = lambda _: _call_site() == lie
        check = scenario(disk)
        arbitrary = [Random(f"{step}.{i}") for i in range(outcomes)]
        keeps: list[Kept] = [Keep.NOTHING, Keep.EVERYTHING, *arbitrary]
        for keep in keeps:
            try:
                check(disk.crash(keep))
            except (AssertionError, StorageError) as error:
                return f"power cut before step {step}, {keep}: {error}"
    return None


def call_sites(scenario: Scenario) -> set[str]:
    """Return where a scenario syncs, as `function.method`."""
    found: set[str] = set()

    def note(_: Path) -> bool:
        found.add(_call_site())
        return False

    disk = MemoryFiles()
    disk.is_lying = note
    scenario(disk)
    return found


def _steps(scenario: Scenario) -> int:
    disk = MemoryFiles()
    scenario(disk)
    return disk.steps


def _call_site() -> str:
    """Name the sync that asks the disk whether it lies."""
    method = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]
    caller = method.f_back
    assert caller is not None
    return f"{caller.f_code.co_name}.{method.f_code.co_name}"


def until_power_cut(run: Callable[[], None]) -> None:
    """Run something that a power cut may end."""
    try:
        run()
    except PowerCut:
        return


class Killed(Exception):
    """The process was killed here; its disk stays as it is."""


@contextmanager
def kill_at_folder_sync(disk: MemoryFiles) -> Generator[None]:
    """Kill the process where it would make a name durable, after the rename."""

    def kill(path: Path) -> None:
        if not path.suffix and path.name not in disk.names(path.parent):
            raise Killed

    disk.before_sync, before = kill, disk.before_sync
    try:
        yield
    finally:
        disk.before_sync = before
