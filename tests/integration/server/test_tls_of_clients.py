"""Both listeners over TLS: served well, and hostile handshakes cost little."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.asyncs import asynchronous, within
from tests.support.certified import Authority
from tests.support.handshakes import drip_until_cut_off
from tests.support.server_bench import NativeClient, ServerBench, serving

from raftq.server.gate import Access
from raftq.server.http_listener import HttpPatience
from raftq.server.native_connection import NativePatience

BEGUN = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\x03\x01\x02\x00\x01\x00" + bytes(99)]


@asynccontextmanager
async def tls_bench(authority: Authority, patience: float = 20.0) -> AsyncGenerator[ServerBench]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("n1"))
    async with serving(
        HttpPatience(patience, patience), NativePatience(patience, 60.0), Access(tls=context)
    ) as bench:
        yield bench


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def native(bench: ServerBench, authority: Authority) -> NativeClient:
    context = ssl.create_default_context(cafile=authority.ca)
    return NativeClient(*await bench.connect(bench.native_port, context))


def test_both_listeners_are_served_over_tls(authority: Authority) -> None:
    @asynchronous
    async def body() -> None:
        async with tls_bench(authority) as bench:
            client = await native(bench, authority)
            assert (await client.hello())[2] is None
            assert (await client.call(1, "cluster"))[2] is None
            context = ssl.create_default_context(cafile=authority.ca)
            reader, writer = await bench.connect(bench.http_port, context)
            writer.write(b"GET /v1/cluster HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await within(5.0, reader.read())).startswith(b"HTTP/1.1 200 OK")

    body()


@pytest.mark.parametrize("begun", BEGUN, ids=len)
def test_half_open_handshakes_are_cut_off_and_disturb_nobody(
    begun: bytes, authority: Authority
) -> None:
    @asynchronous
    async def body() -> None:
        async with tls_bench(authority, patience=0.3) as bench:
            ends: list[asyncio.Task[bytes]] = []
            for port in (bench.native_port, bench.http_port):
                for _ in range(50):
                    reader, writer = await bench.connect(port)
                    writer.write(begun)
                    ends.append(asyncio.create_task(reader.read()))
            assert (await (await native(bench, authority)).hello())[2] is None
            answers = await within(10.0, asyncio.gather(*ends, return_exceptions=True))
            # A TLS alert may be said, or the connection reset; nothing else is.
            said = [each for each in answers if not isinstance(each, ConnectionError)]
            assert all(isinstance(each, bytes) and len(each) < 16 for each in said), said

    body()


def test_a_handshake_that_drips_is_cut_off_on_both_listeners(authority: Authority) -> None:
    @asynchronous
    async def body() -> None:
        async with tls_bench(authority, patience=0.3) as bench:
            for port in (bench.native_port, bench.http_port):
                await drip_until_cut_off(*await bench.connect(port))

    body()


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_before_1_2_is_not_spoken(authority: Authority) -> None:
    @asynchronous
    async def body() -> None:
        async with tls_bench(authority) as bench:
            for version, is_served in ((ssl.TLSVersion.TLSv1_2, True), (None, False)):
                context = ssl.create_default_context(cafile=authority.ca)
                if version is None:
                    context.set_ciphers("ALL:@SECLEVEL=0")
                    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.maximum_version = version or ssl.TLSVersion.TLSv1_1
                try:
                    await bench.connect(bench.native_port, context)
                except (ssl.SSLError, ConnectionError):
                    assert not is_served
                else:
                    assert is_served

    body()
