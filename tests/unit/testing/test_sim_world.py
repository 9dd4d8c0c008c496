"""The simulator's fakes keep their fault models: time, processes and connections."""

import asyncio

import pytest
from tornado.iostream import StreamClosedError

from raftq.testing.sim.loop import Clock, Process, new_process
from raftq.testing.sim.network import HostNetwork, SimNetwork
from raftq.testing.sim.streams import SimStream
from raftq.testing.sim.world import World


def _process(world: World, network: SimNetwork, name: str) -> Process:
    network.hosts_up.add(name)
    return new_process(world, name, Clock(world, name, 0.0), HostNetwork(network, name))


class Pair:
    """Two machines with one connection: `left` dialled, `right` accepted."""

    def __init__(self, seed: str = "pair") -> None:
        self.world = World(seed)
        self.network = SimNetwork(self.world)
        self.left_process = _process(self.world, self.network, "left")
        self.right_process = _process(self.world, self.network, "right")
        accepted: list[SimStream] = []
        self.network.listen(("right", 1), self.right_process, accepted.append)
        end = self.network.open(self.left_process, "left", ("right", 1))
        assert end is not None
        self.left = SimStream(end)
        self.world.run(0.01)
        self.right = accepted[0]

    def heard(self) -> bytes:
        """Return what has arrived on the right so far."""
        reading = self.right.read_bytes(1_000_000, partial=True)
        self.world.run(self.world.now + 0.001)
        if not reading.done():
            reading.cancel()
            return b""
        return b"" if reading.exception() else reading.result()


def test_timers_fire_in_the_order_of_their_times_and_equal_ones_in_the_order_of_the_calls() -> None:
    world = World("timers")
    process = _process(world, SimNetwork(world), "a")
    order: list[str] = []
    process.call_later(0.2, order.append, "late")
    process.call_later(0.1, order.append, "first")
    process.call_later(0.1, order.append, "second")
    world.run(1.0)
    assert order == ["first", "second", "late"]
    assert world.now == 1.0


def test_a_paused_process_runs_nothing_and_catches_up_in_order() -> None:
    world = World("pause")
    process = _process(world, SimNetwork(world), "a")
    order: list[int] = []
    for number in range(3):
        process.call_later(0.1 * (number + 1), order.append, number)
    process.pause()
    world.run(1.0)
    assert order == []
    process.resume()
    world.run(1.1)
    assert order == [0, 1, 2]


def test_a_killed_process_never_runs_again() -> None:
    world = World("kill")
    process = _process(world, SimNetwork(world), "a")
    ran: list[str] = []

    async def live() -> None:
        try:
            await asyncio.sleep(0.5)
            ran.append("woke")
        finally:
            ran.append("ended")

    process.call_soon(process.create_task, live())
    world.run(0.1)
    process.kill()
    world.run(2.0)
    assert ran == []
    world.end()
    assert ran == ["ended"]  # Its coroutine is closed with its world, not at any moment.


def test_clocks_run_at_their_own_rate() -> None:
    world = World("drift")
    clocks = [Clock(world, name, 0.02) for name in "abcdef"]
    before = [clock.monotonic() for clock in clocks]
    world.run(100.0)
    passed = [clock.monotonic() - start for clock, start in zip(clocks, before, strict=True)]
    assert all(98.0 <= seconds <= 102.0 for seconds in passed)
    assert len(set(passed)) == len(clocks)


def test_bytes_arrive_late_and_in_order() -> None:
    pair = Pair()
    for number in range(50):
        pair.left.write(bytes([number]) * 3_000)
    assert not pair.right.closed()
    pair.world.run(2.0)
    heard = b""
    while (more := pair.heard()) and len(heard) < 150_000:
        heard += more
    assert heard == b"".join(bytes([number]) * 3_000 for number in range(50))


def test_a_partition_holds_bytes_until_it_heals() -> None:
    pair = Pair()
    pair.network.block("left", "right")
    pair.left.write(b"held")
    pair.world.run(5.0)
    assert pair.heard() == b""
    pair.network.heal()
    assert pair.heard() == b"held"


def test_a_one_way_partition_lets_the_other_way_through() -> None:
    pair = Pair()
    pair.network.block("right", "left")
    pair.left.write(b"through")
    pair.world.run(1.0)
    assert pair.heard() == b"through"


def test_a_connection_that_breaks_loses_a_suffix_of_what_is_in_flight() -> None:
    kept: set[int] = set()
    for seed in range(20):
        pair = Pair(f"break {seed}")
        pair.network.block("left", "right")
        for letter in b"abcd":
            pair.left.write(bytes([letter]))
        pair.network.break_connections("left", "right")
        pair.network.heal()
        pair.world.run(1.0)
        heard = pair.heard()
        assert b"abcd".startswith(heard)
        kept.add(len(heard))
        with pytest.raises(StreamClosedError):
            pair.left.write(b"more")
    assert len(kept) > 2


def test_an_old_connection_still_delivers_after_its_sender_connected_again() -> None:
    pair = Pair()
    pair.left.write(b"old")
    pair.network.give_up("left", "right")
    pair.world.run(0.02)
    assert pair.left.closed()
    again = pair.network.open(pair.left_process, "left", ("right", 1))
    assert again is not None
    pair.world.run(1.0)
    assert pair.heard() == b""
    pair.network.release()
    assert pair.heard() == b"old"


def test_a_killed_process_closes_and_one_without_power_does_not() -> None:
    for says_goodbye in (True, False):
        pair = Pair()
        pair.left_process.kill()
        pair.network.process_died(pair.left_process, says_goodbye=says_goodbye)
        if not says_goodbye:
            pair.network.hosts_up.discard("left")
        pair.world.run(5.0)
        assert pair.right.closed() is says_goodbye


def test_a_half_open_connection_is_reset_when_it_is_used_after_the_machine_is_back() -> None:
    pair = Pair()
    pair.left_process.kill()
    pair.network.process_died(pair.left_process, says_goodbye=False)
    pair.network.hosts_up.discard("left")
    pair.right.write(b"anybody?")
    pair.world.run(1.0)
    assert not pair.right.closed()
    pair.network.hosts_up.add("left")
    pair.right.write(b"anybody?")
    pair.world.run(2.0)
    assert pair.right.closed()


def test_dialling_a_machine_that_is_down_waits_and_one_without_a_listener_refuses() -> None:
    pair = Pair()
    outcomes: list[str] = []

    async def dial(host: str, port: int) -> None:
        try:
            async with asyncio.timeout(1.0):
                await HostNetwork(pair.network, "left").dial(host, port)
        except (TimeoutError, ConnectionRefusedError) as error:
            outcomes.append(type(error).__name__)

    pair.left_process.call_soon(lambda: pair.left_process.create_task(dial("nowhere", 1)))
    pair.left_process.call_soon(lambda: pair.left_process.create_task(dial("right", 2)))
    pair.world.run(3.0)
    assert sorted(outcomes) == ["ConnectionRefusedError", "TimeoutError"]
