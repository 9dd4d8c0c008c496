"""The faults by name."""

from typing import Final

from raftq.testing.chaos.faults import backups, clocks, disks, mixed, networks, processes, workers
from raftq.testing.chaos.faults.fault import Fault, Need

__all__ = ["FAULTS", "SHORT", "Fault", "Need"]

_GROUPS: Final = (processes, workers, networks, disks, clocks, backups, mixed)
FAULTS: Final[dict[str, Fault]] = {fault.name: fault for group in _GROUPS for fault in group.FAULTS}
"""In the order of the report."""

SHORT: Final = ("kill-leader", "partition-leader", "power-cut-all", "freeze-workers")
"""One of each kind, for every day."""
