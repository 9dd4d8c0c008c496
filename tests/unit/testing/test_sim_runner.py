"""One run that fails costs no report of another."""

from dataclasses import replace

import pytest

from raftq.testing.sim.cluster import SimCluster
from raftq.testing.sim.runner import SCENARIO_FAILED, Job, play
from raftq.testing.sim.scenarios import SCENARIOS


async def broken(_cluster: SimCluster) -> None:
    """Fail at once."""
    raise IndexError("nothing to choose from")


def test_a_scenario_that_fails_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCENARIOS, "calm", replace(SCENARIOS["calm"], act=broken))
    report = play(Job("calm", 3, 0))
    assert report.rules == [SCENARIO_FAILED]
    assert "nothing to choose from" in report.violations[0]
