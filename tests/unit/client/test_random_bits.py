"""Random bits in blocks: as many as asked for, never the same twice, in no two processes."""

import os

import pytest

from raftq.client.random_bits import RandomBits


@pytest.mark.parametrize("bits", [1, 7, 8, 32, 74, 128])
def test_all_bits_that_are_asked_for_are_used_and_no_others(bits: int) -> None:
    draw = RandomBits()
    found = 0
    for _ in range(2_000):
        value = draw(bits)
        assert 0 <= value < 1 << bits
        found |= value
    assert found == (1 << bits) - 1


def test_no_block_is_used_twice() -> None:
    draw = RandomBits()
    assert len({draw(64) for _ in range(10_000)}) == 10_000


def test_a_forked_process_draws_others() -> None:
    draw = RandomBits()
    draw(64)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writable, draw(64).to_bytes(8, "big"))
        os._exit(0)
    os.close(writable)
    theirs = int.from_bytes(os.read(readable, 8), "big")
    os.close(readable)
    assert os.waitpid(child, 0)[1] == 0
    assert theirs != draw(64)
