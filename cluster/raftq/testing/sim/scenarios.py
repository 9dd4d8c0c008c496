"""What is done to a cluster, by name: each scenario is a coroutine in virtual time.

A scenario only makes things worse; the run ends every fault by itself afterwards and demands
progress. To add one, write a coroutine that the seed drives, and name it in `SCENARIOS`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from raftq.protocol.fields import Consistency
from raftq.testing.sim import (
    clock_trials,
    event_trials,
    fault_trials,
    member_trials,
    memberships,
    model_trials,
    moment_trials,
    payload_trials,
    schedule_trials,
    stale_acks,
    trials,
)
from raftq.testing.sim.clients import Load
from raftq.testing.sim.cluster import Plan, SimCluster
from raftq.testing.sim.node import NodeSettings

Act = Callable[[SimCluster], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named way to suffer.

    Args:
        summary: One line for people.
        act: What happens.
        plan: What the run is made of; the number of nodes may be changed.
    """

    summary: str
    act: Act
    plan: Plan = field(default_factory=Plan)


_BUSY_LOG: Final = NodeSettings(snapshot_entries=60, segment_bytes=6_000, snapshot_seconds=0.08)
_SMALL_LOG: Final = NodeSettings(snapshot_entries=250, segment_bytes=16_000)
_PLAN: Final = Plan(settings=_SMALL_LOG)
_READERS: Final = replace(
    _PLAN, load=Load(workers=4, readers=4, levels=(Consistency.LINEARIZABLE,), pause=0.03)
)
_LIGHT: Final = replace(_PLAN, load=Load(producers=9, workers=1, runners=0, readers=0, pause=0.15))
_CLOCKS: Final = replace(_PLAN, load=Load(delay_max=8.0), wall_error_ms=clock_trials.WALL_ERROR_MS)
_BACKLOG: Final = Load(producers=6, workers=1, runners=0, readers=1, pause=0.03)
_IDLE: Final = replace(_PLAN, load=Load(producers=1, workers=0, runners=0, pause=0.5))

SCENARIOS: Final[dict[str, Scenario]] = {
    "calm": Scenario("nothing happens", fault_trials.calm, replace(_PLAN, seconds=3.0)),
    "crashes": Scenario(
        "processes are killed in the middle of writes", fault_trials.crashes, _PLAN
    ),
    "power-loss": Scenario("a minority loses power", fault_trials.power_loss, _PLAN),
    "blackout": Scenario("the whole cluster loses power", fault_trials.blackout, _PLAN),
    "partitions": Scenario(
        "the network is cut, connections break and linger", fault_trials.partitions, _PLAN
    ),
    "bad-disks": Scenario("disks are slow, full or fail", fault_trials.bad_disks, _PLAN),
    "lagging": Scenario(
        "followers need snapshots, nodes die meanwhile",
        fault_trials.lagging,
        Plan(settings=_BUSY_LOG),
    ),
    "rolling-restart": Scenario(
        "every node is stopped and started", fault_trials.rolling_restart, _PLAN
    ),
    "clock-steps": Scenario(
        "one wall clock jumps while leaders change", clock_trials.clock_steps, _CLOCKS
    ),
    "two-clocks": Scenario(
        "one of the two nodes that are left has a clock that is behind",
        clock_trials.two_clocks,
        replace(_CLOCKS, wall_error_ms=clock_trials.TWO_RESTARTS_MS),
    ),
    "slow-links": Scenario(
        "clocks are heard late, and on time again",
        clock_trials.slow_links,
        replace(_PLAN, load=Load(delay_max=0.8)),
    ),
    "unheard": Scenario(
        "a leader with a wrong clock loses its connections before it hears another",
        clock_trials.unheard,
        _CLOCKS,
    ),
    "silence": Scenario(
        "all clients stand still for long",
        clock_trials.silence,
        replace(_PLAN, limits={"LEASE_TIME_STEP_MAX_MS": 400}),
    ),
    "short-memory": Scenario(
        "few finished tasks are remembered, while processes are killed",
        fault_trials.crashes,
        replace(_PLAN, seconds=4.0, limits={"RESULTS_KEPT_MAX": 10}),
    ),
    "freezes": Scenario(
        "nodes and workers stand still", fault_trials.freezes, replace(_PLAN, load=Load(lease=1.0))
    ),
    "new-disk": Scenario("a follower comes back with an empty disk", memberships.new_disk, _PLAN),
    "mixed": Scenario(
        "everything at once",
        fault_trials.mixed,
        Plan(settings=replace(_BUSY_LOG, snapshot_entries=120)),
    ),
    "rejoin": Scenario("a follower comes back and disturbs nobody", trials.rejoin, _IDLE),
    "deposed": Scenario("a leader is cut off from the others", trials.deposed, _READERS),
    "lonely": Scenario(
        "the same, and one worker asks a deposed leader",
        trials.deposed,
        replace(
            _PLAN,
            load=Load(producers=1, workers=1, runners=0, readers=0, pause=0.1, work=0.01),
        ),
    ),
    "slow-snapshots": Scenario(
        "followers need snapshots while they write their own",
        fault_trials.lagging,
        Plan(settings=replace(_BUSY_LOG, snapshot_seconds=0.6)),
    ),
    "steady": Scenario(
        "workers that extend in time keep their leases",
        trials.steady,
        replace(_PLAN, seconds=8.0, load=Load(patient=3)),
    ),
    "usurpers": Scenario("voters lose power after they voted", trials.usurpers, _PLAN),
    "divergence": Scenario(
        "a leader comes back with a long wrong tail", trials.divergence, Plan(settings=_BUSY_LOG)
    ),
    "wrong-tail": Scenario(
        "the same, and entries are all there",
        trials.divergence,
        Plan(settings=replace(_SMALL_LOG, snapshot_entries=5_000)),
    ),
    "stale-acks": Scenario(
        "acks of one term arrive in another", stale_acks.on_a_living_link, _LIGHT
    ),
    "stale-link": Scenario(
        "acks of one term arrive in another, on an old connection",
        stale_acks.on_an_old_link,
        _LIGHT,
    ),
    "lagging-power": Scenario(
        "followers lose power while they get snapshots",
        trials.lagging_power,
        Plan(settings=_BUSY_LOG),
    ),
    "short-freezes": Scenario(
        "the leader stands still for a moment",
        trials.short_freezes,
        replace(_PLAN, load=Load(patient=3, patient_lease=0.45)),
    ),
    "takeovers": Scenario("leaders die while disks are slow", trials.takeovers, _READERS),
    "no-majority": Scenario(
        "no node reaches another for a while",
        trials.no_majority,
        replace(_PLAN, load=Load(call_timeout=0.7)),
    ),
    "received-power": Scenario(
        "a follower loses power as soon as it has got a snapshot",
        moment_trials.received_power,
        Plan(settings=_BUSY_LOG),
    ),
    "one-door": Scenario(
        "what one follower forwarded is cut off from its answers",
        moment_trials.one_door,
        replace(_PLAN, load=Load(call_timeout=0.9)),
    ),
    "left-behind": Scenario("a candidate is cut off before the votes", trials.left_behind, _PLAN),
    "failed-sync": Scenario("a sync fails, then the power goes", trials.failed_sync, _PLAN),
    "rot-in-majority": Scenario(
        "damage to entries that only two nodes have", trials.rot_in_the_majority, _PLAN
    ),
    "membership": Scenario(
        "nodes are added, removed, replaced and emptied",
        memberships.membership,
        Plan(seconds=8.0, settings=replace(_BUSY_LOG, snapshot_entries=120)),
    ),
    "task-model": Scenario(
        "tasks with every option, while leaders die", model_trials.task_model, _PLAN
    ),
    "events": Scenario(
        "subscribers follow events, while nodes that tell them die", event_trials.events, _PLAN
    ),
    "schedules": Scenario(
        "something happens to the leader at most ticks of schedules",
        schedule_trials.schedules,
        replace(_PLAN, seconds=8.0),
    ),
    "forgetful": Scenario(
        "a follower comes back empty while the leader is down", memberships.forgetful, _PLAN
    ),
    "hasty": Scenario("two members are removed at once", member_trials.hasty, _PLAN),
    "learners-word": Scenario(
        "a leader is cut off with a learner", member_trials.learners_word, _READERS
    ),
    "backlog": Scenario(
        "many tasks wait, while processes are killed",
        payload_trials.backlog,
        Plan(seconds=4.0, settings=_BUSY_LOG, load=_BACKLOG),
    ),
    "rot-in-use": Scenario(
        "bits change in payloads that a running node is asked for",
        payload_trials.rot_in_use,
        Plan(settings=_SMALL_LOG, load=_BACKLOG),
    ),
    "bit-rot": Scenario("a bit changes while a node is down", trials.bit_rot, _PLAN),
}
