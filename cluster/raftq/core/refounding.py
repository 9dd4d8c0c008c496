"""A state that becomes the beginning of another cluster: what was granted in the old one is void.

The old cluster may have gone on after the backup, and its workers may still run. Here none of them
can settle anything: every token is forgotten, and the next one is far beyond those that the old
cluster can have granted since. How far depends on the new cluster's id too, so that two clusters
restored from one backup do not grant the same tokens either.
"""

from raftq.core.state import State
from raftq.core.task import LEASED, READY
from raftq.protocol import limits


def refound(state: State, cluster_id: str) -> None:
    """Turn a state into the first one of another cluster; see `Machine.refound`.

    Held leases end as if they had been given back: no attempt is burnt, and the tasks stand before
    those that came after them. Both clocks go on from where they stood.
    """
    state.cluster_id = cluster_id
    skipped = limits.TOKENS_SKIPPED_BY_RESTORE
    state.last_token += skipped + int(cluster_id, 16) % (skipped // 2)
    state.requests.forget_all()
    state.by_token.clear()
    for task in state.tasks.objects.values():
        task.released_by = None
        if task.state is LEASED:
            queue = state.queues[task.queue]
            # Not by the moves of `State`, which would change the state hash.
            queue.counts[LEASED] -= 1
            queue.counts[READY] += 1
            task.state = READY
            task.lease = None
            state.leases.forget()
            queue.push_front(task.sequence, task.priority)
