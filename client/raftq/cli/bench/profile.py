"""`raftq bench --profile`: where leader, follower, clients and workers use CPU in each case."""

import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftq.cli.bench.cases import Case
from raftq.cli.bench.stage import Scale, opened_stage

_FUNCTIONS_SHOWN: Final = 15
_OUTSIDE: Final = ("raftq/cli/bench/sampler.py", "<frozen")
"""What the sampler itself puts below each stack."""


@dataclass(frozen=True, slots=True)
class Hot:
    """A function and its part in the CPU time of a role.

    Attributes:
        case: The name of the case.
        role: `leader`, `follower`, `clients` or `workers`.
        function: Where it is, and its name.
        own: Percent in the function itself, and the compiled code that it calls.
        total: Percent in it and all that it calls.
    """

    case: str
    role: str
    function: str
    own: float
    total: float


def profile_case(case: Case, scale: Scale, data: Path, kept: Path) -> list[Hot]:
    """Run a case once under the sampler; keep the stacks, return the hottest functions.

    Args:
        case: What runs.
        scale: How much.
        data: Where the nodes' data goes for the while.
        kept: Gets `CASE-ROLE.folded`.

    Raises:
        RuntimeError: The case failed, or a process left no samples.
    """
    with tempfile.TemporaryDirectory(prefix="samples-", dir=data) as samples:
        with opened_stage(Path(samples, "cluster"), scale, Path(samples)) as stage:
            leader = stage.cluster.wait_leader()
            case.measure(stage, case.name)
            nodes = stage.running()
        processes = {
            "leader": [process for node, process in nodes if node is leader],
            "follower": [process for node, process in nodes if node is not leader],
            "clients": stage.load_processes,
            "workers": stage.worker_processes,
        }
        found: list[Hot] = []
        for role, ids in processes.items():
            if not ids:
                continue
            stacks = read_stacks(Path(samples, f"{each}.folded") for each in ids)
            kept.mkdir(parents=True, exist_ok=True)
            (kept / f"{case.name}-{role}.folded").write_text(
                "".join(f"{stack} {count}\n" for stack, count in stacks.most_common())
            )
            found += hottest(case.name, role, stacks)
    return found


def read_stacks(files: Iterable[Path]) -> Counter[str]:
    """Return the stacks in some files together, without the sampler's own frames.

    Raises:
        RuntimeError: A file is missing: its process was killed, or is no longer the same.
    """
    stacks: Counter[str] = Counter()
    for file in files:
        if not file.exists():
            raise RuntimeError(
                "a process left no samples, because it was killed; cases that kill cannot be "
                "profiled"
            )
        for line in file.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = [each for each in stack.split(";") if not each.startswith(_OUTSIDE)]
            if frames:
                stacks[";".join(frames)] += int(count)
    return stacks


def hottest(case: str, role: str, stacks: Counter[str]) -> list[Hot]:
    """Return the functions with the most CPU time of their own."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack, count in stacks.items():
        frames = stack.split(";")
        own[frames[-1]] += count
        for function in set(frames):
            total[function] += count
    samples = max(stacks.total(), 1)
    return [
        Hot(case, role, function, 100 * count / samples, 100 * total[function] / samples)
        for function, count in own.most_common(_FUNCTIONS_SHOWN)
    ]
