"""Scripted nodes clean up after themselves, so that no later test is blamed."""

import asyncio
import gc
import socket
import warnings

import pytest
from tests.support.fake_node import FakeCluster


@pytest.mark.parametrize("turns", range(8))
def test_a_node_that_stops_leaves_no_connection_open_however_new_it_is(turns: int) -> None:
    async def main() -> None:
        async with FakeCluster(1) as cluster:
            node = cluster["n1"]
            client = socket.create_connection((node.host, node.port))
            for _ in range(turns):
                await asyncio.sleep(0)
        client.close()

    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [str(each.message) for each in caught] == []
