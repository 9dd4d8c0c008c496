"""What `raftq sim` prints: a progress bar, tables, and the trace around a violation."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from raftq.testing.sim.mutations import MUTATIONS, UNSEEN
from raftq.testing.sim.runner import Hunt, Job, Report
from raftq.testing.sim.scenarios import SCENARIOS


@contextmanager
def progress(total: int, what: str, *, is_quiet: bool) -> Generator[Callable[[bool], None]]:
    """Show a progress bar on stderr, and give the function that takes a step."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), disable=is_quiet
    ) as bar:
        task = bar.add_task(what, total=total)
        bad = 0

        def step(is_bad: bool) -> None:
            nonlocal bad
            bad += is_bad
            text = f"[red]{bad} bad[/red] {what}" if bad else what
            bar.update(task, advance=1, description=text)

        yield step


def command_of(job: Job) -> str:
    """Return the command that replays a run."""
    mutation = f" --mutate {job.mutation}" if job.mutation else ""
    return f"raftq sim --scenario {job.scenario} --nodes {job.nodes} --seed {job.seed}{mutation}"


def facts(report: Report) -> dict[str, object]:
    """Return a report as JSON has it."""
    return {
        "scenario": report.job.scenario,
        "nodes": report.job.nodes,
        "seed": report.job.seed,
        "mutation": report.job.mutation,
        "virtual_seconds": round(report.virtual_seconds, 3),
        "cpu_seconds": round(report.cpu_seconds, 3),
        "operations": report.operations,
        "entries": report.entries,
        "rules": report.rules,
        "violations": report.violations,
        "trace": report.trace,
    }


def hunt_facts(hunt: Hunt) -> dict[str, object]:
    """Return a hunt as JSON has it."""
    caught = hunt.caught
    return {
        "mutation": hunt.mutation,
        "is_caught": caught is not None,
        "seeds": hunt.seeds,
        "is_whole": hunt.is_whole,
        "caught": None if caught is None else facts(caught),
    }


def print_names() -> None:
    """Print every scenario and every mutation."""
    console = Console()
    scenarios = Table("scenario", "what happens")
    for name, scenario in SCENARIOS.items():
        scenarios.add_row(name, scenario.summary)
    mutations = Table("mutation", "what is missing then", "looked for in")
    for name, mutation in MUTATIONS.items():
        where = ", ".join(mutation.scenarios)
        if mutation.not_shown_because:
            where += f" (no run shows it: {mutation.not_shown_because})"
        mutations.add_row(name, mutation.summary, where)
    unseen = Table("no mutation for", "because")
    for name, reason in UNSEEN.items():
        unseen.add_row(name, reason)
    for table in (scenarios, mutations, unseen):
        console.print(table)


def print_summary(reports: Sequence[Report], seconds: float) -> None:
    """Print a table of scenarios, and how fast it was."""
    table = Table("scenario", "runs", "virtual s", "operations", "entries", "bad seeds")
    for name in SCENARIOS:
        found = [each for each in reports if each.job.scenario == name]
        if found:
            bad = [f"{each.job.seed}/{each.job.nodes}" for each in found if each.rules]
            table.add_row(
                name,
                str(len(found)),
                f"{sum(each.virtual_seconds for each in found):.0f}",
                str(sum(each.operations for each in found)),
                str(sum(each.entries for each in found)),
                f"[red]{' '.join(bad[:8])}[/red]" if bad else "none",
            )
    console = Console()
    console.print(table)
    virtual = sum(each.virtual_seconds for each in reports)
    cpu = sum(each.cpu_seconds for each in reports)
    console.print(
        f"{len(reports)} runs, {virtual:.0f} virtual seconds in {seconds:.0f} s; "
        f"{virtual / max(cpu, 1e-9):.0f} virtual seconds per CPU second"
    )


def print_violation(report: Report) -> None:
    """Print what was violated, how to see it again, and the end of the trace."""
    console = Console()
    console.print(f"\n[red]{', '.join(report.rules)}[/red]: {command_of(report.job)}")
    for violation in report.violations:
        console.print(violation, markup=False, highlight=False)
    if report.trace:
        console.print("what happened last:")
        for line in report.trace[-25:]:
            console.print(f"  {line}", markup=False, highlight=False)


def print_hunts(hunts: Sequence[Hunt]) -> None:
    """Print which mutations were caught, after how many runs, and by what."""
    table = Table("mutation", "runs", "caught by", "replay")
    for hunt in hunts:
        caught = hunt.caught
        if caught is None:
            end = "[red]survived[/red]" if hunt.is_whole else "interrupted"
            table.add_row(hunt.mutation, str(hunt.seeds), end, "")
        else:
            table.add_row(
                hunt.mutation, str(hunt.seeds), ", ".join(caught.rules[:3]), command_of(caught.job)
            )
    Console().print(table)
