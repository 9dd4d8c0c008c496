"""No client holds a connection for ever, and none takes all of them."""

import asyncio
import contextlib
from uuid import UUID

import pytest
from tests.support.asyncs import asynchronous, turns, until, within
from tests.support.server_bench import ServerBench, serving

from raftq.protocol import limits
from raftq.protocol.commands import Enqueue
from raftq.protocol.options import NewTask
from raftq.server.http_listener import HttpPatience
from raftq.server.native_connection import NativePatience

IMPATIENT = HttpPatience(idle=0.2, body=0.2)
HASTY = NativePatience(hello=0.2, idle=0.3)
SOON = 10.0


async def _drip(bench: ServerBench, prefix: bytes, drop: bytes) -> bytes:
    """Send a prefix, then a drop again and again until the server has enough."""
    reader, writer = await bench.connect(bench.http_port)
    writer.write(prefix)

    async def dripping() -> None:
        while True:
            await asyncio.sleep(0.03)
            writer.write(drop)
            await writer.drain()

    drops = asyncio.ensure_future(dripping())
    try:
        return await within(SOON, reader.read())
    except ConnectionError:
        return b""
    finally:
        drops.cancel()
        await asyncio.gather(drops, return_exceptions=True)


@asynchronous
async def test_a_client_that_drips_headers_is_cut_off() -> None:
    async with serving(IMPATIENT) as bench:
        assert await _drip(bench, b"GET /livez HTTP/1.1\r\n", b"X-More: x\r\n") == b""


@asynchronous
async def test_a_client_that_drips_a_body_is_cut_off() -> None:
    async with serving(IMPATIENT) as bench:
        head = b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        assert await _drip(bench, head, b" ") == b""
        assert bench.replica.entries == []


@asynchronous
async def test_a_client_that_drips_a_refused_body_is_cut_off() -> None:
    async with serving(IMPATIENT) as bench:
        head = b"POST /v1/queues/q/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
        assert b" 413 " in await _drip(bench, head, b" ")


@asynchronous
async def test_an_http_client_that_takes_no_answer_is_cut_off() -> None:
    async with serving(IMPATIENT) as bench:
        bench.replica.apply([Enqueue("q", [NewTask(UUID(int=1).bytes, bytes(12_000_000))])])
        _, writer = await bench.connect(bench.http_port)
        body = b'{"worker":"w","request_id":"same"}'
        head = (
            f"POST /v1/queues/q/leases HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await until(lambda: bench.server.is_busy)
        await until(lambda: not bench.server.is_busy)
        await until(lambda: not bench.server.http.connections_per_address)


@asynchronous
async def test_an_idle_http_connection_is_closed() -> None:
    async with serving(IMPATIENT) as bench:
        reader, writer = await bench.connect(bench.http_port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in await within(SOON, reader.read())


@asynchronous
async def test_a_long_poll_outlasts_every_timeout_of_http() -> None:
    async with serving(IMPATIENT) as bench:
        body = b'{"worker":"w","wait_ms":600}'
        answer = await within(SOON, bench.http("POST /v1/queues/q/leases HTTP/1.1", body))
        assert b" 200 " in answer and answer.endswith(b'{"leases":[]}')


@asynchronous
async def test_a_poll_whose_http_client_is_gone_ends() -> None:
    async with serving() as bench:
        _, writer = await bench.connect(bench.http_port)
        body = b'{"worker":"w","wait_ms":60000}'
        head = (
            f"POST /v1/queues/q/leases HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await until(lambda: bench.server.service.waiters.waiting == 1)
        writer.close()
        await until(lambda: bench.server.service.waiters.waiting == 0)
        await until(lambda: bench.server.service.calls_running == 0)
        assert b'code="client_gone"' in bench.server.metrics.page()


@asynchronous
async def test_an_http_address_may_open_so_many_connections_and_new_ones_after_closing() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CONNECTIONS_PER_ADDRESS_MAX", 2)
        async with serving() as bench:
            for _ in range(3):
                held = [await bench.connect(bench.http_port) for _ in range(2)]
                for reader, writer in held:
                    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert b" 200 " in await within(SOON, reader.readline())
                reader, _ = await bench.connect(bench.http_port)
                with contextlib.suppress(ConnectionError):
                    assert await within(SOON, reader.read()) == b""
                for _, writer in held:
                    writer.close()
                await until(lambda: not bench.server.http.connections_per_address)


@asynchronous
async def test_a_native_address_may_open_so_many_connections_and_new_ones_after_closing() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CONNECTIONS_PER_ADDRESS_MAX", 2)
        async with serving() as bench:
            for _ in range(3):
                held = [await bench.native() for _ in range(2)]
                surplus = await bench.native(hello=False)
                assert await surplus.is_closed_by_server()
                for client in held:
                    client.writer.close()
                await until(lambda: not bench.server.native.connections)


# ---------------------------------------------------------------- native


@asynchronous
async def test_a_native_client_that_says_no_hello_is_cut_off() -> None:
    async with serving(native_patience=HASTY) as bench:
        silent = await bench.native(hello=False)
        assert await silent.is_closed_by_server()
        dripping = await bench.native(hello=False)
        dripping.writer.write(b"\x94")
        assert await dripping.is_closed_by_server()


@asynchronous
async def test_an_idle_native_connection_is_closed_also_after_a_call() -> None:
    async with serving(native_patience=HASTY) as bench:
        client = await bench.native()
        assert (await client.call(1, "queue", "q"))[2] is None
        assert await client.is_closed_by_server()


@asynchronous
async def test_a_native_client_that_waits_for_an_answer_may_be_silent() -> None:
    async with serving(native_patience=HASTY) as bench:
        client = await bench.native()
        answer = await client.call(1, "lease", ["q"], 1, 1_000, "w", "r", 1_000)
        assert answer == [1, 1, None, [2, [], False]]


@asynchronous
async def test_a_client_that_takes_no_answers_is_not_read_from_and_then_cut_off() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "REPLY_BYTES_MAX", 1_000_000)
        async with serving(native_patience=NativePatience(hello=0.2, idle=1.5)) as bench:
            bench.replica.apply([Enqueue("q", [NewTask(UUID(int=1).bytes, bytes(4_000_000))])])
            client = await bench.native()
            (connection,) = bench.server.native.connections
            # The same request again and again returns the same large payload again and again.
            for number in range(1, 40):
                client.send([0, number, "lease", [5_000, ["q"], 1, 60_000, "w", "same", 0]])
                await asyncio.sleep(0.005)
            await turns(50)
            answered = bench.server.native.calls_running
            assert answered == 0
            assert 0 < connection.unsent_bytes < 40 * 4_000_000
            await until(lambda: not bench.server.native.connections)


@asynchronous
async def test_a_poll_whose_native_client_is_gone_ends() -> None:
    async with serving() as bench:
        client = await bench.native()
        client.send([0, 1, "lease", [5_000, ["q"], 1, 1_000, "w", "r", 60_000]])
        await until(lambda: bench.server.service.waiters.waiting == 1)
        client.writer.close()
        await until(lambda: bench.server.service.waiters.waiting == 0)
        await until(lambda: bench.server.service.calls_running == 0)


@asynchronous
async def test_stopping_does_not_wait_for_each_slow_client_in_turn() -> None:
    async with serving() as bench:
        bench.replica.apply([Enqueue("q", [NewTask(UUID(int=1).bytes, bytes(8_000_000))])])
        for _ in range(4):
            client = await bench.native()
            client.send([0, 1, "lease", [5_000, ["q"], 1, 60_000, "w", "same", 0]])
        await until(lambda: bench.server.native.calls_running == 0)
        await until(lambda: all(c.unsent_bytes for c in bench.server.native.connections))
        await within(2.5, bench.server.native.close_connections())
