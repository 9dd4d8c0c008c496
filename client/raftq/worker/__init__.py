"""Workers: lease tasks, run a handler, keep the leases alive, record the outcome.

Owns the run loop of one worker process; imports `raftq.client` and `raftq.protocol` only.
"""

from raftq.worker.loop import Worker, run_worker
from raftq.worker.run import Handler, Run

__all__ = ["Handler", "Run", "Worker", "run_worker"]
