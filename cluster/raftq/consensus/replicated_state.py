"""The machine of one member: applies entries, is replaced by snapshots, knows its cluster."""

import logging
from collections.abc import Callable
from typing import Protocol

from raftq.consensus.payloads.store import PayloadStore
from raftq.core.applied import Applied, AppliedReply
from raftq.core.machine import Machine
from raftq.protocol.errors import StorageError, UnsupportedFormat
from raftq.protocol.replies import CommandReply

_log = logging.getLogger(__name__)


class Identity(Protocol):
    """Where the cluster's identity is kept on this node's disk."""

    @property
    def cluster_id(self) -> str | None: ...
    def record_cluster_id(self, cluster_id: str) -> None: ...


class ReplicatedState:
    """Holds the machine.

    Args:
        identity: Compared with the identity that the log gives the cluster.
        command_at: Returns the command of a log entry, in which payloads are.
        open_log: Opens the log's files, and returns their descriptors.
    """

    def __init__(
        self,
        identity: Identity,
        command_at: Callable[[int], bytes],
        open_log: Callable[[], list[int]],
    ) -> None:
        self._command_at = command_at
        self._open_log = open_log
        self.payloads = self.new_payloads()
        self.machine = Machine(self.payloads)
        self.base_index = 0
        """Of the snapshot that the machine was loaded from."""
        self._identity = identity
        self.entries_refused_total = 0
        self.commands_failed_total = 0

    def apply(self, index: int, entry: bytes) -> Applied:
        """Apply one log entry.

        Raises:
            StorageError: The entry was written by a newer version: going on would make this
                replica differ from the others.
            UnsupportedFormat: The entry names another cluster than the data folder does.
        """
        self.payloads.begin_entry(index)
        applied = self.machine.apply(entry, index)
        rejected = applied.rejected
        if rejected is not None and rejected.code == "unsupported_version":
            raise StorageError(
                f"log entry {index} was written by a newer version of raftq "
                f"({rejected.message}); upgrade this node",
                index=index,
            )
        if rejected is not None:
            self.entries_refused_total += 1
            _log.error("entry_refused", extra={"index": index, "reason": rejected.message})
        if applied.errors:
            self.commands_failed_total += applied.errors
            _log.error("commands_failed", extra={"index": index, "commands": applied.errors})
        if self._identity.cluster_id is None:
            self.check_identity()
        return applied

    def answer(self, reply: AppliedReply) -> CommandReply:
        """Return a reply to the entry applied last as its caller gets it; see `Machine.answer`."""
        return self.machine.answer(reply)

    def new_payloads(self) -> PayloadStore:
        """Return a store for the payloads of a machine that is going to be loaded."""
        return PayloadStore(self._command_at, self._open_log)

    def install(self, machine: Machine, payloads: PayloadStore, index: int) -> None:
        """Replace the machine by one loaded from a snapshot of a log index."""
        self.payloads.close()
        self.machine, self.payloads = machine, payloads
        self.base_index = index
        self.check_identity()

    def check_identity(self) -> None:
        """Compare the machine's cluster with the data folder's; record it when it is new.

        Raises:
            UnsupportedFormat: The data folder is of another cluster.
        """
        found, known = self.machine.cluster_id, self._identity.cluster_id
        if found is None or found == known:
            return
        if known is not None:
            raise UnsupportedFormat(
                f"this data folder belongs to cluster {known}, its log to cluster {found}: "
                "files of two clusters were mixed; restore the right ones"
            )
        self._identity.record_cluster_id(found)
