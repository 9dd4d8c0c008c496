"""A seed decides a run, byte for byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPLAY = Path(__file__).with_name("replay.py")


def replayed(scenario: str, seed: str, hash_seed: str) -> bytes:
    """Return what a run prints in a process of its own."""
    finished = subprocess.run(
        [sys.executable, str(REPLAY), scenario, seed],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        timeout=100,
        check=True,
    )
    return finished.stdout


@pytest.mark.parametrize("scenario", ["mixed", "lagging-power", "rolling-restart"])
def test_a_seed_gives_the_same_run_in_every_process(scenario: str) -> None:
    first = replayed(scenario, "replay", "1")
    assert first.count(b"\n") > 1_000
    assert replayed(scenario, "replay", "2") == first


def test_another_seed_gives_another_run() -> None:
    assert replayed("calm", "one", "1") != replayed("calm", "two", "1")
