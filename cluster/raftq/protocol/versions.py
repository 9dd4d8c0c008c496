"""Versions of everything that is written down or sent."""

from typing import Final

NATIVE_PROTOCOL_VERSION: Final = 1
"""Sent in the client's hello; a node answers an unknown one with `unsupported_version`."""

PEER_PROTOCOL_VERSION: Final = 1
"""Sent in a peer's hello; nodes of different peer versions do not talk."""

ENTRY_VERSION: Final = 2
"""First field of every log entry; a node stops rather than apply an unknown version. Until 1 there
was only the life cycle of plain tasks."""
ENTRY_VERSIONS_READABLE: Final = (1, 2)

DATA_FORMAT_VERSION: Final = 1
"""Written in a data folder when it is made; checked before anything else in it is read."""

SNAPSHOT_FORMAT_VERSION: Final = 3
"""Written in each snapshot file. Until 1 the payloads were in the tasks' rows; until 2 there was
one row for each waiting task, and nothing of what tasks, queues and keys can be told now."""
SNAPSHOT_FORMATS_READABLE: Final = (1, 2, 3)

BACKUP_FORMAT_VERSION: Final = 3
"""Written in each backup file; a backup may be read long after the cluster that it was taken of.
Its state is that of a snapshot of the same version."""
BACKUP_FORMATS_READABLE: Final = (1, 2, 3)
