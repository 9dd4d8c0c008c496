"""Which entries a follower takes: only those that it could apply.

An entry of a newer version must not be acknowledged by a node that does not know it: the entry
would be committed with the help of a node that then has to stop, or worse, that takes it for
something else.
"""

from collections.abc import Iterable
from typing import Final

from raftq.protocol import codec
from raftq.protocol.errors import StorageError
from raftq.protocol.versions import ENTRY_VERSIONS_READABLE

ENTRY_COMMAND: Final = 16
"""Our command type in the log, its first byte; PySyncObj carries it untouched."""


def check_versions(entries: Iterable[tuple[bytes, int, int]]) -> None:
    """Refuse entries that this node could not apply, before any of them is kept.

    Args:
        entries: (command, index, term) as they are replicated.

    Raises:
        StorageError: A newer version of raftq wrote one; this node must stop.
    """
    for command, index, _ in entries:
        if command[:1] != bytes([ENTRY_COMMAND]):
            continue
        version = codec.entry_version(command[1:])
        if version not in ENTRY_VERSIONS_READABLE:
            raise StorageError(
                f"log entry {index} has version {version}, this node knows "
                f"{max(ENTRY_VERSIONS_READABLE)}: it was written by a newer version of raftq; "
                "upgrade this node. Nothing was lost: it had not acknowledged the entry",
                index=index,
            )
