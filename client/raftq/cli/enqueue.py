"""`raftq enqueue`: one task, with everything that a task can be told."""

from typing import Annotated, Any, Final, cast
from uuid import UUID

import typer

from raftq.cli import moments, output
from raftq.cli.control.values import read_backoff
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.cli.tasks import given
from raftq.client import OnConflict, OnParentFailure, TaskKeywords
from raftq.protocol import limits

_ADVICE: Final[output.Advice] = {
    "conflict": "use another id, or the same payload, queue and options",
    "outcome_unknown": "it may be enqueued: repeat it with the same --id",
    "unknown_task": "a task can depend only on tasks that there are; check --depends-on",
}


def enqueue(
    queue: Annotated[str, typer.Argument(help="The queue.")],
    payload: Annotated[str, typer.Argument(help="The payload as text; - reads stdin.")] = "-",
    id: Annotated[
        UUID | None, typer.Option(metavar="UUID", help="Repeat with the same id after a doubt.")
    ] = None,
    priority: Annotated[
        int, typer.Option(metavar="N", help="0 (first) to 9.")
    ] = limits.PRIORITY_DEFAULT,
    delay: Annotated[
        str, typer.Option(metavar="DURATION", help="Earliest start from now, like 30s.")
    ] = "0",
    at: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="Earliest start as an instant, like 2026-12-24T18:00; the later counts.",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Dropped if it was not started in this time."),
    ] = None,
    expires_at: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="The same as an instant; the earlier counts."),
    ] = None,
    attempts_max: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Failures until it is dead; default: the queue's (5 unless set)."
        ),
    ] = None,
    crashes_max: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Deaths of its worker until it is dead; default: the queue's (10 unless set).",
        ),
    ] = None,
    backoff: Annotated[
        str | None,
        typer.Option(
            metavar="BACKOFF",
            help="The pause before a retry, like 5s, which doubles, or '1s linear max 10m jitter "
            "20'; default: the queue's.",
        ),
    ] = None,
    unique_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="At most one live task of the cluster has it.")
    ] = None,
    on_conflict: Annotated[
        OnConflict | None,
        typer.Option(
            metavar="WHAT",
            help="If another has the unique key: reject, the default, existing (print that "
            "one's id) or replace.",
            show_default=False,
        ),
    ] = None,
    unique_for: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long the unique key is taken; default: until the task is over.",
        ),
    ] = None,
    order_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Tasks of one key run one after the other.")
    ] = None,
    limit_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Counts for the limit of this key; see `raftq limit`."),
    ] = None,
    fair_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Keys of a queue take turns, as their weights say."),
    ] = None,
    depends_on: Annotated[
        list[UUID] | None,
        typer.Option(
            metavar="TASK_ID",
            help="It waits for this task to be over; repeatable.",
            show_default=False,
        ),
    ] = None,
    on_parent_failure: Annotated[
        OnParentFailure | None,
        typer.Option(
            metavar="WHAT",
            help="If one of those does not succeed: cancel, the default, run or wait.",
            show_default=False,
        ),
    ] = None,
    result_ttl: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="How long its outcome is kept; default: the queue's."
        ),
    ] = None,
    confirm_within: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Only prepare it: it waits so long for `raftq task confirm`."
        ),
    ] = None,
    check_queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where it goes if it was not confirmed in time; default: it expires.",
        ),
    ] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Add a task to a queue and print its id."""
    told: dict[str, object] = {
        "id": id,
        "expires": expires,
        "attempts_max": attempts_max,
        "crashes_max": crashes_max,
        "unique_key": unique_key,
        "on_conflict": on_conflict,
        "unique_for": unique_for,
        "order_key": order_key,
        "limit_key": limit_key,
        "fair_key": fair_key,
        "depends_on": depends_on or None,
        "on_parent_failure": on_parent_failure,
        "result_ttl": result_ttl,
        "confirm_within": confirm_within,
        "check_queue": check_queue,
    }
    options: dict[str, Any] = {key: value for key, value in told.items() if value is not None}
    options |= {"priority": priority, "delay": delay}
    with output.errors_in_words():
        if at is not None:
            options["not_before"] = moments.read_instant(at)
        if expires_at is not None:
            options["expires_at"] = moments.read_instant(expires_at)
        if backoff is not None:
            options["backoff"] = read_backoff(backoff)
    _add(queue, given(payload), cast(TaskKeywords, options), address, timeout, as_json)


def _add(
    queue: str, payload: bytes, options: TaskKeywords, address: str, timeout: str, as_json: bool
) -> None:
    task = connected(
        address,
        timeout,
        lambda client: client.enqueue(queue, payload, **options),
        advice=_ADVICE,
    )
    task_id = str(UUID(bytes=task.id))
    if as_json:
        output.print_json({"id": task_id, "state": task.state, "created": task.created})
    else:
        print(task_id)
        if not task.created:
            output.say(f"it was there already, {task.state}")
