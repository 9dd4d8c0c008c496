"""Who may lead, and whether a leader may still speak for the cluster.

PySyncObj's own election timer is switched off. This one asks before it disturbs (pre-vote),
ignores candidates while a leader is alive (stickiness), starts an election at once when the
leader's connection breaks, tells a deposed leader so, and confirms leadership with a quorum
before a read (read index). Source: Raft dissertation 4.2.3, 6.4, 9.6.

Times are seconds of the injected clock.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from raftq.consensus.peers.messages import (
    AppendEntries,
    ElectorMessage,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RaftMessage,
    RequestVote,
    SnapshotPart,
    TermNote,
    TimeoutNow,
)
from raftq.consensus.raft.roll import Roll, fixed_roll

ROUNDS_TIMED_MAX: Final = 1_000
"""Heartbeat rounds whose time of sending is kept; a reply to an older one took long."""


@dataclass(frozen=True, slots=True)
class ElectionTimes:
    """Seconds; a follower that hears nothing for `timeout` (to twice that) asks for votes."""

    timeout: float
    heartbeat: float
    reelection: float = 0.05
    """The base of the short pause between tries while the leader is known to be gone."""


class Electorate(Protocol):
    """What the elector asks of, and tells, the PySyncObj engine."""

    @property
    def term(self) -> int: ...
    @property
    def is_leader(self) -> bool: ...
    @property
    def leader(self) -> str | None: ...
    @property
    def read_index(self) -> int | None:
        """The commit index, if an entry of the current term is committed; else None."""
        ...

    @property
    def applied_index(self) -> int: ...

    def start_election(self) -> None: ...
    def adopt_term(self, peer: str, term: int) -> None: ...
    def touch(self, peer: str) -> None: ...


class VoterClocks(Protocol):
    """Where the voters' wall clocks meet; heartbeats carry them."""

    @property
    def own_wall_ms(self) -> int:
        """This node's wall clock, milliseconds since 1970."""
        ...

    def heard(self, voter: str, wall_at_ms: int, round_trip_ms: float) -> None:
        """Note the clock that a reply told, which arrived so long after it was asked for."""
        ...

    def keep(self, voters: Collection[str]) -> None:
        """Forget the clocks of everybody else."""
        ...


class LogEnd(Protocol):
    """Where this node's log ends: what votes compare."""

    @property
    def last_index(self) -> int: ...
    @property
    def last_term(self) -> int: ...


class VotingRight(Protocol):
    """Whether this node may act on promises that it might have forgotten."""

    def may_vote(self, term: int) -> bool: ...
    @property
    def may_campaign(self) -> bool: ...


class _FullRight:
    may_campaign = True

    def may_vote(self, term: int) -> bool:
        return True


@dataclass(slots=True)
class _Read:
    round: int
    index: int
    done: Callable[[bool], None]


class Elector:
    """Pre-vote, stickiness, heartbeat rounds and read index of one node.

    Args:
        raft: The engine.
        log: This node's log.
        peers: The other members, until `roll` is set: all voters, all trusted.
        times: Election timing.
        clock: Monotonic seconds.
        random: Uniform numbers in [0, 1).
        send: Sends a message to a peer.
        clocks: Learns the wall clocks that voters tell.
        right: Whether this node may vote and campaign.
    """

    def __init__(
        self,
        raft: Electorate,
        log: LogEnd,
        peers: Collection[str],
        times: ElectionTimes,
        clock: Callable[[], float],
        random: Callable[[], float],
        send: Callable[[str, ElectorMessage], object],
        clocks: VoterClocks,
        right: VotingRight | None = None,
    ) -> None:
        self._raft = raft
        self._log = log
        self._roll = fixed_roll(peers)
        self._right = right or _FullRight()
        self._times = times
        self._clock = clock
        self._random = random
        self._send = send
        self._clocks = clocks
        now = clock()
        # After a start, refuse votes as if a leader had just been heard: this node does not
        # know what its previous process promised.
        self._heard_leader_at = now
        self._deadline = now + self._timeout()
        self._leader_is_gone = False
        self._round = 0
        self._pre_vote_term = 0
        self._grants: set[str] = set()
        self._led_term: int | None = None
        self._heartbeat_round = 0
        self._sent_at: dict[int, float] = {}
        """When each of the newest heartbeat rounds was sent."""
        self._next_heartbeat_at = 0.0
        self._confirmed: dict[str, int] = {}
        self._reads: deque[_Read] = deque()
        self._transfer_term: int | None = None

    @property
    def roll(self) -> Roll:
        """Whose answers count; replaced when that changes."""
        return self._roll

    @roll.setter
    def roll(self, roll: Roll) -> None:
        self._roll = roll
        self._clocks.keep(roll.counted)

    @property
    def _may_campaign(self) -> bool:
        return self.roll.is_voter and self._right.may_campaign

    @property
    def silence(self) -> float:
        """Seconds since a leader was last heard, on a follower."""
        return self._clock() - self._heard_leader_at

    # ------------------------------------------------------------ timer

    @property
    def due_at(self) -> float:
        """When `tick` next has something to do, unless something happens before."""
        return self._next_heartbeat_at if self._raft.is_leader else self._deadline

    @property
    def rounds_begun(self) -> int:
        """How many heartbeat rounds this node has sent."""
        return self._heartbeat_round

    def tick(self) -> None:
        """Do what is due: heartbeats on a leader, a pre-vote on a follower without one."""
        now = self._clock()
        if self._raft.is_leader:
            self._lead(now)
            return
        if self._led_term is not None:
            self._led_term = None
            self._fail_reads()
            self._deadline = now + self._timeout()
        if now >= self._deadline and self._may_campaign:
            self._ask_for_pre_votes(now)

    def _lead(self, now: float) -> None:
        if self._led_term != self._raft.term:
            self._led_term = self._raft.term
            self._confirmed.clear()
            self._fail_reads()
            self._next_heartbeat_at = now
        if now >= self._next_heartbeat_at:
            self._send_heartbeats(now)
        self._finish_reads()

    def _send_heartbeats(self, now: float) -> None:
        self._next_heartbeat_at = now + self._times.heartbeat
        self._heartbeat_round += 1
        self._sent_at[self._heartbeat_round] = now
        self._sent_at.pop(self._heartbeat_round - ROUNDS_TIMED_MAX, None)
        for peer in self.roll.others:
            self._send(peer, Heartbeat(self._raft.term, self._heartbeat_round))

    def _ask_for_pre_votes(self, now: float) -> None:
        self._deadline = now + self._pause()
        self._round += 1
        self._pre_vote_term = self._raft.term
        self._grants = set()
        question = PreVote(
            self._round, self._pre_vote_term, self._log.last_index, self._log.last_term
        )
        for peer in self.roll.counted:
            self._send(peer, question)
        self._elect_if_granted()

    def _elect_if_granted(self) -> None:
        granted = self.roll.decides(self._grants) and self._may_campaign
        if granted and self._raft.term == self._pre_vote_term and not self._raft.is_leader:
            self._pre_vote_term = -1
            self._deadline = self._clock() + self._pause()
            self._raft.start_election()

    def on_leader_connection_lost(self) -> None:
        """Start over at once: a broken connection says more than a missing heartbeat."""
        now = self._clock()
        self._leader_is_gone = True
        self._heard_leader_at = now - 2 * self._times.timeout
        self._deadline = now + self._pause()

    def _heard_leader(self) -> None:
        now = self._clock()
        self._leader_is_gone = False
        self._heard_leader_at = now
        self._deadline = now + self._timeout()

    def _timeout(self) -> float:
        return self._times.timeout * (1 + self._random())

    def _pause(self) -> float:
        """The time to the next try: short while the leader is known to be gone."""
        if self._leader_is_gone:
            return self._times.reelection * (0.2 + 2 * self._random())
        return self._timeout()

    # ------------------------------------------------------------ messages

    def admits(self, peer: str, message: RaftMessage) -> bool:
        """Look at a Raft message before the guard does; False if it must not go further."""
        raft = self._raft
        match message:
            case AppendEntries(term=term) | SnapshotPart(term=term):
                if term < raft.term:
                    self._send(peer, TermNote(raft.term))
                    return False
                self._heard_leader()
            case RequestVote(term=term, is_transfer=is_transfer):
                if term < raft.term:
                    self._send(peer, TermNote(raft.term))
                    return False
                if term > raft.term and not is_transfer and self._follows_living_leader():
                    return False
                if not self._right.may_vote(term):
                    return False
                self._deadline = self._clock() + self._timeout()
            case TimeoutNow():
                if not self._may_campaign:
                    return False
                self._transfer_term = raft.term + 1
            case _:
                pass
        return True

    def tag(self, message: RaftMessage) -> RaftMessage:
        """Mark this node's vote requests in an election that the old leader asked for."""
        if isinstance(message, RequestVote) and message.term == self._transfer_term:
            return RequestVote(message.term, message.last_index, message.last_term, True)
        return message

    def on_message(self, peer: str, message: ElectorMessage) -> None:
        """Handle the elector's own messages."""
        raft = self._raft
        match message:
            case PreVote():
                granted = self._grants_pre_vote(message)
                if granted:
                    # Leave the candidate the time to win before trying ourselves.
                    self._deadline = max(self._deadline, self._clock() + self._times.heartbeat)
                self._send(peer, PreVoteReply(message.round, raft.term, granted))
            case PreVoteReply(round=round_, term=term, granted=granted):
                if term > raft.term:
                    raft.adopt_term(peer, term)
                elif granted and round_ == self._round:
                    self._grants.add(peer)
                    self._elect_if_granted()
            case Heartbeat(term=term, round=round_):
                if term < raft.term:
                    self._send(peer, TermNote(raft.term))
                elif term == raft.term and raft.leader == peer:
                    self._heard_leader()
                    self._send(peer, HeartbeatReply(term, round_, self._clocks.own_wall_ms))
            case HeartbeatReply(term=term, round=round_, wall_at_ms=wall_at_ms):
                is_counted = peer in self.roll.counted
                if is_counted and raft.is_leader and term == raft.term == self._led_term:
                    self._confirmed[peer] = max(round_, self._confirmed.get(peer, 0))
                    round_trip = self._clock() - self._sent_at.get(round_, -inf)
                    self._clocks.heard(peer, wall_at_ms, round_trip * 1_000)
                    raft.touch(peer)
                    self._finish_reads()
            case TermNote(term=term):
                if term > raft.term:
                    raft.adopt_term(peer, term)

    def _follows_living_leader(self) -> bool:
        return self._raft.is_leader or self.silence < self._times.timeout

    def _grants_pre_vote(self, question: PreVote) -> bool:
        log_is_as_new = (question.last_term, question.last_index) >= (
            self._log.last_term,
            self._log.last_index,
        )
        return (
            question.term >= self._raft.term
            and log_is_as_new
            and not self._follows_living_leader()
            and self._right.may_vote(question.term + 1)
        )

    # ------------------------------------------------------------ reads

    def confirm_read(self, done: Callable[[bool], None]) -> None:
        """Call `done(True)` once this node, after now, was confirmed as leader by a quorum and
        has applied everything that was committed before; `done(False)` if it lost leadership.

        The next tick sends the heartbeats that all reads of this loop turn share.
        """
        index = self._raft.read_index
        if not self._raft.is_leader or self._led_term != self._raft.term or index is None:
            done(False)
            return
        self._reads.append(_Read(self._heartbeat_round + 1, index, done))
        self._next_heartbeat_at = 0.0

    def _finish_reads(self) -> None:
        """Finish the reads whose heartbeat round a majority has answered."""
        if not self._reads:
            return
        roll = self.roll
        rounds = sorted((self._confirmed.get(peer, 0) for peer in roll.counted), reverse=True)
        needed = roll.majority - roll.is_voter
        if needed > len(rounds):
            return
        confirmed = rounds[needed - 1] if needed else self._heartbeat_round
        while self._reads and self._reads[0].round <= confirmed:
            if self._reads[0].index > self._raft.applied_index:
                return
            self._reads.popleft().done(True)

    def _fail_reads(self) -> None:
        while self._reads:
            self._reads.popleft().done(False)
