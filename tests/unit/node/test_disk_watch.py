"""A full disk is noticed, and a leader that has one hands over, but not in circles."""

from tests.support.asyncs import asynchronous

from raftq.node.disk_watch import DiskWatch
from raftq.protocol import limits


class Node:
    """A node with a clock, a disk and a role."""

    def __init__(self, *, is_leader: bool = True) -> None:
        self.now = 100.0
        self.free = 0
        self.looks = 0
        self.fails = False
        self.is_leader = is_leader
        self.handovers: list[float] = []
        self.watch = DiskWatch(self.free_bytes, self, lambda: self.now)

    def free_bytes(self) -> int:
        self.looks += 1
        return self.free

    async def transfer_leadership(self, deadline: float) -> bool:
        self.handovers.append(deadline)
        if self.fails:
            raise RuntimeError("cannot hand over")
        self.is_leader = False
        return True

    async def is_full(self) -> bool:
        """Ask, and let the handover happen if one was begun."""
        is_full = self.watch.is_full()
        await self.watch.stop()
        return is_full


@asynchronous
async def test_below_the_reserve_the_disk_is_full_and_the_leader_hands_over() -> None:
    node = Node()
    assert await node.is_full()
    assert node.handovers == [node.now + 1.0]


@asynchronous
async def test_with_the_reserve_there_is_room_and_nobody_hands_over() -> None:
    node = Node()
    node.free = limits.DISK_RESERVE_BYTES
    assert not await node.is_full() and not node.handovers


@asynchronous
async def test_a_follower_has_nothing_to_hand_over() -> None:
    node = Node(is_leader=False)
    assert await node.is_full() and not node.handovers


@asynchronous
async def test_the_disk_is_looked_at_now_and_then() -> None:
    node = Node()
    for _ in range(3):
        await node.is_full()
    assert node.looks == 1
    node.now += 2.0
    node.free = limits.DISK_RESERVE_BYTES
    assert not await node.is_full()


@asynchronous
async def test_a_leader_that_gets_the_lead_back_keeps_it_for_a_minute() -> None:
    node = Node()
    await node.is_full()
    for _ in range(29):
        node.now, node.is_leader = node.now + 2.0, True
        assert await node.is_full()
    assert len(node.handovers) == 1
    node.now += 2.0
    await node.is_full()
    assert len(node.handovers) == 2


@asynchronous
async def test_a_handover_that_fails_ends_nothing_else() -> None:
    node = Node()
    node.fails = True
    assert await node.is_full() and len(node.handovers) == 1
