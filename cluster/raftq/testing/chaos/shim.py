"""The preloaded library between a node and its disk and clock: compiled here, steered by a file."""

import mmap
import shutil
import struct
import subprocess
from enum import IntEnum
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

_FIELDS: Final = struct.Struct("=qqqq")
_NANOSECONDS: Final = 1_000_000_000
_COMPILERS: Final = ("cc", "gcc", "clang")


class Sync(IntEnum):
    """What fsync and fdatasync do."""

    HONEST = 0
    LIES = 1
    FAILS = 2


def compiler() -> str | None:
    """Return the path of a C compiler, if there is one."""
    return next((path for name in _COMPILERS if (path := shutil.which(name))), None)


def compile_shim(folder: Path) -> Path:
    """Compile the library into a folder and return its path.

    Raises:
        RuntimeError: The compiler is not content; the text has what it said.
    """
    path = folder / "shim.so"
    tool = compiler()
    assert tool is not None, "ask compiler() first"
    with as_file(files("raftq.testing.chaos") / "shim.c") as source:
        command = [tool, "-O2", "-shared", "-fPIC", "-Wall", str(source), "-o", str(path), "-ldl"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"{tool} cannot compile the shim: {ended.stderr}")
    return path


class Shim:
    """One node's shim.

    Args:
        library: See `compile_shim`.
        control: The file through which it is steered; made.
    """

    def __init__(self, library: Path, control: Path) -> None:
        self._library = library
        self._control = control
        control.write_bytes(bytes(_FIELDS.size))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FIELDS.size)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to be shimmed."""
        return {"LD_PRELOAD": str(self._library), "RAFTQ_CHAOS_SHIM": str(self._control)}

    def step_clock(self, seconds: float) -> None:
        """Set the wall clock wrong by so much, from now on."""
        self._put(0, int(seconds * _NANOSECONDS))

    def slow_syncs(self, seconds: float) -> None:
        """Let each sync take so much longer."""
        self._put(1, int(seconds * _NANOSECONDS))

    def set_sync(self, mode: Sync) -> None:
        """Say what syncs do."""
        self._put(2, mode)

    @property
    def syncs(self) -> int:
        """How many syncs the node, or its snapshot writers, have asked for."""
        count: int = struct.unpack_from("=q", self._map, 24)[0]
        return count

    def heal(self) -> None:
        """Make the disk honest and quick, and the clock right again."""
        self.step_clock(0)
        self.slow_syncs(0)
        self.set_sync(Sync.HONEST)

    def _put(self, number: int, value: int) -> None:
        struct.pack_into("=q", self._map, 8 * number, value)

    def close(self) -> None:
        """Let the file go."""
        self._map.close()
