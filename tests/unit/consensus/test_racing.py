"""A host with several addresses is reached if any of them can be."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from tests.support.asyncs import asynchronous
from tests.support.replicas import free_ports

from raftq.consensus.peers.racing import connect

BLACK_HOLE = "198.18.0.1"
"""For benchmarks only (RFC 2544); `stuck` makes sure that nothing answers from there."""


@asynccontextmanager
async def listening() -> AsyncGenerator[int]:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, port: int, *hosts: str) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]

    async def getaddrinfo(*_: object, **__: object) -> object:
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


def stuck(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make connecting to the black hole hang; return what was tried there and elsewhere."""
    loop = asyncio.get_running_loop()
    real, tried = loop.sock_connect, list[str]()

    async def sock_connect(sock: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[0])
        if address[0] == BLACK_HOLE:
            await asyncio.Event().wait()
        await real(sock, address)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    return tried


def test_an_address_that_refuses_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynchronous
    async def body() -> None:
        async with listening() as port:
            resolve_to(monkeypatch, port, "127.0.0.2", "127.0.0.1")
            (await connect("any", port)).close()

    body()


def test_an_address_that_leads_nowhere_costs_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynchronous
    async def body() -> None:
        async with listening() as port:
            tried = stuck(monkeypatch)
            resolve_to(monkeypatch, port, BLACK_HOLE, BLACK_HOLE, "127.0.0.1")
            begun = time.monotonic()
            (await connect("any", port)).close()
            assert time.monotonic() - begun < 1.0, "as long as a dial may take"
            assert tried == [BLACK_HOLE, BLACK_HOLE, "127.0.0.1"]

    body()


def test_if_none_can_be_reached_the_first_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynchronous
    async def body() -> None:
        (port,) = free_ports(1)
        resolve_to(monkeypatch, port, "127.0.0.1", "127.0.0.2")
        with pytest.raises(ConnectionRefusedError):
            await connect("any", port)
        resolve_to(monkeypatch, port)
        with pytest.raises(OSError, match="any has no address"):
            await connect("any", port)

    body()


@asynchronous
async def test_a_name_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(OSError):
        await connect("no-such-host.invalid", 1)


def test_a_cancelled_attempt_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each socket is closed: one that is not warns, and a warning fails the test."""

    @asynchronous
    async def body() -> None:
        async with listening() as port:
            for pause in (0.0, 0.001, 0.2):
                with monkeypatch.context() as patch:
                    stuck(patch)
                    resolve_to(patch, port, BLACK_HOLE, BLACK_HOLE)
                    dialling = asyncio.create_task(connect("any", port))
                    await asyncio.sleep(pause)
                    dialling.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await dialling
            for turns in range(8):
                dialling = asyncio.create_task(connect("127.0.0.1", port))
                for _ in range(turns):
                    await asyncio.sleep(0)
                dialling.cancel()
                with pytest.raises(asyncio.CancelledError):
                    (await dialling).close()
                    raise asyncio.CancelledError

    body()
