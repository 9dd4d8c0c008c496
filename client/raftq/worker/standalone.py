"""A worker in a program of one's own: one call that runs until a signal."""

import asyncio
import os
import signal
from collections.abc import Sequence

from raftq.client.async_client import AsyncClient
from raftq.client.durations import Duration
from raftq.protocol import limits
from raftq.worker.loop import Worker
from raftq.worker.run import Handler


async def run_worker(
    addresses: str | Sequence[str],
    queues: str | Sequence[str],
    handler: Handler,
    *,
    concurrency: int = 16,
    lease: Duration = limits.LEASE_MS_DEFAULT / 1_000,
    drain_timeout: Duration = 10.0,
    name: str | None = None,
    token: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
) -> None:
    """Run a worker until SIGTERM or SIGINT; the second signal gives everything back at once.

    The arguments are those of `Worker`, with those of `AsyncClient` in the place of a client.
    """
    async with AsyncClient(addresses, name="worker", token=token, tls_ca=tls_ca) as client:
        worker = Worker(
            client,
            queues,
            handler,
            concurrency=concurrency,
            lease=lease,
            drain_timeout=drain_timeout,
            name=name,
        )
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, worker.stop)
        try:
            await worker.run()
        finally:
            for signal_number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(signal_number)
