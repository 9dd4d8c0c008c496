"""For tests: of programs that use raftq, and of raftq itself.

Of programs: `App.testing()` gives a `Testing`, on a cluster in memory (`memory`); `pytest_plugin`
has fixtures for that and for a cluster of real nodes. Of raftq itself: what clients and nodes saw,
and whether it keeps the promises. `history` and `facts` are records, `checks` judges them; all
three are plain data and pure functions, so that a simulated cluster (`sim`) and a real one
(`chaos`) are judged by the same code.

The names below are imported when they are used: a test run that needs none of them pays nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from raftq.cli.local_cluster import LocalCluster
    from raftq.testing.memory.broker import MemoryBroker
    from raftq.worker.testing.records import EnqueuedCall, RunRecord
    from raftq.worker.testing.session import Testing

_HOMES: Final = {
    "EnqueuedCall": "raftq.worker.testing.records",
    "LocalCluster": "raftq.cli.local_cluster",
    "MemoryBroker": "raftq.testing.memory.broker",
    "RunRecord": "raftq.worker.testing.records",
    "Testing": "raftq.worker.testing.session",
}

__all__ = ["EnqueuedCall", "LocalCluster", "MemoryBroker", "RunRecord", "Testing"]


def __getattr__(name: str) -> object:
    """Import what is asked for."""
    if name in _HOMES:
        found: object = getattr(import_module(_HOMES[name]), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
