"""`raftq schedule`: tasks that are enqueued again and again."""

from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from raftq.cli import moments, output
from raftq.cli.control.values import read_backoff
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.cli.schedule_facts import schedule_facts, schedule_words, when
from raftq.cli.tasks import given
from raftq.client import AsyncClient, MissedRuns, OnConflict, Overlap, Schedule, ScheduleStatus
from raftq.client.keywords.naming import did_you_mean
from raftq.protocol import limits
from raftq.protocol.errors import UnknownSchedule

Name = Annotated[str, typer.Argument(help="The schedule.")]
Names = Annotated[list[str], typer.Argument(help="The schedules.")]
Cron = Annotated[
    str | None,
    typer.Option(
        help="Minute, hour, day of the month, month, day of the week, like '30 8 * * MON-FRI'."
    ),
]
Every = Annotated[str | None, typer.Option(help="The time between two ticks, like 10m.")]
Zone = Annotated[
    str, typer.Option("--timezone", "-z", help="Of the cron expression, like Europe/Berlin.")
]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=1_000, help="How many ticks.")]
_TICKS_SHOWN: Final = 5

app = typer.Typer(help="Tasks that are enqueued again and again.", no_args_is_help=True)


@app.callback()
def schedule() -> None:
    """Tasks that are enqueued again and again."""


@app.command("set")
def set_one(
    name: Name,
    queue: Annotated[str, typer.Argument(help="The queue.")],
    payload: Annotated[str, typer.Argument(help="The payload as text; - reads stdin.")] = "-",
    cron: Cron = None,
    every: Every = None,
    timezone: Zone = "UTC",
    missed: Annotated[
        MissedRuns, typer.Option(help="What if the cluster was down at ticks.")
    ] = MissedRuns.ONE,
    overlap: Annotated[
        Overlap, typer.Option(help="What if the task of the tick before is not over.")
    ] = Overlap.ALLOW,
    jitter: Annotated[str, typer.Option(help="Up to how much later each task starts.")] = "0",
    paused: Annotated[bool, typer.Option("--paused", help="Let it stand still.")] = False,
    priority: Annotated[int, typer.Option(help="0 (first) to 9.")] = limits.PRIORITY_DEFAULT,
    expires: Annotated[
        str | None, typer.Option(help="A task is dropped if it was not started in this time.")
    ] = None,
    attempts_max: Annotated[
        int | None, typer.Option(help="Failures until a task is dead; default: the queue's.")
    ] = None,
    backoff: Annotated[
        str | None, typer.Option(help="The pause before a retry; see `raftq enqueue`.")
    ] = None,
    unique_key: Annotated[str | None, typer.Option(help="See `raftq enqueue`.")] = None,
    on_conflict: Annotated[
        OnConflict | None, typer.Option(help="See `raftq enqueue`.", show_default=False)
    ] = None,
    order_key: Annotated[str | None, typer.Option(help="See `raftq enqueue`.")] = None,
    limit_key: Annotated[str | None, typer.Option(help="See `raftq enqueue`.")] = None,
    fair_key: Annotated[str | None, typer.Option(help="See `raftq enqueue`.")] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Have a task enqueued again and again; replaces the schedule of this name.

    Setting what is set already changes nothing.
    """
    told: dict[str, object] = {
        "expires": expires,
        "attempts_max": attempts_max,
        "unique_key": unique_key,
        "on_conflict": on_conflict,
        "order_key": order_key,
        "limit_key": limit_key,
        "fair_key": fair_key,
    }
    options: dict[str, Any] = {key: value for key, value in told.items() if value is not None}
    with output.errors_in_words():
        if backoff is not None:
            options["backoff"] = read_backoff(backoff)
    times: dict[str, Any] = {"cron": cron, "every": every, "timezone": timezone}
    policies: dict[str, Any] = {"missed": missed, "overlap": overlap, "jitter": jitter}
    body = given(payload)

    async def change(client: AsyncClient) -> tuple[bool, ScheduleStatus]:
        is_changed = await client.set_schedule(
            name, queue, body, paused=paused, priority=priority, **times, **policies, **options
        )
        return is_changed, await client.schedule(name)

    is_changed, found = connected(address, timeout, change)
    _tell([(is_changed, found)], "set", "was set so already", as_json)


def _tell(changed: list[tuple[bool, ScheduleStatus]], now: str, before: str, as_json: bool) -> None:
    """Say what became of schedules, and when they tick next."""
    if as_json:
        rows = [
            {"schedule": each.name, "is_changed": is_changed, "next_at_ms": each.next_at_ms}
            for is_changed, each in changed
        ]
        output.print_json({"schedules": rows})
        return
    for is_changed, each in changed:
        print(f"{each.name} {now if is_changed else before}, {_next_words(each)}")


def _next_words(found: ScheduleStatus) -> str:
    if found.schedule.paused:
        return "paused"
    if found.next_at_ms is None:
        return "has no further tick"
    return f"next {moments.instant(found.next_at_ms, moments.now_ms())}"


# ---------------------------------------------------------------- looking


@app.command("list")
def list_all(address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False) -> None:
    """List all schedules, and when each ticks next."""
    found = connected(address, timeout, lambda client: client.schedules())
    if as_json:
        output.print_json({"schedules": [schedule_facts(each) for each in found]})
    elif found:
        columns = ("schedule", "queue", "when", "next", "runs", "skipped", "last run")
        output.print_table(columns, [_row(each) for each in found])
    else:
        output.say("there is no schedule yet; `raftq schedule set` makes one")


def _row(found: ScheduleStatus) -> tuple[object, ...]:
    now, tick = moments.now_ms(), found.last_tick_at_ms
    following = "paused" if found.schedule.paused else "never"
    if found.next_at_ms is not None:
        late = found.next_at_ms <= now
        following = "due" if late else f"in {moments.span(found.next_at_ms - now)}"
    last = "" if tick is None else f"{moments.span(now - tick)} ago"
    times = when(found.schedule)
    return (found.name, found.schedule.queue, times, following, found.runs, found.skipped, last)


@app.command()
def show(
    name: Name, address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False
) -> None:
    """Show a schedule: what it enqueues when, and how it went."""
    found = connected(address, timeout, lambda client: _known(client, name))
    if as_json:
        output.print_json(schedule_facts(found))
    else:
        output.print_facts(schedule_words(found))


async def _known(client: AsyncClient, name: str) -> ScheduleStatus:
    """Return a schedule; of a mistyped name, the error suggests the right one."""
    try:
        return await client.schedule(name)
    except UnknownSchedule:
        names = [each.name for each in await client.schedules()]
        text = f"there is no schedule {name!r}{did_you_mean(name, names)}"
        raise UnknownSchedule(text, schedule=name) from None


@app.command("next")
def show_next(
    name: Annotated[str | None, typer.Argument(help="The schedule; or try --cron out.")] = None,
    cron: Cron = None,
    timezone: Zone = "UTC",
    count: Count = _TICKS_SHOWN,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Show the next ticks of a schedule, or those that a cron expression would have."""
    from raftq.server.schedules import first_tick, upcoming

    if (name is None) == (cron is None):
        raise typer.BadParameter("give a schedule, or --cron with an expression to try out")
    if name is not None:
        found = connected(address, timeout, lambda client: _known(client, name))
        asked, following = found.schedule, found.next_at_ms or 0
    else:
        asked = Schedule(queue="q", payload=b"", cron=cron, timezone=timezone)
        with output.errors_in_words():
            following = first_tick(asked, moments.now_ms())
    with output.errors_in_words():
        ticks = upcoming(asked, following, count) if following else []
    if as_json:
        output.print_json({"timezone": asked.timezone, "next_at_ms": ticks})
    elif ticks:
        _print_ticks(ticks, asked.timezone)
    else:
        output.say(f"{name} is paused" if asked.paused else f"{name} has no further tick")


def _print_ticks(ticks: list[int], timezone: str) -> None:
    now, zone = moments.now_ms(), ZoneInfo(timezone)
    for tick in ticks:
        shown = datetime.fromtimestamp(tick / 1_000, zone).isoformat(" ", "seconds")
        print(f"{shown}  {'due' if tick <= now else f'in {moments.span(tick - now)}'}")


# ---------------------------------------------------------------- changing


@app.command()
def pause(
    names: Names, address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False
) -> None:
    """Let schedules stand still: no tick is fired, and none is made up for later."""

    async def body(client: AsyncClient) -> list[tuple[bool, ScheduleStatus]]:
        for name in names:
            await _known(client, name)
        return [(await client.pause_schedule(name), await client.schedule(name)) for name in names]

    _tell(connected(address, timeout, body), "stands still", "stood still already", as_json)


@app.command()
def resume(
    names: Names, address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False
) -> None:
    """Let schedules go on with the next tick after now."""

    async def body(client: AsyncClient) -> list[tuple[bool, ScheduleStatus]]:
        for name in names:
            await _known(client, name)
        return [(await client.resume_schedule(name), await client.schedule(name)) for name in names]

    _tell(connected(address, timeout, body), "goes on", "was not paused", as_json)


@app.command()
def delete(
    names: Names, address: Addresses = "", timeout: Timeout = "10s", as_json: AsJson = False
) -> None:
    """Delete schedules; tasks that they enqueued stay."""

    async def body(client: AsyncClient) -> None:
        for name in names:
            await _known(client, name)
        for name in names:
            await client.delete_schedule(name)

    connected(address, timeout, body)
    if as_json:
        output.print_json({"deleted": names})
    else:
        for name in names:
            print(f"{name} deleted")
