"""Tasks of several queues as one call carries them."""

from collections.abc import Iterable

from raftq.protocol.commands import EnqueuePart
from raftq.protocol.options import NewTask


def in_parts(tasks: Iterable[tuple[str, NewTask]]) -> list[EnqueuePart]:
    """Return tasks by queue, in as few parts as it takes to have each behind what it depends on.

    Within a part, and so within a queue, those that depend on nothing keep their order.
    """
    depths: dict[bytes, int] = {}
    parts: dict[tuple[int, str], list[NewTask]] = {}
    for queue, task in tasks:
        parents = task.options.depends_on if task.options is not None else ()
        depth = max((depths[each] + 1 for each in parents if each in depths), default=0)
        depths[task.id] = depth
        parts.setdefault((depth, queue), []).append(task)
    ordered = sorted(parts.items(), key=lambda each: each[0][0])
    return [EnqueuePart(queue, together) for (_, queue), together in ordered]
