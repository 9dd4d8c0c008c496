"""An App whose task takes the interpreter's lock and keeps it, as a broken extension does."""

import ctypes
from pathlib import Path

from raftq.worker import App

app = App()


@app.task
def hold_the_lock(mark: str) -> None:
    """Sleep in C, once, without giving the lock away."""
    path = Path(mark)
    if not path.exists():
        path.touch()
        ctypes.PyDLL(None).sleep(600)
