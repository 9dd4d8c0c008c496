"""Calls into a loop from elsewhere: all of them, in order, for few wake-ups."""

import asyncio
import threading
from functools import partial

import pytest
from tests.support.asyncs import asynchronous, turns, until

from raftq.worker.executors.crossing import Crossing, Gathering
from raftq.worker.executors.watch import Interrupted


@asynchronous
async def test_calls_of_several_threads_arrive_all_and_in_the_order_of_each() -> None:
    crossing = Crossing(asyncio.get_running_loop())
    heard: list[tuple[int, int]] = []

    def call(number: int) -> None:
        for each in range(500):
            crossing.call(partial(heard.append, (number, each)))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    await until(lambda: len(heard) == 2_000)
    for number in range(4):
        assert [each for who, each in heard if who == number] == list(range(500))
    for thread in threads:
        thread.join()


@asynchronous
async def test_a_call_from_within_a_call_is_made_too() -> None:
    crossing = Crossing(asyncio.get_running_loop())
    heard: list[str] = []
    crossing.call(lambda: crossing.call(lambda: heard.append("inner")))
    await until(lambda: heard == ["inner"])


def test_calls_into_a_loop_that_is_closed_are_dropped() -> None:
    loop = asyncio.new_event_loop()
    crossing = Crossing(loop)
    loop.close()
    crossing.call(lambda: None)


@asynchronous
async def test_an_interrupted_caller_does_not_silence_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    wake = loop.call_soon_threadsafe
    crossing = Crossing(loop)
    heard: list[str] = []

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(loop, "call_soon_threadsafe", wake)
        raise Interrupted

    monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(Interrupted):
        crossing.call(partial(heard.append, "first"))
    crossing.call(partial(heard.append, "second"))
    await until(lambda: heard == ["first", "second"])


@asynchronous
async def test_what_one_turn_says_crosses_together() -> None:
    loop = asyncio.get_running_loop()
    heard: list[int] = []
    batches: list[int] = []

    class Counting(Crossing):
        def call(self, *functions: object) -> None:
            batches.append(len(functions))
            heard.extend(range(len(functions)))

    gathering = Gathering(loop, Counting(loop))
    for _ in range(3):
        gathering.call(lambda: None)
    assert batches == []
    await turns()
    gathering.call(lambda: None)
    await turns()
    assert batches == [3, 1]
