"""Versions of everything that is written down or sent."""

from typing import Final

NATIVE_PROTOCOL_VERSION: Final = 1
"""Sent in the client's hello; a node answers an unknown one with `unsupported_version`."""

PEER_PROTOCOL_VERSION: Final = 1
"""Sent in a peer's hello; nodes of different peer versions do not talk."""

ENTRY_VERSION: Final = 1
"""First field of every log entry; a node stops rather than apply an unknown version."""

DATA_FORMAT_VERSION: Final = 1
"""Written in a data folder when it is made; checked before anything else in it is read."""

SNAPSHOT_FORMAT_VERSION: Final = 2
"""Written in each snapshot file. Until 1 the payloads were in the tasks' rows."""
SNAPSHOT_FORMATS_READABLE: Final = (1, 2)

BACKUP_FORMAT_VERSION: Final = 2
"""Written in each backup file; a backup may be read long after the cluster that it was taken of.
Until 1 the payloads were in the tasks' rows."""
BACKUP_FORMATS_READABLE: Final = (1, 2)
