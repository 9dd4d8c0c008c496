"""What this machine can do, and why it cannot do the rest."""

from pathlib import Path

from raftq.testing.chaos.arena import Equipment
from raftq.testing.chaos.faults import Fault, Need
from raftq.testing.chaos.shim import compile_shim, compiler


def missing_equipment(why_not_isolated: str | None) -> dict[Need, str]:
    """Return what cannot be had here, each with the reason."""
    missing: dict[Need, str] = {}
    if why_not_isolated is not None:
        missing[Need.NETWORK] = missing[Need.DISKS] = why_not_isolated
    if compiler() is None:
        missing[Need.SHIM] = "there is no C compiler (cc, gcc or clang)"
    return missing


def why_left_out(fault: Fault, missing: dict[Need, str]) -> str | None:
    """Return why a fault cannot be made here, or None if it can."""
    reasons = [
        f"needs {need}: {missing[need]}" for need in Need if need in fault.needs & missing.keys()
    ]
    return "; ".join(reasons) or None


def equip(missing: dict[Need, str], folder: Path) -> Equipment:
    """Return what there is; compiles what has to be compiled into a folder."""
    library = None if Need.SHIM in missing else compile_shim(folder)
    return Equipment(Need.NETWORK not in missing, Need.DISKS not in missing, library)
