"""For development: replace the worker processes when a file of the program changes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, cast

from raftq.protocol.errors import InvalidRequest
from raftq.worker.supervision.settings import Settings
from raftq.worker.supervision.supervisor import Supervisor

_log = logging.getLogger(__name__)
_DRAIN_SECONDS: Final = 2.0
"""How long runs may take to end when the code has changed; then they are given back."""


def require_watchfiles() -> None:
    """Raise InvalidRequest, with what to do, if what watches files is not installed."""
    if find_spec("watchfiles") is None:
        raise InvalidRequest("--reload needs the package watchfiles: pip install 'raftq[reload]'")


async def supervise_and_reload(settings: Settings, processes: int, folder: Path) -> int:
    """Do what `supervise` does, and replace the processes when a Python file changes.

    Args:
        settings: Of each process.
        processes: How many.
        folder: What is watched, with all that is below it.
    """
    supervisor = Supervisor(settings, processes, waits_for_changes=True)
    watching = asyncio.create_task(_watch(supervisor, folder))
    try:
        return await supervisor.run()
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _watch(supervisor: Supervisor, folder: Path) -> None:
    watchfiles = import_module("watchfiles")  # Not installed with everybody.
    watching = watchfiles.awatch(folder, watch_filter=watchfiles.PythonFilter())
    async for changes in cast("AsyncIterator[set[tuple[object, str]]]", watching):
        files = sorted({str(Path(path).relative_to(folder)) for _, path in changes})
        _log.info("files_changed", extra={"files": files})
        supervisor.restart(_DRAIN_SECONDS)
