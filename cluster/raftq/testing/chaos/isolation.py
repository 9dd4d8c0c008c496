"""The run's own little world: namespaces that the kernel removes with the process.

The run starts itself anew under `unshare`, with process, mount and network namespaces of its own.
Its children, mounts, loop devices and network devices exist only in there, and end with it,
however it ends: a SIGKILL leaves nothing behind, and nothing outside was ever touched.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_INSIDE: Final = "RAFTQ_CHAOS_INSIDE"
_PR_SET_PDEATHSIG: Final = 1
_TOOLS: Final = ("unshare", "nsenter", "ip", "mount", "umount", "mkfs.ext4")
_TUN: Final = Path("/dev/net/tun")
_LOOP: Final = Path("/dev/loop-control")
NAMED_NAMESPACES: Final = Path("/run/netns")
_UNSHARE: Final = (
    "unshare",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount",
    "--mount-proc",
    "--net",
    "--propagation",
    "private",
)


def why_not_isolated() -> str | None:
    """Return why this process cannot make namespaces and disks, or None if it can."""
    if os.geteuid() != 0:
        return "namespaces and mounts need root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    for device in (_TUN, _LOOP):
        if not device.exists():
            return f"this system has no {device}"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return f"unshare fails: {tried.stderr.strip()}"
    return None


def folder_inside() -> Path | None:
    """Return the folder of the run if this process is the one that was started anew."""
    folder = os.environ.get(_INSIDE)
    return None if folder is None else Path(folder)


def run_inside(arguments: Sequence[str], folder: Path) -> int:
    """Run this program with the same arguments in namespaces of its own; return its exit code."""
    command = [*_UNSHARE, sys.executable, "-m", "raftq.testing.chaos", *arguments]
    environment = {**os.environ, _INSIDE: str(folder)}
    process = subprocess.Popen(command, env=environment, preexec_fn=_die_with_parent)
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # The terminal has told the program inside, too, and it ends by itself.
    finally:
        process.kill()  # If this one is told to end; all inside ends with it.
        process.wait()


def _die_with_parent() -> None:
    """Be killed when the parent dies, whatever kills it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def prepare() -> None:
    """Set up the namespaces that this process was started in."""
    NAMED_NAMESPACES.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", str(NAMED_NAMESPACES))
    run("ip", "link", "set", "lo", "up")


def run(*command: str) -> None:
    """Run a tool of the system.

    Raises:
        RuntimeError: It failed; the text has what it said.
    """
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {ended.stderr.strip() or ended.stdout.strip()}")
