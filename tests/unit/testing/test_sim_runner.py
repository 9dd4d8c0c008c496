"""One run that fails costs no report of another, and Ctrl-C costs none of what is done."""

import json
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from raftq.testing.sim import __main__ as command
from raftq.testing.sim import runner
from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.runner import SCENARIO_FAILED, Job, Report, play
from raftq.testing.sim.scenarios import SCENARIOS


async def broken(_cluster: SimCluster) -> None:
    """Fail at once."""
    raise IndexError("nothing to choose from")


def test_a_scenario_that_fails_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCENARIOS, "calm", replace(SCENARIOS["calm"], act=broken))
    report = play(Job("calm", 3, 0))
    assert report.rules == [SCENARIO_FAILED]
    assert "nothing to choose from" in report.violations[0]


def interrupted_in(number: int) -> Callable[[Job], Report]:
    """Return a clean run of which one is interrupted by Ctrl-C."""
    played: list[Job] = []

    def run(job: Job) -> Report:
        played.append(job)
        if len(played) == number:
            signal.raise_signal(signal.SIGINT)
        return Report(job, 1.0, 1.0, 1, 1)

    return run


def test_an_interrupted_search_tells_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "play", interrupted_in(3))
    assert command.main(["--seeds", "50", "--json"]) == 130
    assert len(json.loads(capsys.readouterr().out)) == 3


def test_an_interrupted_hunt_tells_what_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "play", interrupted_in(4))
    assert command.main(["--mutate", "fencing", "--json"]) == 130
    (hunt,) = json.loads(capsys.readouterr().out)
    assert (hunt["seeds"], hunt["is_whole"]) == (4, False)


def test_the_second_ctrl_c_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_job: Job) -> Report:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("still running")

    monkeypatch.setattr(runner, "play", run)
    assert command.main(["--seeds", "50", "--json"]) == 130
