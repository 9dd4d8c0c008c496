"""The commands of producers and workers: enqueue, lease, ack, fail, requeue, extend, status."""

import base64
import os
import sys
from typing import Annotated
from uuid import UUID

import typer

from raftq.cli import output
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.cli.output import printable
from raftq.client import Consistency, LeasedTask, TaskState, TaskStatus
from raftq.protocol import limits

Token = Annotated[int, typer.Argument(help="The lease's token, as `raftq lease` printed it.")]


def enqueue(
    queue: Annotated[str, typer.Argument(help="The queue.")],
    payload: Annotated[str, typer.Argument(help="The payload as text; - reads stdin.")] = "-",
    id: Annotated[UUID | None, typer.Option(help="Repeat with the same id after a doubt.")] = None,
    priority: Annotated[int, typer.Option(help="0 (first) to 9.")] = limits.PRIORITY_DEFAULT,
    delay: Annotated[str, typer.Option(help="Earliest start from now, like 30s.")] = "0",
    attempts_max: Annotated[
        int, typer.Option(help="Failures until it is dead.")
    ] = limits.ATTEMPTS_MAX_DEFAULT,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Add a task to a queue and print its id."""
    data = _given(payload)
    task = connected(
        address,
        timeout,
        lambda client: client.enqueue(
            queue, data, id=id, priority=priority, delay=delay, attempts_max=attempts_max
        ),
    )
    task_id = str(UUID(bytes=task.id))
    if as_json:
        output.print_json({"id": task_id, "state": task.state, "created": task.created})
    else:
        print(task_id)
        if not task.created:
            output.say(f"it was there already, {task.state}")


def lease(
    queues: Annotated[list[str], typer.Argument(help="Queues, tried in this order.")],
    worker: Annotated[
        str, typer.Option(show_default=False, help="The worker's name; default: a new one.")
    ] = "",
    count: Annotated[int, typer.Option(help="The most tasks wanted.")] = 1,
    lease: Annotated[str, typer.Option(help="How long they are yours.")] = "30s",
    wait: Annotated[str, typer.Option(help="How long to wait for the first one.")] = "0",
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Take tasks; print token, attempt, id and payload of each. Nothing ready: exit code 3."""
    name = worker or f"shell-{os.getpid()}"
    leases = connected(
        address,
        timeout,
        lambda client: client.lease(queues, worker=name, count=count, lease=lease, wait=wait),
    )
    if as_json:
        output.print_json({"leases": [_lease_json(each) for each in leases]})
    elif leases:
        rows = [
            (each.token, each.attempt, UUID(bytes=each.task_id), printable(each.payload))
            for each in leases
        ]
        output.print_table(("token", "attempt", "task", "payload"), rows)
    else:
        output.say("nothing is ready")
    if not leases:
        raise typer.Exit(output.EXIT_NOT_FOUND)


def ack(
    token: Token,
    result: Annotated[str | None, typer.Option(help="The result as text; - reads stdin.")] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Record a task as done, with a result if there is one."""
    data = None if result is None else _given(result)
    _settled(connected(address, timeout, lambda client: client.ack(token, data)), as_json)


def fail(
    token: Token,
    error: Annotated[str, typer.Argument(help="Why it failed.")],
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Record a failed run; the task is tried again or is dead."""
    _settled(connected(address, timeout, lambda client: client.fail(token, error)), as_json)


def requeue(
    token: Token,
    delay: Annotated[str, typer.Option(help="Earliest next start from now.")] = "0",
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Give a task back; no attempt is burnt."""
    state = connected(address, timeout, lambda client: client.requeue(token, delay=delay))
    _settled(state, as_json)


def extend(
    token: Token,
    lease: Annotated[str, typer.Option(help="How long it is yours, from now.")] = "30s",
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Prolong a lease."""
    _settled(connected(address, timeout, lambda client: client.extend(token, lease)), as_json)


def status(
    task_id: Annotated[UUID, typer.Argument(help="The task's id.")],
    consistency: Annotated[
        Consistency, typer.Option(help="stale asks one node only.")
    ] = Consistency.LINEARIZABLE,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Show a task: state, attempts, result, reasons of failure."""
    found = connected(
        address, timeout, lambda client: client.task(task_id, consistency=consistency)
    )
    facts = _status_json(found)
    if as_json:
        output.print_json(facts)
    else:
        del facts["result_base64"]
        facts["result"] = None if found.result is None else printable(found.result)
        facts["errors"] = "; ".join(printable(each.encode()) for each in found.errors)
        output.print_facts(facts)


def queue(
    name: Annotated[str, typer.Argument(help="The queue.")],
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Show how many tasks of a queue are in each state."""
    found = connected(address, timeout, lambda client: client.queue(name))
    facts = {"queue": found.queue, "enqueued": found.enqueued, "counts": found.counts}
    if as_json:
        output.print_json(facts)
    else:
        output.print_facts({"queue": name, "enqueued": found.enqueued, **found.counts})


def _settled(state: TaskState, as_json: bool) -> None:
    if as_json:
        output.print_json({"state": state})
    else:
        print(state)


def _lease_json(leased: LeasedTask) -> dict[str, object]:
    return {
        "task_id": str(UUID(bytes=leased.task_id)),
        "queue": leased.queue,
        "token": leased.token,
        "attempt": leased.attempt,
        "payload_base64": base64.b64encode(leased.payload).decode(),
        "lease_ms": leased.lease_ms,
    }


def _status_json(found: TaskStatus) -> dict[str, object]:
    facts: dict[str, object] = {name: getattr(found, name) for name in found.__struct_fields__}
    facts["id"] = str(UUID(bytes=found.id))
    facts["result"] = None
    facts["result_base64"] = None
    if found.result is not None:
        facts["result_base64"] = base64.b64encode(found.result).decode()
        facts["result"] = found.result.decode(errors="replace")
    return facts


def _given(text: str) -> bytes:
    """Return the bytes of an argument as the shell gave them, or of stdin for a dash."""
    return sys.stdin.buffer.read() if text == "-" else os.fsencode(text)
