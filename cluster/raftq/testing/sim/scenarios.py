"""What is done to a cluster: each scenario is a coroutine in virtual time, driven by the seed.

A scenario only makes things worse; the run ends every fault by itself afterwards and demands
progress. To add one, write a coroutine and name it in `SCENARIOS`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from raftq.protocol.fields import Consistency
from raftq.testing.sim import (
    clock_trials,
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
from raftq.testing.sim.faults import (
    break_some,
    bring_back,
    crash,
    freeze,
    kept,
    kill_a_client,
    minority,
    partition,
    pause,
    slow_some,
    some_up,
    vary_disks,
)
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


async def calm(cluster: SimCluster) -> None:
    """Nothing happens."""
    await asyncio.sleep(cluster.plan.seconds)


async def crashes(cluster: SimCluster) -> None:
    """Processes are killed, one after another and several at once, in the middle of writes."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 1.0)
    returning: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        node = some_up(cluster)
        if node is not None:
            await crash(cluster, node, power=False)
            back = bring_back(cluster, node, cluster.random.choice((0.05, 0.3, 1.0)))
            returning.append(asyncio.create_task(back))
        if cluster.random.random() < 0.2:
            kill_a_client(cluster)
        await pause(cluster, 0.4)
    await asyncio.gather(*returning)


async def power_loss(cluster: SimCluster) -> None:
    """A minority loses power, again and again."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 1.0)
    returning: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        vary_disks(cluster)
        node = some_up(cluster)
        down = sum(not each.is_up for each in cluster.nodes)
        if node is not None and down < minority(cluster):
            await crash(cluster, node, power=True)
            returning.append(asyncio.create_task(bring_back(cluster, node, 0.3)))
        await pause(cluster, 0.3)
    await asyncio.gather(*returning)


async def blackout(cluster: SimCluster) -> None:
    """The whole cluster loses power at once, and each node comes back when it likes."""
    for _ in range(max(1, int(cluster.plan.seconds / 2.5))):
        vary_disks(cluster)
        await asyncio.sleep(cluster.random.uniform(0.8, 2.0))
        up = [node for node in cluster.nodes if node.is_up]
        if cluster.random.random() < 0.5:
            await crash(cluster, cluster.random.choice(up), power=True)
        for node in up:
            if node.is_up:
                node.lose_power(kept(cluster.random))
        await asyncio.gather(*(bring_back(cluster, node, 0.2) for node in cluster.nodes))


async def partitions(cluster: SimCluster) -> None:
    """The network is cut in every way, connections break, old ones still deliver."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 0.8)
    while cluster.world.now < end:
        event = cluster.random.choice(("cut", "cut", "break", "break", "slow", "freeze"))
        if event == "cut":
            partition(cluster)
            await pause(cluster, cluster.random.choice((0.3, 1.0)))
            cluster.network.heal()
        elif event == "break":
            break_some(cluster)
        elif event == "slow":
            slow_some(cluster)
        else:
            await freeze(cluster, cluster.random.uniform(0.2, 1.0))
        await pause(cluster, 0.3)


async def bad_disks(cluster: SimCluster) -> None:
    """Disks are slow, full, or fail: a node that fails to sync stops, and its machine reboots."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 0.8)
    while cluster.world.now < end:
        node = cluster.random.choice(cluster.nodes)
        event = cluster.random.choice(("slow", "error", "reserve", "full"))
        cluster.world.note(f"{node.name} disk: {event}")
        if event == "slow":
            node.disk.slowness = cluster.random.choice((20.0, 200.0))
        elif event == "error":
            node.disk.syncs_to_fail = 1
        elif event == "reserve":
            node.disk.is_full = True
        else:
            node.disk.files.capacity_bytes = node.disk.files.used_bytes() + 500
        await pause(cluster, 0.6)
        node.disk.slowness, node.disk.syncs_to_fail, node.disk.is_full = 1.0, 0, False
        node.disk.files.capacity_bytes = None
        for each in cluster.nodes:
            if not each.is_up:
                each.lose_power(kept(cluster.random))
                each.start()
        await pause(cluster, 0.5)


async def lagging(cluster: SimCluster) -> None:
    """Followers are away until only a snapshot helps them; nodes die while it is on its way."""
    end = cluster.world.now + cluster.plan.seconds
    await asyncio.sleep(0.8)
    returning: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        node = cluster.random.choice(cluster.nodes)
        if cluster.random.random() < 0.5:
            for other in cluster.nodes:
                if other is not node:
                    cluster.network.block(node.name, other.name)
                    cluster.network.block(other.name, node.name)
            await asyncio.sleep(cluster.random.uniform(0.3, 1.2))
            cluster.network.heal()
        elif node.is_up:
            await crash(cluster, node, power=cluster.random.random() < 0.3)
            await asyncio.sleep(cluster.random.uniform(0.1, 1.0))
            if not node.is_up:
                node.start()
        await asyncio.sleep(cluster.random.uniform(0.0, 0.3))
        if cluster.random.random() < 0.5:
            break_some(cluster)
        second = some_up(cluster)
        if second is not None and cluster.random.random() < 0.5:
            await crash(cluster, second, power=False)
            returning.append(asyncio.create_task(bring_back(cluster, second, 0.3)))
        await pause(cluster, 0.2)
    await asyncio.gather(*returning)


async def rolling_restart(cluster: SimCluster) -> None:
    """Every node is stopped with SIGTERM, one after another, and started again."""
    await asyncio.sleep(1.0)
    for node in list(cluster.nodes):
        if node.is_up:
            node.request_stop()
            begun = cluster.world.now
            deadline = cluster.world.now + cluster.plan.settings.drain_seconds + 2.0
            while node.is_up and cluster.world.now < deadline:
                await asyncio.sleep(0.05)
            seconds = cluster.world.now - begun
            text = f"{node.name} took {seconds:.1f} s to hand over and to stop"
            cluster.expect(seconds < _STOP_SECONDS, "slow-stop", text)
            if node.is_up:
                node.kill()
            await pause(cluster, 0.1)
            node.start()
        await asyncio.sleep(cluster.random.uniform(0.6, 1.5))


async def freezes(cluster: SimCluster) -> None:
    """Nodes and workers are frozen, for longer than elections and leases take."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 0.5)
    frozen: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        seconds = cluster.random.choice((0.1, 0.5, 1.5, 4.0)) * cluster.random.uniform(0.5, 1.5)
        frozen.append(asyncio.create_task(freeze(cluster, seconds)))
        if cluster.random.random() < 0.5:
            kill_a_client(cluster)
        await pause(cluster, 0.8)
    await asyncio.gather(*frozen)


async def mixed(cluster: SimCluster) -> None:
    """Everything at once, in any order."""
    end = cluster.world.now + cluster.plan.seconds
    await pause(cluster, 0.6)
    running: list[asyncio.Task[None]] = []
    while cluster.world.now < end:
        event = cluster.random.choice(
            ("kill", "power", "cut", "break", "slow", "freeze", "disk", "client", "heal", "heal")
        )
        node = some_up(cluster)
        if event in ("kill", "power") and node is not None:
            await crash(cluster, node, power=event == "power")
            running.append(asyncio.create_task(bring_back(cluster, node, 0.5)))
        elif event == "cut":
            partition(cluster)
        elif event == "break":
            break_some(cluster)
        elif event == "slow":
            slow_some(cluster)
        elif event == "freeze":
            running.append(asyncio.create_task(freeze(cluster, cluster.random.uniform(0.1, 2.0))))
        elif event == "disk" and node is not None:
            node.disk.slowness = cluster.random.choice((1.0, 1.0, 30.0))
        elif event == "client":
            kill_a_client(cluster)
        elif event == "heal":
            cluster.network.heal()
        await pause(cluster, 0.25)
    await asyncio.gather(*running)


_STOP_SECONDS: Final = 3.0
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
    "calm": Scenario("nothing happens", calm, replace(_PLAN, seconds=3.0)),
    "crashes": Scenario("processes are killed in the middle of writes", crashes, _PLAN),
    "power-loss": Scenario("a minority loses power", power_loss, _PLAN),
    "blackout": Scenario("the whole cluster loses power", blackout, _PLAN),
    "partitions": Scenario("the network is cut, connections break and linger", partitions, _PLAN),
    "bad-disks": Scenario("disks are slow, full or fail", bad_disks, _PLAN),
    "lagging": Scenario(
        "followers need snapshots, nodes die meanwhile", lagging, Plan(settings=_BUSY_LOG)
    ),
    "rolling-restart": Scenario("every node is stopped and started", rolling_restart, _PLAN),
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
        crashes,
        replace(_PLAN, seconds=4.0, limits={"RESULTS_KEPT_MAX": 10}),
    ),
    "freezes": Scenario(
        "nodes and workers stand still", freezes, replace(_PLAN, load=Load(lease=1.0))
    ),
    "new-disk": Scenario("a follower comes back with an empty disk", memberships.new_disk, _PLAN),
    "mixed": Scenario(
        "everything at once", mixed, Plan(settings=replace(_BUSY_LOG, snapshot_entries=120))
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
        lagging,
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
