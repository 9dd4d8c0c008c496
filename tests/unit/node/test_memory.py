"""Memory that the C library keeps is given back."""

import asyncio
import re
import time
from pathlib import Path

import pytest
from tests.support.asyncs import asynchronous

from raftq.node import memory
from raftq.node.memory import MemoryTrimmer

WAIT_SECONDS = 20.0


def resident_bytes() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


async def until_calls(calls: list[int], count: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while len(calls) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@asynchronous
async def test_pages_between_live_objects_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "TRIM_SECONDS", 0.01)
    objects = [bytes(5_000) for _ in range(20_000)]
    kept = objects[::500]  # So that the heap's end does not move.
    before = resident_bytes()
    objects.clear()
    trimmer = MemoryTrimmer()
    trimmer.start()
    deadline = time.monotonic() + WAIT_SECONDS
    while resident_bytes() > before - 50_000_000:
        assert time.monotonic() < deadline, "nothing was given back"
        await asyncio.sleep(0.005)
    trimmer.stop()
    assert len(kept) == 40


@asynchronous
async def test_it_goes_on_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(memory, "TRIM_SECONDS", 0.001)
    monkeypatch.setattr(memory, "_find_trim", lambda: calls.append)
    trimmer = MemoryTrimmer()
    trimmer.start()
    await until_calls(calls, 3)
    trimmer.stop()
    stopped_at = len(calls)
    await asyncio.sleep(0.05)
    assert len(calls) == stopped_at


@asynchronous
async def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_find_trim", lambda: None)
    trimmer = MemoryTrimmer()
    trimmer.start()
    trimmer.stop()
