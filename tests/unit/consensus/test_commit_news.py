"""Messages that only tell a newer commit index wait for entries or for the timer."""

from pathlib import Path

from raftq.consensus.peers.messages import AppendEntries, NextIndex, RaftMessage
from raftq.consensus.raft.guard import Guard
from raftq.consensus.raft.raft_log import RaftLog
from raftq.storage.journal import Journal
from raftq.storage.vote import VoteFile
from raftq.testing.memory_files import MemoryFiles


class Leader:
    """PySyncObj as the guard sees it, while it leads term 3."""

    term = 3
    commit_index = 0
    is_leader = True

    def deliver(self, peer: str, message: RaftMessage) -> None:
        """Take a message."""

    def heartbeat(self, peer: str, term: int, commit_index: int) -> None:
        """Take a heartbeat."""

    def set_next_index(self, peer: str, next_index: int) -> None:
        """Take a position."""

    def touch(self, peer: str) -> None:
        """Take a sign of life."""


class Wire:
    """Remembers what left."""

    def __init__(self) -> None:
        self.sent: list[RaftMessage] = []

    def send(self, peer: str, message: RaftMessage) -> None:
        self.sent.append(message)


def leading_guard() -> tuple[Guard, Leader, Wire]:
    files = MemoryFiles()
    log = RaftLog(
        Journal.open(files, Path("/journal")),
        VoteFile.open(files, Path("/vote")),
        None,
        sync_each=False,
    )
    leader, wire = Leader(), Wire()
    return Guard(leader, log, wire), leader, wire


def entries(commit_index: int) -> AppendEntries:
    return AppendEntries(3, commit_index, 4, 3, [(b"x", 5, 3)])


def news(commit_index: int, previous_index: int = 5) -> AppendEntries:
    return AppendEntries(3, commit_index, previous_index, 3, [])


def test_a_newer_commit_index_alone_waits_for_the_timer() -> None:
    guard, _, wire = leading_guard()
    guard.outgoing("n2", entries(4))
    guard.outgoing("n2", news(5))
    assert wire.sent == [entries(4)]
    guard.send_news()
    guard.send_news()
    assert wire.sent == [entries(4), news(5)]


def test_a_repeated_commit_index_waits_for_the_heartbeats() -> None:
    guard, _, wire = leading_guard()
    guard.outgoing("n2", entries(5))
    guard.outgoing("n2", news(5))
    assert not guard.has_news
    guard.send_news()
    assert wire.sent == [entries(5)]
    guard.send_news(repeated=True)
    guard.send_news(repeated=True)
    assert wire.sent == [entries(5), news(5)]


def test_a_newer_commit_index_does_not_wait_for_the_heartbeats() -> None:
    guard, _, wire = leading_guard()
    guard.outgoing("n2", entries(5))
    guard.outgoing("n2", news(5))
    guard.outgoing("n2", news(6))
    assert guard.has_news
    guard.send_news()
    assert wire.sent == [entries(5), news(6)]
    assert not guard.has_news


def test_on_a_new_connection_every_commit_index_is_new() -> None:
    guard, _, wire = leading_guard()
    guard.outgoing("n2", entries(5))
    guard.on_connection_changed("n2")
    guard.outgoing("n2", entries(4))
    guard.outgoing("n2", news(5))
    guard.send_news()
    assert wire.sent == [entries(5), entries(4), news(5)]


def test_what_was_held_in_another_leadership_is_not_sent() -> None:
    guard, _, wire = leading_guard()
    guard.outgoing("n2", entries(4))
    guard.outgoing("n2", news(5))
    guard.on_leadership()
    guard.send_news(repeated=True)
    assert wire.sent == [entries(4)]


def test_entries_carry_the_news_in_its_place() -> None:
    guard, _, wire = leading_guard()
    guard.outgoing("n2", entries(4))
    guard.outgoing("n2", news(5))
    more = AppendEntries(3, 5, 5, 3, [(b"y", 6, 3)])
    guard.outgoing("n2", more)
    guard.send_news()
    assert wire.sent == [entries(4), more]


def test_a_probe_for_the_follower_s_position_leaves_at_once() -> None:
    guard, _, wire = leading_guard()
    guard.outgoing("n2", news(5))
    assert wire.sent == [news(5)]
    guard.outgoing("n2", entries(4))
    guard.incoming("n2", NextIndex(3, 3, success=False, reset=True))
    guard.outgoing("n2", news(5, previous_index=2))
    assert wire.sent[-1] == news(5, previous_index=2)


def test_news_of_a_lost_connection_or_leadership_is_dropped() -> None:
    guard, leader, wire = leading_guard()
    guard.outgoing("n2", entries(4))
    guard.outgoing("n2", news(5))
    guard.on_connection_changed("n2")
    guard.send_news()
    guard.outgoing("n3", entries(4))
    guard.outgoing("n3", news(5))
    leader.is_leader = False
    guard.send_news()
    assert wire.sent == [entries(4), entries(4)]
