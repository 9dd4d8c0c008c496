"""How an App finds its cluster, who it says it is, and which connections it shares."""

import asyncio
import gc
import weakref
from pathlib import Path

import pytest
from tests.support.asyncs import asynchronous, until
from tests.support.fake_node import FakeCluster

from raftq.client import AsyncClient, Client
from raftq.client.environment import DEFAULT_ADDRESSES
from raftq.protocol.errors import InvalidRequest
from raftq.worker import App


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAFTQ_ADDRESSES", "RAFTQ_TOKEN", "RAFTQ_TOKEN_FILE", "RAFTQ_TLS_CA"):
        monkeypatch.delenv(name, raising=False)


def use(app: App) -> None:
    """Call the App's cluster from blocking code."""
    app.access.run(lambda client: client.cluster())


async def ause(app: App) -> None:
    """Call the App's cluster from the running loop."""
    await (await app.access.client()).cluster()


def test_the_environment_counts_when_the_app_is_first_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        app = App()
        async with FakeCluster(1) as cluster:
            monkeypatch.setenv("RAFTQ_ADDRESSES", cluster.addresses)
            monkeypatch.setenv("RAFTQ_TOKEN", "rq_environment")
            await asyncio.to_thread(use, app)
            await ause(app)
            assert cluster["n1"].tokens == [["rq_environment"]] * 2
            await app.aclose()

    asyncio.run(body())


def test_what_the_app_was_given_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def body() -> None:
        async with FakeCluster(1) as cluster:
            monkeypatch.setenv("RAFTQ_ADDRESSES", "127.0.0.1:1")
            monkeypatch.setenv("RAFTQ_TOKEN", "rq_environment")
            app = App(cluster.addresses, token="rq_given")
            await ause(app)
            assert cluster["n1"].tokens == [["rq_given"]]
            await app.aclose()

    asyncio.run(body())
    with pytest.raises(InvalidRequest, match=r"tls_ca is .*missing"):
        use(App("127.0.0.1:1", tls_ca=tmp_path / "missing"))


def test_without_addresses_the_nodes_of_raftq_dev_are_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        async with FakeCluster(1) as cluster:
            monkeypatch.setattr(f"{App.__module__}.DEFAULT_ADDRESSES", cluster.addresses)
            async with App() as app:
                await ause(app)

    assert DEFAULT_ADDRESSES.startswith("127.0.0.1:7601,")
    asyncio.run(body())


@asynchronous
async def test_one_loop_has_one_client_and_all_threads_share_another() -> None:
    async with FakeCluster(1) as cluster:
        app = App(cluster.addresses)
        await asyncio.gather(*(ause(app) for _ in range(5)))
        assert await app.access.client() is await app.access.client()
        assert cluster["n1"].hellos == 1
        await asyncio.gather(*(asyncio.to_thread(use, app) for _ in range(5)))
        assert cluster["n1"].hellos == 2
        await app.aclose()
        await app.aclose()
        await until(lambda: not cluster["n1"].is_connected)


@asynchronous
async def test_a_closed_app_connects_again_when_it_is_used() -> None:
    async with FakeCluster(1) as cluster:
        app = App(cluster.addresses)
        async with app:
            await ause(app)
        before = await app.access.client()
        await app.aclose()
        await ause(app)
        assert await app.access.client() is not before
        await app.aclose()


def test_the_clients_of_ended_loops_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that give each request a loop of its own would keep one for each request."""
    app = App()
    clients: list[weakref.ref[AsyncClient]] = []

    async def request() -> None:
        async with FakeCluster(1) as cluster:
            monkeypatch.setenv("RAFTQ_ADDRESSES", cluster.addresses)
            await ause(app)
            clients.append(weakref.ref(await app.access.client()))

    for _ in range(4):
        asyncio.run(request())
    gc.collect()
    assert [client() is None for client in clients[:-1]] == [True] * 3


@asynchronous
async def test_the_clients_that_an_app_makes_are_the_callers() -> None:
    async with FakeCluster(1) as cluster:
        app = App(cluster.addresses)

        def block() -> None:
            with app.new_client() as mine:
                assert isinstance(mine, Client)
                mine.cluster()
            with app:
                use(app)  # Closed clients of others are none of the App's business.

        await asyncio.to_thread(block)
        async with app.new_async_client("worker") as client:
            await client.cluster()
        await app.aclose()
