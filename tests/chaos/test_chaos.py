"""A short chaos run on real processes: the promises hold, and a broken one is seen."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.clusters import ENVIRONMENT, raftq, wait_until

from raftq.testing.chaos.faults import FAULTS, SHORT
from raftq.testing.chaos.isolation import why_not_isolated
from raftq.testing.chaos.sabotage import SABOTAGES

SECONDS: Final = 110
COMMAND: Final = [sys.executable, "-m", "raftq.testing.chaos"]


def chaos(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run `raftq chaos` and return its exit code and its report."""
    ended = subprocess.run(
        [*COMMAND, "--json", *arguments],
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
        env=ENVIRONMENT,
    )
    report: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, report


def skip_if_left_out(report: dict[str, Any]) -> None:
    """Skip a test whose fault this machine cannot make, with the reason."""
    for name, reason in report["left_out"].items():
        pytest.skip(f"{name} {reason}")


@pytest.mark.parametrize("fault", SHORT)
def test_every_promise_holds_under(fault: str, tmp_path: Path) -> None:
    code, report = chaos("--fault", fault, "--keep", str(tmp_path))
    skip_if_left_out(report)
    (played,) = report["rounds"]
    assert (played["violations"], code) == ([], 0), f"evidence: {played['evidence']}"
    assert played["enqueued"] > 100, "there was load"


def test_disks_that_lie_are_caught_and_the_evidence_is_kept(tmp_path: Path) -> None:
    code, report = chaos("--fault", "fsync-lies", "--keep", str(tmp_path))
    skip_if_left_out(report)
    (played,) = report["rounds"]
    assert code == 1 and "lost" in played["rules"] and played["lost"] > 0
    evidence = Path(played["evidence"])
    assert evidence.is_relative_to(tmp_path)
    kept = {path.name for path in evidence.iterdir()}
    assert {"violations.txt", "notes.txt", "history.jsonl", "facts.jsonl", "n1.log"} <= kept
    assert list(evidence.glob("n1/data/journal/*.segment"))


def test_without_namespaces_what_needs_them_is_left_out_with_the_reason() -> None:
    faults = ("partition-leader", "power-cut-all")
    ended = raftq("chaos", "--loopback", "--json", *(f"--fault={fault}" for fault in faults))
    report = json.loads(ended.out)
    assert (ended.code, report["rounds"]) == (3, []), "left out is not passed"
    assert all("--loopback was given" in reason for reason in report["left_out"].values())
    assert tuple(report["left_out"]) == faults


def test_an_unknown_fault_is_refused_by_name() -> None:
    ended = raftq("chaos", "--fault", "kill-laeder")
    assert ended.code == 2 and "kill-laeder" in ended.err


def test_every_fault_is_explained() -> None:
    listed = raftq("chaos", "--list").out
    page = (Path(__file__).parents[2] / "docs" / "internals" / "chaos.md").read_text()
    for name in (*FAULTS, *SABOTAGES):
        assert name in listed and f"{name}`" in page


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_process_and_no_mount(
    signal_number: signal.Signals, tmp_path: Path
) -> None:
    if (reason := why_not_isolated()) is not None:
        pytest.skip(reason)
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path)}  # Names the run's processes.
    run = subprocess.Popen(
        [*COMMAND, "--fault", "kill-all"],
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    wait_until(lambda: len(processes_of(tmp_path)) >= 6)
    # Ctrl-C goes to the whole foreground group; the others to the command alone.
    (os.killpg if signal_number is signal.SIGINT else os.kill)(run.pid, signal_number)
    run.wait(30)
    wait_until(lambda: not processes_of(tmp_path))
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    wait_until(lambda: str(tmp_path) not in loop_files())  # The kernel takes a moment.
    if signal_number is not signal.SIGKILL:
        assert not list(tmp_path.iterdir()), "its folder"


def processes_of(folder: Path) -> list[int]:
    """Return the processes that have a folder on their command line."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if bytes(folder) in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # It ended meanwhile.
    return found


def loop_files() -> str:
    """Return the files behind all loop devices, as text."""
    found: list[str] = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return "".join(found)
