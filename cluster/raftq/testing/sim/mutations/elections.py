"""Mutations of elections, confirmed reads and the leader's clocks."""

from collections.abc import Callable
from math import inf
from typing import Final, cast

from raftq.consensus import leader_clock as leader_clock_module
from raftq.consensus.leader_clock import LeaderClock
from raftq.consensus.peers.messages import RaftMessage, TermNote
from raftq.consensus.raft.elector import Elector
from raftq.consensus.raft.engine import Engine
from raftq.consensus.raft.guard import Guard
from raftq.core.state import State
from raftq.protocol import limits
from raftq.testing.sim.mutations.mutation import Inside, Mutation
from raftq.testing.sim.patching import Patch, original


def _pre_vote() -> list[Patch]:
    def campaign(self: Inside, now: float) -> None:
        self._deadline = now + self._pause()
        self._raft.start_election()

    return [(Elector, "_ask_for_pre_votes", campaign), *_stickiness()]


def _stickiness() -> list[Patch]:
    def follows(self: Inside) -> bool:
        return False

    return [(Elector, "_follows_living_leader", follows)]


def _term_note() -> list[Patch]:
    on_message = cast("Callable[[Inside, str, object], None]", original(Elector, "on_message"))

    def deaf(self: Inside, peer: str, message: object) -> None:
        if not isinstance(message, TermNote):
            on_message(self, peer, message)

    return [(Elector, "on_message", deaf)]


def _step_down() -> list[Patch]:
    init = cast("Callable[..., None]", original(Engine, "__init__"))

    def stubborn(self: Inside, *args: object, **settings: object) -> None:
        init(self, *args, **{**settings, "fallback": 30.0})

    return [(Engine, "__init__", stubborn)]


def _read_barrier() -> list[Patch]:
    def confirm(self: Inside, done: Callable[[bool], None]) -> None:
        done(self._raft.is_leader)

    return [(Elector, "confirm_read", confirm)]


def _read_round() -> list[Patch]:
    confirm = cast("Callable[[Inside, object], None]", original(Elector, "confirm_read"))

    def earlier(self: Inside, done: object) -> None:
        confirm(self, done)
        if self._reads:
            self._reads[-1].round = 0
            self._finish_reads()

    return [(Elector, "confirm_read", earlier)]


def _read_own_term() -> list[Patch]:
    def any_term(self: Inside) -> int:
        return int(self._raft.raftLastApplied)

    return [(Engine, "read_index", property(any_term))]


def _transfer_tag() -> list[Patch]:
    def tag(self: Inside, message: RaftMessage) -> RaftMessage:
        return message

    return [(Elector, "tag", tag)]


def _lease_step() -> list[Patch]:
    return [(leader_clock_module, "STEP_MAX_MS", inf)]


def _grace() -> list[Patch]:
    return [(leader_clock_module, "GRACE_MS", 0.0)]


def _wall_max() -> list[Patch]:
    advance = cast("Callable[[Inside, int, int], None]", original(State, "advance"))

    def back(self: Inside, lease_advance_ms: int, wall_at_ms: int) -> None:
        self.wall_now_ms = min(self.wall_now_ms, wall_at_ms)
        advance(self, lease_advance_ms, wall_at_ms)

    return [(State, "advance", back)]


def _votes_once() -> list[Patch]:
    def none_seen(self: Inside) -> set[tuple[int, str]]:
        return set()

    def forget(self: Inside, seen: object) -> None:
        """Keep nothing."""

    return [(Guard, "_votes_seen", property(none_seen, forget))]


def _cluster_time() -> list[Patch]:
    def own(self: Inside) -> int:
        return int(self._wall_ms())

    return [(LeaderClock, "wall_ms", property(own))]


def _clock_quorum() -> list[Patch]:
    return [(LeaderClock, "is_known", property(lambda _: True))]


def _clock_round_trip() -> list[Patch]:
    heard = cast("Callable[..., None]", original(LeaderClock, "heard"))

    def on_arrival(self: Inside, voter: str, wall_at_ms: int, _round_trip_ms: float) -> None:
        self._heard.pop(voter, None)
        heard(self, voter, wall_at_ms, 0.0)

    return [(LeaderClock, "heard", on_arrival)]


def _carried_time() -> list[Patch]:
    def applied(self: Inside, wall_now_ms: int) -> None:
        """Forget what was reached, so that the median alone counts."""

    return [(LeaderClock, "applied", applied)]


def _lease_backlog() -> list[Patch]:
    def stamp(self: Inside) -> tuple[int, int]:
        """Leave what the entry cannot carry to the next one."""
        self.look()
        carried_ms = min(int(self._pending_ms), limits.LEASE_TIME_STEP_MAX_MS)
        self._pending_ms -= carried_ms
        return carried_ms, self.wall_ms

    return [(LeaderClock, "stamp", stamp)]


MUTATIONS: Final[dict[str, Mutation]] = {
    "pre-vote": Mutation(
        "a node campaigns without asking, and is heard by nodes that follow a leader",
        _pre_vote,
        ("rejoin",),
    ),
    "stickiness": Mutation(
        "candidates are heard while the leader is alive", _stickiness, ("rejoin",)
    ),
    "term-note": Mutation(
        "a deposed leader is not told of the newer term", _term_note, ("left-behind",)
    ),
    "step-down": Mutation(
        "a leader without a majority believes in itself for 30 s", _step_down, ("deposed",)
    ),
    "read-barrier": Mutation(
        "a leader answers reads without asking its quorum",
        _read_barrier,
        ("deposed", "partitions"),
    ),
    "read-round": Mutation(
        "a read counts heartbeats that were answered before it",
        _read_round,
        ("deposed", "partitions"),
    ),
    "read-own-term": Mutation(
        "a new leader answers before an entry of its own term is committed",
        _read_own_term,
        ("takeovers",),
    ),
    "transfer-tag": Mutation(
        "an election that the leader asked for is refused like any other",
        _transfer_tag,
        ("rolling-restart",),
    ),
    "lease-step-cap": Mutation(
        "the time in which a leader stood still ages leases", _lease_step, ("short-freezes",)
    ),
    "grace-period": Mutation(
        "leases age from the first moment of a leadership", _grace, ("steady",)
    ),
    "lease-backlog": Mutation(
        "lease time of long silence ages the leases that are granted after it",
        _lease_backlog,
        ("silence",),
    ),
    "votes-once": Mutation(
        "a voter that answers twice counts twice",
        _votes_once,
        ("crashes",),
        not_shown_because="a peer votes once in a term, and TCP doubles nothing",
        shown_by="tests/unit/consensus/test_guard.py::test_a_voter_is_counted_once_in_a_term",
    ),
    "cluster-time": Mutation(
        "wall time is the leader's own clock", _cluster_time, ("clock-steps",)
    ),
    "clock-quorum": Mutation(
        "a leader proposes before it knows a majority's clocks", _clock_quorum, ("unheard",)
    ),
    "clock-round-trip": Mutation(
        "a voter's clock counts as read when its reply arrives",
        _clock_round_trip,
        ("slow-links",),
    ),
    "carried-time": Mutation(
        "wall time stands still while the median is behind what was reached",
        _carried_time,
        ("two-clocks", "clock-steps"),
    ),
    "wall-clock-max": Mutation("wall time may go back", _wall_max, ("clock-steps", "crashes")),
}
