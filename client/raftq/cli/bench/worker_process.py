"""A worker process under measurement: what `raftq worker` starts, without the parent that does."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from raftq.cli.interrupts import interrupts_held
from raftq.worker.supervision import link
from raftq.worker.supervision.settings import Settings

_MODULE: Final = "raftq.worker.supervision.process"
_SAMPLER: Final = "raftq.cli.bench.sampler"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 30.0
_READ_BYTES: Final = 4_096


@contextmanager
def running_worker(
    settings: Settings, addresses: str, samples: Path | None = None
) -> Generator[int]:
    """Run a worker process for the length of a block, from the moment on that it is ready.

    Args:
        settings: Of the process.
        addresses: Of the cluster.
        samples: A folder for its stacks; None leaves it alone.

    Yields:
        The id of the process.

    Raises:
        RuntimeError: It did not become ready, or did not end as it should.
    """
    ours, its = socket.socketpair()
    with ours:
        with its, interrupts_held():
            process = subprocess.Popen(
                _command(settings, its.fileno(), samples),
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                env={**os.environ, "RAFTQ_ADDRESSES": addresses},
                start_new_session=True,  # As `raftq worker` does; it ends when `ours` is closed.
            )
        try:
            _wait_ready(ours)
            yield process.pid
            ours.sendall(link.DRAIN)
            if code := process.wait(_STOP_SECONDS):
                raise RuntimeError(f"the worker process ended with {code}")
        except (subprocess.TimeoutExpired, BrokenPipeError):
            raise RuntimeError("the worker process did not end as it was told to") from None
        finally:
            process.kill()
            process.wait()


def _command(settings: Settings, parent: int, samples: Path | None) -> list[str]:
    program = [_MODULE] if samples is None else [_SAMPLER, str(samples), _MODULE]
    words = [msgspec.json.encode(settings).decode(), str(parent), "bench"]
    return [sys.executable, "-m", *program, *words]


def _wait_ready(process: socket.socket) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        readable, _, _ = select.select([process], [], [], max(deadline - time.monotonic(), 0.0))
        words = process.recv(_READ_BYTES) if readable else b""
        if not words:
            raise RuntimeError("the worker process did not become ready; its message is above")
        if link.READY in words:
            return
