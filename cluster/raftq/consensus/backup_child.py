"""A backup without a stall: a forked child writes it into a pipe while the node goes on.

The child sees the machine as it was at the fork, as in `snapshotter`. A pipe and not a file, so
that a backup needs no room on a disk that may be nearly full, and so that a caller who is slow
slows the child and nothing else.
"""

import fcntl
import os
from contextlib import suppress

from raftq.consensus.contract import ReplicaView
from raftq.consensus.forked_child import ForkedChild
from raftq.consensus.payloads.store import dump_chunks
from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.storage.backups import BackupMeta, encode_backup


def backup_meta(
    machine: Machine, view: ReplicaView, *, taken_at_ms: int, raftq_version: str
) -> BackupMeta:
    """Describe a backup of a machine as it is now; `view` is of the same moment."""
    assert machine.cluster_id is not None, "a cluster without an identity has nothing to back up"
    return BackupMeta(
        index=view.applied_index,
        term=view.term,
        state_hash=machine.state_hash,
        cluster_id=machine.cluster_id,
        node=view.node,
        taken_at_ms=taken_at_ms,
        raftq_version=raftq_version,
    )


class BackupChild:
    """A child process that writes one backup.

    Args:
        machine: What is backed up, as it is now.
        meta: Describes it.
    """

    def __init__(self, machine: Machine, meta: BackupMeta) -> None:
        self.output, writer = os.pipe2(os.O_CLOEXEC)
        """Where the file's bytes can be read; the owner closes it."""
        with suppress(OSError):  # It is only faster: the two wake each other less often.
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, limits.BACKUP_PIPE_BYTES)
        self._child = ForkedChild()

        def job() -> None:
            for piece in encode_backup(meta, dump_chunks(machine)):
                _write_all(writer, piece)

        try:
            self._child.start(job, [writer, *machine.payloads.descriptors()])
        except BaseException:
            os.close(self.output)
            raise
        finally:
            os.close(writer)

    def kill(self) -> None:
        """End the child for certain; `poll` reaps it."""
        self._child.kill()

    def poll(self) -> bool | None:
        """Return None while the child runs, else whether it wrote everything; ask until then."""
        return self._child.poll()


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
