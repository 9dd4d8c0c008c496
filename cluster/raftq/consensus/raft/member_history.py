"""Which member list is in force at which log index.

The list in force is the newest one **in the log**, committed or not; below the log the snapshot's;
below that the one that the node was started with. A node that waited for the commit would campaign,
after a restart, by a list that may be two changes old: the commit index is not stored. Source: Raft
dissertation 4.1.
"""

from collections.abc import Callable
from typing import Final

from raftq.consensus.raft.members import ENTRY_MEMBERS, MemberList, decode_list, encode_list

_TYPE: Final = bytes([ENTRY_MEMBERS])


class MemberHistory:
    """The member lists that the log holds, oldest first.

    Args:
        bootstrap: The list before any that a log held.
    """

    def __init__(self, bootstrap: MemberList) -> None:
        self._bootstrap = bootstrap
        self._base: tuple[int, MemberList] = (0, bootstrap)
        self._loaded = self._base
        self._in_log: list[tuple[int, MemberList]] = []
        self._was_cleared = False
        self.on_change: Callable[[], None] = lambda: None
        """Called, in the middle of a change of the log, when another list is in force."""

    @property
    def current(self) -> MemberList:
        """The list in force."""
        return self._newest()[1]

    @property
    def index(self) -> int:
        """The log index of the list in force; 0 for the one that the node was started with."""
        return self._newest()[0]

    def at(self, index: int) -> tuple[int, MemberList]:
        """Return (its index, list) that was in force at a log index."""
        found = self._base
        for each in self._in_log:
            if each[0] <= index:
                found = each
        return found

    def stored_at(self, index: int) -> bytes:
        """Return the list that was in force at a log index, as a snapshot keeps it."""
        return encode_list(*self.at(index))

    def _newest(self) -> tuple[int, MemberList]:
        return self._in_log[-1] if self._in_log else self._base

    # ------------------------------------------------------------ what happens to the log

    def added(self, index: int, command: bytes) -> None:
        """Notice an entry that was appended.

        Raises:
            StorageError: It holds a list that this version cannot read.
        """
        is_list = command[:1] == _TYPE
        if is_list:
            self._in_log.append((index, decode_list(command[1:])[1]))
        if is_list or self._was_cleared:
            self._was_cleared = False
            self.on_change()

    def cut_from(self, index: int) -> None:
        """Forget the lists from an index on: another leader has other entries there."""
        if self._in_log and self._in_log[-1][0] >= index:
            self._in_log = [each for each in self._in_log if each[0] < index]
            self.on_change()

    def dropped_before(self, index: int) -> None:
        """The log begins at an index now: the newest list below it is in the snapshot."""
        self._base = self.at(index - 1)
        self._in_log = [each for each in self._in_log if each[0] >= index]

    def loaded(self, stored: bytes) -> None:
        """Remember the list of a snapshot that is being loaded; empty if it has none."""
        self._loaded = decode_list(stored) if stored else (0, self._bootstrap)

    def cleared(self) -> None:
        """The log is empty: the snapshot that was loaded replaces it, and its list is in force.

        Nobody is told before the snapshot's last entries are there: PySyncObj cannot look at a log
        that is empty.
        """
        self._base, self._in_log = self._loaded, []
        self._was_cleared = True
