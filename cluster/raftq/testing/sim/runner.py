"""Many runs: seeds over scenarios, on several cores, and mutations until they are caught."""

import re
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import takewhile
from math import inf
from time import process_time
from typing import Final

from raftq.testing.sim.cluster import Result, run_scenario
from raftq.testing.sim.interruption import in_worker, is_stop_wanted, stop_event
from raftq.testing.sim.mutations import MUTATIONS, mutated
from raftq.testing.sim.scenarios import SCENARIOS

SCENARIO_FAILED: Final = "scenario-failed"
"""The rule that a scenario breaks which does not come to its end."""
_TRACE_LINES: Final = 25
_AFTERWARDS_SECONDS: Final = 0.3
_AT_MS: Final = re.compile(r"([0-9.]+) ms")
_FIRST_CHECKS: Final = 3
"""Violations of one run that are reported; the later ones mostly follow from the first."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run to do."""

    scenario: str
    nodes: int
    seed: int
    mutation: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a job, small enough to send between processes."""

    job: Job
    virtual_seconds: float
    cpu_seconds: float
    operations: int
    entries: int
    rules: list[str] = field(default_factory=list[str])
    """Names of the broken rules, the first one first; empty if the run was clean."""
    violations: list[str] = field(default_factory=list[str])
    trace: list[str] = field(default_factory=list[str])


def play(job: Job, *, whole_trace: bool = False) -> Report:
    """Do one run.

    Args:
        job: What to run.
        whole_trace: Whether to keep the trace of a clean run, too, and all of it.
    """
    scenario = SCENARIOS[job.scenario]
    plan = replace(scenario.plan, nodes=job.nodes)
    seed = f"{job.scenario}/{job.nodes}/{job.seed}"
    begun = process_time()
    try:
        with mutated(job.mutation):
            result = run_scenario(seed, job.scenario, plan, scenario.act)
    except Exception:  # Of the scenario itself; it must not cost the reports of all other runs.
        text = traceback.format_exc()
        return Report(job, 0.0, process_time() - begun, 0, 0, [SCENARIO_FAILED], [text])
    return _report(job, result, process_time() - begun, whole_trace=whole_trace)


def _report(job: Job, result: Result, cpu_seconds: float, *, whole_trace: bool) -> Report:
    trace = result.trace if whole_trace else _trace_around(result)
    return Report(
        job,
        result.virtual_seconds,
        cpu_seconds,
        result.operations,
        result.entries,
        list(dict.fromkeys(violation.rule for violation in result.violations)),
        [str(violation) for violation in result.violations[:_FIRST_CHECKS]],
        trace,
    )


def _trace_around(result: Result) -> list[str]:
    """Return what happened up to a little after the first violation; nothing if there is none."""
    if not result.violations:
        return []
    first = result.violations[0]
    times_ms = [each.ended_at_ms or each.invoked_at_ms for each in first.operations]
    times_ms += [float(found) for found in _AT_MS.findall(first.message)]
    end = max(times_ms, default=inf) / 1_000 + _AFTERWARDS_SECONDS
    before = [line for line in result.trace if float(line.split(maxsplit=1)[0]) <= end]
    return before[-_TRACE_LINES:]


def play_all(jobs: Iterable[Job], processes: int) -> Iterator[Report]:
    """Do many runs and yield their reports as they come; begin no more once a stop is wanted.

    Args:
        jobs: What to run; taken only as far as there is a free process.
        processes: How many at a time; 1 runs them here, in order.
    """
    jobs = takewhile(lambda _: not is_stop_wanted(), jobs)
    if processes == 1:
        yield from map(play, jobs)
        return
    with _pool(processes) as pool:
        running: set[Future[Report]] = set()
        try:
            for job in jobs:
                running.add(pool.submit(play, job))
                if len(running) >= 2 * processes:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in running:
                future.cancel()


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, initializer=in_worker, initargs=(stop_event(),))


def spread(seeds: int, first: int, scenarios: list[str], nodes: list[int]) -> Iterator[Job]:
    """Yield jobs that spread so many seeds evenly over scenarios and sizes."""
    combinations = [(scenario, size) for size in nodes for scenario in scenarios]
    for number in range(seeds):
        scenario, size = combinations[number % len(combinations)]
        yield Job(scenario, size, first + number // len(combinations))


@dataclass(frozen=True, slots=True)
class Hunt:
    """How a mutation was looked for."""

    mutation: str
    seeds: int
    """Runs until it was caught, or the whole budget, or those that were done before a stop."""
    caught: Report | None
    is_whole: bool = True
    """False if it was stopped before its end."""


def hunt(mutation: str, *, budget: int, nodes: int | None = None) -> Hunt:
    """Run a mutation in the scenarios where it shows best until a check catches it.

    A run counts only if the same seed is clean without the mutation.
    """
    known = MUTATIONS[mutation]
    for number in range(budget):
        if is_stop_wanted():
            return Hunt(mutation, number, None, is_whole=False)
        scenario = known.scenarios[number % len(known.scenarios)]
        size = nodes or known.nodes
        seed = number // len(known.scenarios)
        report = play(Job(scenario, size, seed, mutation))
        if report.rules and not play(Job(scenario, size, seed)).rules:
            return Hunt(mutation, number + 1, report)
    return Hunt(mutation, budget, None)


def hunt_all(mutations: list[str], budget: int, processes: int) -> Iterator[Hunt]:
    """Look for many mutations, each until it is caught."""
    if processes == 1:
        for mutation in mutations:
            yield hunt(mutation, budget=budget)
        return
    with _pool(processes) as pool:
        for future in [pool.submit(hunt, mutation, budget=budget) for mutation in mutations]:
            yield future.result()
