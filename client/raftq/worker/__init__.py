"""Tasks and workers: declare functions as tasks of an `App`, enqueue them, run them.

`App` and `current` are what most programs need. Below them, `run_worker` leases tasks of plain
bytes and runs a handler. Imports `raftq.client` and `raftq.protocol` only.
"""

from raftq.worker.app import App
from raftq.worker.context import Context, current
from raftq.worker.drafts import Draft
from raftq.worker.endings import DoNotRetry, RetryLater, TimeLimitExceeded
from raftq.worker.flows import Chain, Flow, Group, Step
from raftq.worker.hooks import Hook
from raftq.worker.job import Job
from raftq.worker.loop import Worker
from raftq.worker.run import Handler, Run
from raftq.worker.standalone import run_worker
from raftq.worker.task import Task

__all__ = [
    "App",
    "Chain",
    "Context",
    "DoNotRetry",
    "Draft",
    "Flow",
    "Group",
    "Handler",
    "Hook",
    "Job",
    "RetryLater",
    "Run",
    "Step",
    "Task",
    "TimeLimitExceeded",
    "Worker",
    "current",
    "run_worker",
]
