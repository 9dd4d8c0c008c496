"""Snapshots without a stall: a forked child writes while the node goes on.

The child sees the machine as it was at the fork (copy on write), writes, syncs, verifies and
renames through `SnapshotStore`, and exits. The log is cut only after the child reported success.
Source: Redis' background save; docs/decisions/0003-forked-snapshots.md.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from raftq.consensus.payloads.store import dump_chunks
from raftq.consensus.raft.engine_seams import (
    SNAPSHOT_FAILED,
    SNAPSHOT_IDLE,
    SNAPSHOT_WRITING,
    SNAPSHOT_WRITTEN,
)
from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.stored_entry import LogEntry
from raftq.consensus.replicated_state import ReplicatedState
from raftq.core.machine import Machine
from raftq.protocol import limits
from raftq.storage.chunk_index import ChunkIndex
from raftq.storage.journal import JournalEntry
from raftq.storage.snapshots import SnapshotMeta, SnapshotStore

_log = logging.getLogger(__name__)

_HEADS_PER_POLL: Final = 256
"""Records of a new snapshot that are looked at before others get their turn of the loop."""
_WAIT_FOR_FOLLOWERS_SECONDS: Final = 2.0
"""How long a durable snapshot waits before the log is cut, so that a follower which is a little
behind is served from the log instead of being sent the whole snapshot."""


class Background(Protocol):
    """Runs one job beside the node and tells when it ended."""

    def start(self, job: Callable[[], None], keep: Collection[int]) -> None:
        """Start a job that needs some open files.

        Raises:
            OSError: There is no process to be had; then `poll` returns False.
        """
        ...

    def poll(self) -> bool | None:
        """Return None while the job runs, else whether it succeeded.

        Raises:
            CorruptRecord: It met damaged files.
        """
        ...

    def stop(self) -> None:
        """End a running job for certain; it counts as failed."""
        ...


class Snapshotter:
    """Writes and loads the snapshots of one node; implements the engine's `SnapshotHooks`.

    Args:
        store: The snapshot files.
        members: The member lists in the log; each snapshot holds the one in force at its index.
        state: Whose machine is saved, and replaced by a loaded one.
        background: Runs the writing.
        clock: Monotonic seconds.
        followers_passed: Tells whether every connected follower has the log up to an index.
    """

    def __init__(
        self,
        store: SnapshotStore,
        members: MemberHistory,
        state: ReplicatedState,
        background: Background,
        clock: Callable[[], float],
        followers_passed: Callable[[int], bool],
    ) -> None:
        self.path: Path = store.current
        self._store = store
        self._members = members
        self._state = state
        self._background = background
        self._clock = clock
        self._followers_passed = followers_passed
        self._writing: SnapshotMeta | None = None
        self._last_sequence = 0
        self._written: ChunkIndex | None = None
        self._unread_heads: Iterator[None] = iter(())
        self._durable_since: float | None = None
        self._identity = (0, 0)
        self._is_given_up = False
        self._again_at = 0.0
        self.written_total = 0
        self.failed_total = 0

    @property
    def is_idle(self) -> bool:
        """Whether no snapshot is being written."""
        return self._writing is None

    @property
    def may_begin(self) -> bool:
        """Whether a snapshot may be begun: none is being written, and none failed just now."""
        return self._writing is None and self._clock() >= self._again_at

    def begin(self, last: LogEntry, previous: LogEntry) -> None:
        """Start writing a snapshot of the machine as it is now.

        Raises:
            OSError: There is no process, or no open file, to be had; the snapshot has failed.
            CorruptRecord: A file is damaged; this node must stop.
        """
        machine, meta = self._state.machine, self.describe(last, previous)
        self._writing, self._last_sequence = meta, machine.last_sequence
        self._background.start(
            lambda: self._store.write(meta, dump_chunks(machine)), machine.payloads.descriptors()
        )

    def describe(self, last: LogEntry, previous: LogEntry) -> SnapshotMeta:
        """Return what a snapshot of the machine as it is now covers."""
        machine = self._state.machine
        return SnapshotMeta(
            last_index=last.index,
            last_term=last.term,
            previous_index=previous.index,
            previous_term=previous.term,
            last_command=last.command,
            previous_command=previous.command,
            state_hash=machine.state_hash,
            members=sorted(self._members.at(last.index)[1].members),
            cluster_id=machine.cluster_id,
            configuration=self._members.stored_at(last.index),
        )

    def poll(self) -> int:
        """Return the state of the snapshot being written, in PySyncObj's terms."""
        if self._writing is None:
            return SNAPSHOT_IDLE
        now = self._clock()
        if self._durable_since is None:
            is_in_use = self._take_over(self._writing)
            if is_in_use is None:
                return SNAPSHOT_WRITING
            if not is_in_use:
                self._fail(now)
                return SNAPSHOT_FAILED
            self._durable_since = now
        passed = self._followers_passed(self._writing.last_index)
        if not passed and now - self._durable_since < _WAIT_FOR_FOLLOWERS_SECONDS:
            return SNAPSHOT_WRITING
        self._identity = (self._writing.last_index, self._writing.last_term)
        self._writing = self._durable_since = None
        self.written_total += 1
        return SNAPSHOT_WRITTEN

    def _take_over(self, meta: SnapshotMeta) -> bool | None:
        """Read payloads from the snapshot once it is written; None until then, False if it failed.

        Raises:
            CorruptRecord: A file is damaged; this node must stop.
        """
        if self._written is None:
            succeeded = self._background.poll()
            if not succeeded:
                return succeeded
            found, self._written = self._store.open_current()
            self._unread_heads = self._written.read_heads()
            if (found.last_index, found.last_term) != (meta.last_index, meta.last_term):
                # A newer one is there. It lacks payloads that the machine, which is behind it,
                # may still be asked for.
                return False
        if len(list(islice(self._unread_heads, _HEADS_PER_POLL))) == _HEADS_PER_POLL:
            return None
        self._state.payloads.change_to(self._written, self._last_sequence)
        self._written = None
        return True

    def _fail(self, now: float) -> None:
        self._writing = None
        self._close_written()
        self.failed_total += 1
        if not self._is_given_up:
            self._again_at = now + limits.SNAPSHOT_AGAIN_AFTER_MS / 1_000
            _log.warning("snapshot_failed", extra={"failed_total": self.failed_total})
        self._is_given_up = False

    def _close_written(self) -> None:
        self._unread_heads = iter(())
        if self._written is not None:
            self._written.close()
            self._written = None

    def cancel(self) -> None:
        """Give up the snapshot being written: a newer one has arrived from the leader, and an
        older file must not be renamed over it."""
        if self._writing is not None:
            self._background.stop()
            self._is_given_up = True
            self._durable_since = None
            self._close_written()

    def adopt(self, received: Path) -> None:
        """Check a received file and durably put it in place of the current one.

        Raises:
            CorruptRecord: The file is damaged; the current one stays.
        """
        self._store.adopt(received)

    def load(self) -> tuple[JournalEntry, JournalEntry]:
        """Load the snapshot file into the machine; return its last and previous entry.

        Raises:
            CorruptRecord: The file is damaged; the node must not go on.
        """
        loaded = self._store.load()
        assert loaded is not None, "PySyncObj asked for a snapshot that does not exist"
        meta, chunks, index = loaded
        self._members.loaded(meta.configuration)
        payloads = self._state.new_payloads()
        machine = Machine.load(chunks, payloads)
        payloads.begin_with(index, machine.last_sequence)
        self._state.install(machine, payloads, meta.last_index)
        self._identity = (meta.last_index, meta.last_term)
        return (
            JournalEntry(meta.last_command, meta.last_index, meta.last_term),
            JournalEntry(meta.previous_command, meta.previous_index, meta.previous_term),
        )

    def identity(self) -> tuple[int, int]:
        """Return (index, term) of the snapshot that is being offered to followers."""
        return self._identity
