"""A forked child does its job, and dies with its parent."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raftq.consensus.forked_child import ForkedChild
from raftq.protocol.errors import CorruptRecord

WAIT_SECONDS = 20.0
PARENT = """
import os, sys, time
from pathlib import Path
from raftq.consensus.forked_child import ForkedChild

def job():
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(600)

ForkedChild().start(job)
time.sleep(600)
"""


def until_ended(child: ForkedChild) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while (succeeded := child.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return succeeded


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_child_s_success_is_told(tmp_path: Path) -> None:
    child = ForkedChild()
    child.start(lambda: (tmp_path / "done").touch())
    assert until_ended(child)
    assert (tmp_path / "done").exists()


def test_what_the_collector_leaves_alone_stays_so_after_a_fork() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        child = ForkedChild()
        child.start(lambda: None)
        assert until_ended(child)
        assert gc.get_freeze_count() == frozen and gc.isenabled()
    finally:
        gc.unfreeze()


def test_a_job_that_raises_has_failed() -> None:
    def job() -> None:
        raise ValueError("no room")

    child = ForkedChild()
    child.start(job)
    assert not until_ended(child)


def test_a_job_that_meets_damage_stops_the_node() -> None:
    def job() -> None:
        raise CorruptRecord("a byte is wrong")

    child = ForkedChild()
    child.start(job)
    with pytest.raises(CorruptRecord, match="is damaged"):
        until_ended(child)
    assert child.poll() is False, "it is told once"


def test_a_child_has_the_files_that_it_was_given_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    given = [os.open(tmp_path / "file", os.O_RDONLY) for _ in range(3)]
    other = os.open(tmp_path / "file", os.O_RDONLY)
    (tmp_path / "file").unlink()

    def job() -> None:
        for each in given:
            assert os.pread(each, 7, 0) == b"content"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(other)

    child = ForkedChild()
    child.start(job, [given[2], given[0], given[1], given[0], -1])
    assert until_ended(child)
    for each in (*given, other):
        os.close(each)


def test_a_stopped_child_is_gone() -> None:
    child = ForkedChild()
    child.start(lambda: time.sleep(600))
    child.stop()
    assert child.poll() is False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(told)])
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while not told.exists() or not told.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        parent.kill()
        parent.wait(WAIT_SECONDS)
    pid = int(told.read_text())
    try:
        while is_alive(pid):
            assert time.monotonic() < deadline, "the child outlived its parent"
            time.sleep(0.01)
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
