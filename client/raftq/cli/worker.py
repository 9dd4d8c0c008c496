"""`raftq worker`: run an App's tasks."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from raftq.cli import output
from raftq.client.durations import seconds
from raftq.protocol import limits
from raftq.protocol.errors import RaftqError
from raftq.worker.logs import Level, Style, configure_logs
from raftq.worker.supervision.settings import DRAIN_SECONDS_DEFAULT, Settings, parse_queue
from raftq.worker.supervision.supervisor import supervise


def worker(
    app: Annotated[str, typer.Argument(help="The App, like mail:app for `app` in mail.py.")],
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "-q",
            show_default=False,
            help="NAME, or NAME:LIMIT for at most LIMIT at a time; may be repeated, and is tried "
            "in this order. Default: all queues of the App's tasks.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, help="Tasks at a time in each process.")
    ] = 16,
    processes: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of each process, for def tasks; default: concurrency."),
    ] = None,
    children: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Child processes of each process, for tasks that want one; default: CPUs.",
        ),
    ] = None,
    prefetch: Annotated[
        int, typer.Option(min=0, help="Tasks that each process leases ahead of a free slot.")
    ] = 0,
    lease: Annotated[
        str, typer.Option(help="How long a task is a dead worker's before another gets it.")
    ] = f"{limits.LEASE_MS_DEFAULT // 1_000}s",
    drain: Annotated[
        str, typer.Option(help="How long runs may take to end when the worker stops.")
    ] = f"{DRAIN_SECONDS_DEFAULT:g}s",
    child_tasks_max: Annotated[
        int | None, typer.Option(min=1, help="Replace a child process after so many tasks.")
    ] = None,
    child_memory_max: Annotated[
        int | None, typer.Option(min=1, help="Replace a child process that has so many MiB.")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a Python file here changes.")
    ] = False,
    log_level: Annotated[Level, typer.Option(help="What is logged, and what is worse.")] = "info",
    log_style: Annotated[
        Style, typer.Option(help="auto is text on a terminal, else json.")
    ] = "auto",
) -> None:
    """Run the tasks of an App until a signal ends it.

    The first SIGTERM or Ctrl-C lets runs end, the second gives the tasks back at once. The cluster
    is the App's own, else the one of RAFTQ_ADDRESSES. Ends with 0 if every run was recorded or
    given back.
    """
    try:
        settings = Settings(
            target=app,
            queues=[parse_queue(each) for each in queue or []],
            concurrency=concurrency,
            threads=threads,
            children=children,
            prefetch=prefetch,
            lease_seconds=seconds(lease),
            drain_seconds=seconds(drain),
            tasks_max=child_tasks_max,
            memory_max_bytes=None if child_memory_max is None else child_memory_max * limits.MIB,
            log_level=log_level,
            log_style=log_style,
        )
        code = _run(settings, processes, reload)
    except RaftqError as error:
        output.fail(error)
    raise typer.Exit(code)


def _run(settings: Settings, processes: int, reload: bool) -> int:
    if reload:
        from raftq.worker.supervision.reloading import require_watchfiles, supervise_and_reload

        require_watchfiles()
        main = supervise_and_reload(settings, processes, Path.cwd())
    else:
        main = supervise(settings, processes)
    configure_logs(settings.log_level, settings.log_style, "parent")
    return asyncio.run(main)
