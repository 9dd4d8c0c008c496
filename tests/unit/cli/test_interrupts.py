"""Signals are put off, never lost, while a process is being started."""

import signal
import threading
from collections.abc import Generator

import pytest

from raftq.cli.interrupts import SIGNALS, interrupts_held, raise_keyboard_interrupts


@pytest.fixture(autouse=True)
def handlers() -> Generator[None]:
    """Leave the signals of the test run as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_command_after_the_block_and_not_in_it(number: signal.Signals) -> None:
    raise_keyboard_interrupts()
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_held():
            signal.raise_signal(number)
            reached.append("end of the block")
        reached.append("behind it")
    assert reached == ["end of the block"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_a_failure_in_the_block_is_told_and_the_signal_not_lost() -> None:
    raise_keyboard_interrupts()
    with pytest.raises(KeyboardInterrupt) as ended, interrupts_held():
        signal.raise_signal(signal.SIGTERM)
        raise OSError("no such program")
    assert isinstance(ended.value.__context__, OSError)


def test_other_threads_have_nothing_to_put_off() -> None:
    reached: list[str] = []

    def start() -> None:
        with interrupts_held():
            reached.append("in the block")

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert reached == ["in the block"]
