"""Doing one thing with each of some tasks, and saying what became of each."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import typer

from raftq.cli import output
from raftq.cli.control.known import explain_unknown, read_id
from raftq.cli.options import connected
from raftq.client import AsyncClient, RaftqError, RequestError, TaskState, UnknownTask

Act: TypeAlias = Callable[[AsyncClient, UUID], Coroutine[Any, Any, TaskState]]
Outcome: TypeAlias = tuple[UUID, TaskState | RaftqError]


def each_task(texts: Sequence[str], act: Act, address: str, timeout: str, as_json: bool) -> None:
    """Do something with each task, and print its state or what refused it.

    All ids are read first: of a mistyped one, nothing is done to any task. The exit code is that
    of the first task that was refused.
    """

    async def body(client: AsyncClient) -> list[Outcome]:
        ids = [await read_id(client, text) for text in texts]
        return [(id, await _judged(client, id, act)) for id in ids]

    outcomes = connected(address, timeout, body)
    refused = [outcome for _, outcome in outcomes if isinstance(outcome, RaftqError)]
    if as_json:
        output.print_json({"tasks": [_facts(*each) for each in outcomes]})
    else:
        for id, outcome in outcomes:
            _say(id, outcome, alone=len(outcomes) == 1)
    if refused:
        raise typer.Exit(output.exit_code(refused[0]))


async def _judged(client: AsyncClient, id: UUID, act: Act) -> TaskState | RaftqError:
    try:
        return await act(client, id)
    except UnknownTask as error:
        return await explain_unknown(client, id, error)
    except RequestError as error:
        return error


def _facts(id: UUID, outcome: TaskState | RaftqError) -> dict[str, object]:
    if isinstance(outcome, RaftqError):
        return {"id": str(id), "state": outcome.facts.get("state"), "error": outcome.code}
    return {"id": str(id), "state": outcome, "error": None}


def _say(id: UUID, outcome: TaskState | RaftqError, *, alone: bool) -> None:
    name = "" if alone else f"{id} "
    if isinstance(outcome, RaftqError):
        output.say(f"raftq: {name}{outcome.code}: {outcome.message}")
    else:
        print(f"{name}{outcome}")
