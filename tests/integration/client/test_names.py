"""Clients and peers find a node that comes back under another address of the same name."""

import asyncio
import socket
from typing import Any

import pytest
from tests.support.asyncs import asynchronous
from tests.support.fake_node import FakeCluster

from raftq.client import AsyncClient
from raftq.consensus.peers.network import TornadoNetwork

NAME = "node.example"


class Names:
    """Stands in for the resolver: what a name leads to can be changed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self.asked = 0
        real = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            if host != NAME:
                return real(host, port, *rest, **more)
            self.asked += 1
            return [answer for address in self.addresses
                    for answer in real(address, port, *rest, **more)]  # fmt: skip

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_client_resolves_a_name_at_each_reconnection(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)

    @asynchronous
    async def body() -> None:
        async with FakeCluster(1) as cluster:
            node = cluster["n1"]
            node.name = NAME
            names.addresses = ["127.0.0.1"]
            async with AsyncClient(f"{NAME}:{node.port}", timeout=10) as client:
                await client.cluster()
                await node.stop()
                node.host = "127.0.0.9"
                await node.start(cluster)
                names.addresses = ["127.0.0.9"]
                asked = names.asked
                await client.cluster()
                assert names.asked > asked
                await node.stop()
                node.host = "127.0.0.1"
                await node.start(cluster)
                names.addresses = ["127.0.0.9", "127.0.0.1"]
                await client.cluster()

    body()


def test_a_peer_resolves_a_name_at_each_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)

    @asynchronous
    async def body() -> None:
        network = TornadoNetwork()
        first = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = first.sockets[0].getsockname()[1]
        names.addresses = ["127.0.0.1"]
        (await network.dial(NAME, port)).close()
        first.close()
        await first.wait_closed()
        with pytest.raises(OSError):
            await network.dial(NAME, port)
        second = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.9", port)
        names.addresses = ["127.0.0.9"]
        (await network.dial(NAME, port)).close()
        second.close()

    body()
