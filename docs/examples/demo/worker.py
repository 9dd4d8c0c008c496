"""One worker of the demo: `python worker.py ADDRESS WITNESS_FILE`.

Surveys the file that each task names and acks the facts as its result. The witness file gets one
line, `task token`, for each ack that the cluster accepted: the demo counts them.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from survey import survey

from raftq.client import AckItem, AsyncClient, Duration, SettledTask, TaskState
from raftq.worker import Run, Worker

QUEUE = "survey"


class WitnessClient(AsyncClient):
    """A client that writes down every accepted ack."""

    def __init__(self, address: str, witness: TextIO) -> None:
        super().__init__(address, name="demo-worker")
        self.task_ids: dict[int, bytes] = {}
        self._witness = witness

    async def ack_many(
        self, items: Sequence[AckItem], *, timeout: Duration | None = None
    ) -> list[SettledTask]:
        """Ack, and note what was accepted."""
        settled = await super().ack_many(items, timeout=timeout)
        for item, outcome in zip(items, settled, strict=True):
            if outcome.state is TaskState.DONE:
                print(self.task_ids[item.token].hex(), item.token, file=self._witness, flush=True)
        return settled


async def main(address: str, witness_file: str) -> None:
    """Work until SIGTERM."""
    with open(witness_file, "a") as witness:
        client = WitnessClient(address, witness)

        async def handle(run: Run) -> bytes:
            client.task_ids[run.token] = run.task_id
            return await asyncio.to_thread(survey, Path(run.payload.decode()))

        async with client:
            worker = Worker(client, QUEUE, handle, concurrency=4)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
            await worker.run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
