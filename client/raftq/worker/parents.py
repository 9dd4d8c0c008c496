"""The results of the tasks that a task depended on, where they are to be its first argument."""

import asyncio
from collections.abc import Sequence
from typing import Any

from raftq.client.async_client import AsyncClient
from raftq.protocol.fields import TaskState
from raftq.worker import envelope
from raftq.worker.envelope import Envelope
from raftq.worker.serialising.serializer import Serializer


async def with_results(
    client: AsyncClient, task_id: bytes, packed: Envelope, serializer: Serializer
) -> Envelope:
    """Return a call in which the results that it takes are its first argument.

    Of a parent that did not succeed, and of one whose result is None, it is None.

    Raises:
        RaftqError: The cluster could not be asked.
    """
    takes = packed.extras.takes or 0
    options = (await client.task(task_id)).options
    parents = [] if options is None else options.depends_on[: takes or 1]
    results = await asyncio.gather(*(_result(client, each, serializer) for each in parents))
    if takes:
        first = as_list(results, serializer)
    else:
        first = results[0] if results else serializer.encode(None)
    return envelope.with_first(packed, first)


async def _result(client: AsyncClient, task_id: bytes, serializer: Serializer) -> bytes:
    status = await client.task(task_id)
    if status.state is TaskState.DONE and status.result is not None:
        return status.result
    return serializer.encode(None)


def as_list(stored: Sequence[bytes], serializer: Serializer) -> bytes:
    """Return stored values as one stored list, which is read by the task's annotation."""
    if serializer.name == envelope.MSGPACK:
        return envelope.array(stored)
    decode = serializer.decoder(Any)
    return serializer.encode([decode(each) for each in stored])
