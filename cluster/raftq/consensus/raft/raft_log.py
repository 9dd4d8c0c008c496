"""The log as PySyncObj sees it, kept in our journal.

PySyncObj addresses its log like a list whose first element is the entry before the snapshot's
last one; `RaftLog` is that list, and writes every change to the `Journal` and every term and vote
to the `VoteFile`. Invariants: the list is contiguous; `entries[0]` is index 1 or the snapshot's
previous entry; nothing at or below the commit index is ever cut off; the commit index is not
stored (a restarted node learns it from a leader), so a torn journal can never make it lie.
"""

from typing import overload

from pysyncobj.journal import Journal as PySyncObjJournal

from raftq.consensus.raft.member_history import MemberHistory
from raftq.consensus.raft.members import MemberList
from raftq.protocol import limits
from raftq.protocol.errors import CorruptRecord
from raftq.storage.journal import Journal, JournalEntry
from raftq.storage.snapshots import SnapshotMeta
from raftq.storage.vote import VoteFile


class RaftLog(PySyncObjJournal):
    """The list of log entries that PySyncObj works on.

    Args:
        journal: Where entries become durable.
        vote: Where the term and the vote become durable.
        snapshot: The newest durable snapshot's description, or None.
        sync_each: True for a cluster of one node: it has no follower whose acknowledgement
            could wait for the disk, so each entry is synced before it is counted.
        members: Is told of each member list in the log.
    """

    def __init__(
        self,
        journal: Journal,
        vote: VoteFile,
        snapshot: SnapshotMeta | None,
        *,
        sync_each: bool,
        members: MemberHistory | None = None,
    ) -> None:
        self.journal = journal
        self._vote = vote
        self.sync_each = sync_each
        self.members = members or MemberHistory(MemberList({}))
        self._commit_index = 0
        self._entries = journal.take_recovered()
        if self._entries and self._entries[-1].term > vote.term:
            # Terms are stored before they are used, so the vote file must be the newer one.
            raise CorruptRecord(
                f"the log holds term {self._entries[-1].term}, the vote file {vote.term}: the vote "
                "file was lost or replaced; rebuild this node from its peers",
                term=vote.term,
            )
        if snapshot is not None:
            self._reconcile(snapshot)
            self.members.loaded(snapshot.configuration)
            self.members.cleared()
        for entry in self._entries:
            self.members.added(entry.index, entry.command)
        self._bytes = sum(len(entry.command) for entry in self._entries)

    def _reconcile(self, snapshot: SnapshotMeta) -> None:
        """Make the list start at the snapshot, keeping every entry after it.

        A node may die between making a snapshot durable and cutting the log, or between
        installing a received snapshot and resetting the log. PySyncObj would clear the log in
        both cases; in the first that would forget entries that this node acknowledged.
        """
        previous = JournalEntry(
            snapshot.previous_command, snapshot.previous_index, snapshot.previous_term
        )
        last = JournalEntry(snapshot.last_command, snapshot.last_index, snapshot.last_term)
        entries = self._entries
        offset = snapshot.last_index - entries[0].index if entries else -1
        if 0 <= offset < len(entries) and entries[offset].term == last.term:
            self._entries = [previous, last, *entries[offset + 1 :]]
        elif entries and entries[0].index == last.index + 1:
            self._entries = [previous, last, *entries]
        elif entries and entries[0].index > last.index + 1:
            raise CorruptRecord(
                f"the log begins at index {entries[0].index}, but the newest snapshot ends at "
                f"{last.index}: entries in between are missing; rebuild this node from its peers",
                index=last.index + 1,
            )
        else:
            self.journal.reset()
            for entry in (previous, last):
                self.journal.append(entry.index, entry.term, entry.command)
            self._entries = [previous, last]

    # ------------------------------------------------------------ what raftq reads

    @property
    def first_index(self) -> int:
        """Index of the first entry in the list."""
        return self._entries[0].index

    @property
    def last_index(self) -> int:
        """Index of the newest entry."""
        return self._entries[-1].index

    @property
    def last_term(self) -> int:
        """Term of the newest entry."""
        return self._entries[-1].term

    @property
    def stored_term(self) -> int:
        """The newest term that this node took part in; 0 if it never did."""
        return self._vote.term

    @property
    def payload_bytes(self) -> int:
        """Bytes of all commands in the list."""
        return self._bytes

    def term_at(self, index: int) -> int:
        """Return the term of an entry between `first_index` and `last_index`."""
        return self._entries[index - self._entries[0].index].term

    # ------------------------------------------------------------ what PySyncObj calls

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Append one entry."""
        self.journal.append(idx, term, command)
        self._entries.append(JournalEntry(command, idx, term))
        self._bytes += len(command)
        self.members.added(idx, command)
        if self.sync_each:
            job = self.journal.begin_sync()
            if job is not None:
                job.run()
                self.journal.finish_sync(job)

    def clear(self) -> None:
        """Forget the whole log: a received snapshot replaces it."""
        self.journal.reset()
        self._entries = []
        self._bytes = 0
        self.members.cleared()

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        """Cut off the entries from a list position on: a leader has others."""
        index = self._entries[entryFrom].index
        assert index > self._commit_index, (
            f"cutting the log at index {index} would remove committed entries "
            f"(commit index {self._commit_index})"
        )
        self.journal.truncate_after(index - 1)
        self._bytes -= sum(len(entry.command) for entry in self._entries[entryFrom:])
        del self._entries[entryFrom:]
        self.members.cut_from(index)

    def deleteEntriesTo(self, entryTo: int) -> None:
        """Drop the entries before a list position: a durable snapshot holds their effect."""
        self.journal.drop_through(self._entries[entryTo].index - 1)
        self._bytes -= sum(len(entry.command) for entry in self._entries[:entryTo])
        del self._entries[:entryTo]
        self.members.dropped_before(self.first_index)

    @overload
    def __getitem__(self, item: int) -> JournalEntry: ...
    @overload
    def __getitem__(self, item: slice) -> list[JournalEntry]: ...
    def __getitem__(self, item: int | slice) -> JournalEntry | list[JournalEntry]:
        if isinstance(item, slice) and item.stop is None:
            return self._batch(item.start)
        return self._entries[item]

    def _batch(self, start: int) -> list[JournalEntry]:
        """Return entries from a position on: at least two, and about one message's worth.

        PySyncObj asks for the whole tail each time it sends; copying a long one for every
        message would make catching up quadratic. Two, because a follower asks the same way
        whether anything follows an entry, and cuts it off only if it sees it.
        """
        stop = min(start + limits.ENTRIES_PER_MESSAGE_MAX, len(self._entries))
        total = 0
        for position in range(start, stop):
            total += len(self._entries[position].command)
            if total >= limits.ENTRY_BYTES_TARGET and position > start:
                return self._entries[start : position + 1]
        return self._entries[start:stop]

    def __len__(self) -> int:
        return len(self._entries)

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """Remember the commit index as a bound for truncation; it is not stored."""
        self._commit_index = max(self._commit_index, raftCommitIndex)

    def getRaftCommitIndex(self) -> int:
        """Return what is certainly committed at start: the first entry of the list."""
        return self._entries[0].index if self._entries else 1

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        """Store term and vote durably before anyone can learn of them."""
        self._vote.store(term, votedForNodeId)

    def getCurrentTerm(self) -> int:
        """Return the stored term."""
        return self._vote.term

    def getVotedForNodeId(self) -> str | None:
        """Return whom this node voted for in the stored term."""
        return self._vote.voted_for

    def onOneSecondTimer(self) -> None:
        """Do nothing: this log has no lazy writes."""
