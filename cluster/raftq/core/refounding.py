"""A state that becomes the beginning of another cluster: what was granted in the old one is void.

The old cluster may have gone on after the backup, and its workers may still run. Here none of them
can settle anything: every token is forgotten, and the next one is far beyond those that the old
cluster can have granted since. How far depends on the new cluster's id too, so that two clusters
restored from one backup do not grant the same tokens either.
"""

from raftq.core.state import State
from raftq.core.task import LEASED
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
    state_hash = state.hash
    for task in sorted(state.tasks.objects.values(), key=lambda each: each.sequence):
        if task.state is LEASED:
            state.void_lease(task)
        elif task.lease is not None:
            state.settle_cancelled(task)
        task.released_by = None
    state.hash = state_hash
    state.events.clear()
    for name in state.became_ready:  # A queue that gained tasks may lack a token for them.
        state.wake_later(state.queues[name])
    state.became_ready.clear()
