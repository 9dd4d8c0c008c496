"""A worker and a producer that trusts nobody: `python checksums.py worker|producer`.

The worker records the SHA-256 of each task's payload until SIGTERM, then finishes what it has and
gives the rest back. The producer enqueues texts, waits for the results and checks every one: it
ends with code 0 if each task was recorded as done with the right result, and its record was the
same when it was read again at the end.

The environment says where the cluster is and what lets a client in, as containers are told:
RAFTQ_ADDRESSES, and RAFTQ_TOKEN_FILE and RAFTQ_TLS_CA if the cluster asks for them. The producer
also takes the number of TASKS and the PACE_MS between two of them.
"""

import asyncio
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Final

from raftq.client import AsyncClient, TaskState
from raftq.worker import Run, run_worker

QUEUE: Final = "checksums"
PATIENCE_SECONDS: Final = 120.0
"""How long one call, and the wait for one result, may take: longer than any failover."""
POLL_SECONDS: Final = 0.05
ADDRESSES: Final = os.environ.get("RAFTQ_ADDRESSES", "127.0.0.1:7601")
TLS_CA: Final = os.environ.get("RAFTQ_TLS_CA")


def token() -> str | None:
    """Return the token, if the environment names a file with one."""
    file = os.environ.get("RAFTQ_TOKEN_FILE")
    return Path(file).read_text().strip() if file else None


# ---------------------------------------------------------------- the worker


async def handle(run: Run) -> bytes:
    """Return the digest, and the run's token, which tells two runs of one task apart."""
    return f"{hashlib.sha256(run.payload).hexdigest()} {run.token}".encode()


async def work() -> bool:
    """Run tasks until SIGTERM."""
    await run_worker(ADDRESSES, QUEUE, handle, token=token(), tls_ca=TLS_CA)
    return True


# ---------------------------------------------------------------- the producer


async def enqueue_all(client: AsyncClient, tasks: int, pace_seconds: float) -> dict[bytes, bytes]:
    """Enqueue one task after the other; return the payload of each accepted id."""
    accepted: dict[bytes, bytes] = {}
    slowest = 0.0
    for number in range(tasks):
        payload = f"text number {number}".encode()
        begun_at = time.monotonic()
        task = await client.enqueue(QUEUE, payload)
        slowest = max(slowest, time.monotonic() - begun_at)
        accepted[task.id] = payload
        if number % 500 == 0:
            print(f"accepted {number + 1} of {tasks}", flush=True)
        await asyncio.sleep(pace_seconds)
    print(f"accepted all, the slowest after {slowest * 1_000:.0f} ms", flush=True)
    return accepted


async def result_of(client: AsyncClient, task_id: bytes) -> bytes | None:
    """Wait until a task is done, and return its result."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (status := await client.task(task_id)).state is not TaskState.DONE:
            await asyncio.sleep(POLL_SECONDS)
    return status.result


def is_right(payload: bytes, result: bytes | None) -> bool:
    """Tell whether a result is what the worker must have found."""
    return (result or b"").split()[:1] == [hashlib.sha256(payload).hexdigest().encode()]


async def produce() -> bool:
    """Do all of it; return whether every figure is right."""
    tasks = int(os.environ.get("TASKS", "1000"))
    pace_seconds = float(os.environ.get("PACE_MS", "5")) / 1_000
    async with AsyncClient(
        ADDRESSES, name="producer", timeout=PATIENCE_SECONDS, token=token(), tls_ca=TLS_CA
    ) as client:
        accepted = await enqueue_all(client, tasks, pace_seconds)
        first = {task_id: await result_of(client, task_id) for task_id in accepted}
        again = {task_id: await result_of(client, task_id) for task_id in accepted}
    right = sum(is_right(payload, first[task_id]) for task_id, payload in accepted.items())
    changed = sum(first[task_id] != again[task_id] for task_id in accepted)
    print(f"tasks {tasks}, accepted {len(accepted)}, right {right}, changed {changed}", flush=True)
    return len(accepted) == right == tasks and changed == 0


if __name__ == "__main__":
    roles = {"worker": work, "producer": produce}
    if sys.argv[1:] not in ([role] for role in roles):
        sys.exit(f"usage: checksums.py {'|'.join(roles)}")
    sys.exit(0 if asyncio.run(roles[sys.argv[1]]()) else 1)
