"""The parts that measure: what a process uses, where it uses it, and what a failover broke."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.support.asyncs import asynchronous

from raftq.cli.bench import processes
from raftq.cli.bench.failover import Traffic
from raftq.cli.bench.load import Load, LoadRun
from raftq.cli.bench.machine import describe_machine
from raftq.cli.bench.profile import hottest, read_stacks
from raftq.cli.bench.stalls import waited_ms
from raftq.client import AsyncClient

BURN = """
import time

def burn():
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass

def main():
    burn()
"""
THREADED = """
import threading

def main():
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
"""
TURNS = """
import time
from concurrent.futures import ThreadPoolExecutor

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def main():
    with ThreadPoolExecutor(1) as other:
        for _ in range(500):
            burn(0.0015)
            other.submit(burn, 0.0005).result()
"""


def burn(cpu_seconds: float) -> None:
    end = time.process_time() + cpu_seconds
    while time.process_time() < end:
        pass


def test_cpu_counts_what_a_process_burns_and_its_ended_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        before = processes.cpu_seconds(process.pid)
        burn(0.1)
        assert processes.cpu_seconds(process.pid) - before < 0.1, "another's CPU is not its own"
    code = (
        "import os, subprocess, sys\n"
        "from raftq.cli.bench.processes import cpu_seconds\n"
        "before = cpu_seconds(os.getpid())\n"
        "burn = 'import time\\nwhile time.process_time() < 0.2: pass'\n"
        "subprocess.run([sys.executable, '-c', burn])\n"
        "print(cpu_seconds(os.getpid()) - before)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(said.stdout) >= 0.19


def test_memory_is_what_a_process_holds_and_held() -> None:
    code = (
        "from raftq.cli.bench.processes import memory_bytes\n"
        "import os\n"
        "low = memory_bytes(os.getpid())[0]\n"
        "held = b'x' * 50_000_000\n"
        "high = memory_bytes(os.getpid())[0]\n"
        "del held\n"
        "print(low, high, *memory_bytes(os.getpid()))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    low, high, now, most = map(int, said.stdout.split())
    assert 45_000_000 < high - low < 60_000_000
    assert now < high - 40_000_000 and most >= high - 1_000_000


def test_disk_is_what_files_take_up_in_all_folders(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "below" / "b").write_bytes(b"x" * 100_000)
    assert 200_000 <= processes.disk_bytes(tmp_path) < 300_000


def test_a_child_is_seen_until_it_has_ended() -> None:
    code = (
        "import os, subprocess, sys\n"
        "from raftq.cli.bench.processes import has_children\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(has_children(os.getpid()))\n"
        "child.communicate(b'go')\n"
        "print(has_children(os.getpid()))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "False"]


def test_the_machine_is_described(tmp_path: Path) -> None:
    facts = describe_machine(tmp_path)
    assert all(value not in (None, "") for value in facts.values()), facts
    sync_ms = facts["fdatasync_ms"]
    assert isinstance(sync_ms, float) and sync_ms > 0


# ---------------------------------------------------------------- loads


@asynchronous
async def test_claimed_tasks_are_exactly_those_of_the_load() -> None:
    run = LoadRun(AsyncClient("127.0.0.1:1"), Load("enqueue", "q", tasks=250, batch=100))
    assert [run.claim() for _ in range(4)] == [100, 100, 50, 0]
    run.unclaim(30)
    assert [run.claim(), run.claim()] == [30, 0]


@asynchronous
async def test_a_load_without_a_number_of_tasks_ends_with_its_time() -> None:
    run = LoadRun(AsyncClient("127.0.0.1:1"), Load("enqueue", "q", seconds=60, batch=7))
    assert [run.claim(), run.claim()] == [7, 7]
    run.began_at -= 61
    assert run.claim() == 0


# ---------------------------------------------------------------- profiles


def test_a_program_is_sampled_where_it_uses_cpu(tmp_path: Path) -> None:
    (tmp_path / "burning.py").write_text(BURN)
    process = subprocess.Popen(
        [sys.executable, "-m", "raftq.cli.bench.sampler", str(tmp_path), "burning"],
        cwd=tmp_path,
    )
    assert process.wait(30) == 0
    stacks = read_stacks([tmp_path / f"{process.pid}.folded"])
    first = hottest("case", "clients", stacks)[0]
    assert first.function.endswith("burning.py:burn") and first.own > 90
    assert all(stack.split(";")[0].endswith("burning.py:main") for stack in stacks)


def test_a_sample_is_of_the_thread_that_uses_cpu(tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(BURN + THREADED)
    process = subprocess.Popen(
        [sys.executable, "-m", "raftq.cli.bench.sampler", str(tmp_path), "threaded"],
        cwd=tmp_path,
    )
    assert process.wait(30) == 0
    stacks = read_stacks([tmp_path / f"{process.pid}.folded"])
    first = hottest("case", "workers", stacks)[0]
    assert first.function.endswith("threaded.py:burn") and first.own > 90


def test_threads_that_take_turns_have_as_many_samples_as_they_use_cpu(tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(TURNS)
    process = subprocess.Popen(
        [sys.executable, "-m", "raftq.cli.bench.sampler", str(tmp_path), "turns"],
        cwd=tmp_path,
    )
    assert process.wait(60) == 0
    stacks = read_stacks([tmp_path / f"{process.pid}.folded"])
    lesser = sum(count for stack, count in stacks.items() if "_bootstrap" in stack)
    assert 0.15 < lesser / stacks.total() < 0.4


def test_own_and_total_are_parts_of_all_samples() -> None:
    found = hottest("case", "leader", Counter({"a;b": 30, "a;b;c": 60, "a;d;d": 10}))
    assert [(each.function, each.own, each.total) for each in found] == [
        ("c", 60, 60),
        ("b", 30, 90),
        ("d", 10, 10),
    ]


def test_a_killed_process_has_no_profile(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="it was killed"):
        read_stacks([tmp_path / "1.folded"])


# ---------------------------------------------------------------- stalls


@pytest.mark.parametrize(
    ("slept_late", "expected"),
    [
        ([], 1_000),
        ([(10.2, 10.5)], 700),
        ([(9.0, 10.1), (10.9, 12.0)], 800),
        ([(8.0, 9.0), (11.0, 12.0)], 1_000),
        ([(9.0, 12.0)], 0),
    ],
)
def test_a_stall_holds_no_time_in_which_the_one_who_asked_was_held_up(
    slept_late: list[tuple[float, float]], expected: float
) -> None:
    assert waited_ms(10.0, 11.0, slept_late) == pytest.approx(expected)


# ---------------------------------------------------------------- failover


def traffic(accepted: list[bytes], run: list[bytes], unknown: tuple[bytes, ...] = ()) -> Traffic:
    calls = [(payload, float(at), at + 0.5) for at, payload in enumerate(accepted)]
    return Traffic(calls, set(unknown), Counter(run))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (traffic([b"1", b"2"], [b"1", b"2"]), None),
        (traffic([b"1"], [b"1", b"3"], unknown=(b"2", b"3")), None),
        (traffic([b"1", b"2"], [b"1", b"2", b"2"]), "1 tasks of 2 were run twice"),
        (traffic([b"1", b"2"], [b"1"]), "1 accepted tasks of 2 were never delivered"),
        (traffic([b"1"], [b"1", b"2"]), "1 tasks were delivered that the cluster had refused"),
    ],
)
def test_what_a_failover_lost_or_repeated_is_named(seen: Traffic, words: str | None) -> None:
    assert seen.broken_promise() == words


def test_only_a_call_that_began_after_the_harm_ends_the_gap() -> None:
    seen = traffic([b"1", b"2", b"3"], [])
    assert seen.first_since(0.1) == 1.5
    assert seen.first_since(2.0) == 2.5
    assert seen.first_since(2.1) is None
