"""A place for a worker process: what is left of a start that the system refused."""

import subprocess
import warnings

import pytest

from raftq.worker.supervision.child import WorkerProcess
from raftq.worker.supervision.settings import Settings


@pytest.mark.filterwarnings("always::ResourceWarning")
def test_a_process_that_cannot_be_started_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    place = WorkerProcess(1, Settings(target="module:app"), lambda: None)
    with warnings.catch_warnings(record=True) as left_open:
        with pytest.raises(OSError, match="no more"):
            place.start()
        assert not place.is_running
    assert [str(each.message) for each in left_open] == []
