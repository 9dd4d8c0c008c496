"""The commands of a worker: lease, ack, fail, requeue, extend."""

import base64
import os
import sys
from typing import Annotated
from uuid import UUID

import typer

from raftq.cli import output
from raftq.cli.options import Addresses, AsJson, Timeout, connected
from raftq.cli.output import printable
from raftq.client import AsyncClient, LeasedTask, TaskState
from raftq.client.keywords.naming import did_you_mean

Token = Annotated[int, typer.Argument(help="The lease's token, as `raftq lease` printed it.")]


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

    async def body(client: AsyncClient) -> tuple[list[LeasedTask], str]:
        found = await client.lease(queues, worker=name, count=count, lease=lease, wait=wait)
        return found, "" if found or as_json else await _nothing(client, queues)

    leases, why = connected(address, timeout, body)
    if as_json:
        output.print_json({"leases": [_lease_json(each) for each in leases]})
    elif leases:
        rows = [
            (each.token, each.attempt, UUID(bytes=each.task_id), printable(each.payload))
            for each in leases
        ]
        output.print_table(("token", "attempt", "task", "payload"), rows)
    else:
        output.say(why)
    if not leases:
        raise typer.Exit(output.EXIT_NOT_FOUND)


async def _nothing(client: AsyncClient, queues: list[str]) -> str:
    """Say that nothing is ready, and whether a queue may be mistyped."""
    names = [each.queue for each in await client.queues()]
    unknown = [
        f"there is no queue {each!r}{did_you_mean(each, names)}"
        for each in queues
        if each not in names
    ]
    return "; ".join(["nothing is ready", *unknown])


def ack(
    token: Token,
    result: Annotated[str | None, typer.Option(help="The result as text; - reads stdin.")] = None,
    address: Addresses = "",
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Record a task as done, with a result if there is one."""
    data = None if result is None else given(result)
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


def given(text: str) -> bytes:
    """Return the bytes of an argument as the shell gave them, or of stdin for a dash."""
    return sys.stdin.buffer.read() if text == "-" else os.fsencode(text)
