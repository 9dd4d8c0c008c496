"""A worker program: `program.py ADDRESSES QUEUE FILE`; appends a line for each run that it ends."""

import asyncio
import sys
from pathlib import Path

from raftq.worker import Run, run_worker


def main() -> None:
    """Run a worker that echoes payloads; one of `sleep` runs until it is cancelled."""
    addresses, queue, path = sys.argv[1:]

    async def handle(run: Run) -> bytes:
        with Path(path).open("a") as file:
            file.write(f"{run.payload.decode()} {run.token} {run.attempt}\n")
        if run.payload == b"sleep":
            await asyncio.Event().wait()
        await asyncio.sleep(0.005)
        return run.payload

    asyncio.run(run_worker(addresses, queue, handle, concurrency=4, lease="2s", drain_timeout="2s"))


if __name__ == "__main__":
    main()
