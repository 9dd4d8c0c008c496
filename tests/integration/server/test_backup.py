"""`GET /v1/backup`: a whole file or a broken connection, and no child is left behind."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import cast

import pytest
from tests.support.asyncs import asynchronous, within
from tests.support.machines import Driver, task_id
from tests.support.server_bench import ServerBench, serving

from raftq.node.backup_files import load_backup
from raftq.protocol.calls import Call
from raftq.protocol.commands import Enqueue, FoundCluster
from raftq.protocol.errors import CorruptRecord
from raftq.protocol.options import NewTask
from raftq.protocol.statuses import ClusterStatus
from raftq.server.http_listener import HttpPatience
from raftq.storage.files import RealFiles

REQUEST = b"GET /v1/backup?timeout_ms=2000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LARGE_BYTES = 40 * 2**20
"""More than the buffers of a pipe and a socket hold, so that the child waits for the client."""


def children() -> set[int]:
    """Return the process ids of this process's children, also of those that wait to be reaped."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


async def until_gone(before: set[int]) -> None:
    async with asyncio.timeout(10):
        while children() - before:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def leading(
    payload_bytes: int = 100, patience: HttpPatience | None = None
) -> AsyncGenerator[ServerBench]:
    """Run a server whose machine belongs to a cluster and holds some tasks."""
    async with serving(patience) as bench:
        driver = Driver(bench.replica.machine)
        driver.checks_invariants = False
        driver.one(FoundCluster("c1"))
        for number in range(1, 5):
            driver.enqueue(number, payload=bytes(payload_bytes // 4))
        yield bench


class _Received:
    """Received bytes, as `http.client` wants to read them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)


def answer_of(data: bytes) -> HTTPResponse:
    response = HTTPResponse(cast("object", _Received(data)))  # type: ignore[arg-type]  # a socket
    response.begin()
    return response


async def read_part(bench: ServerBench) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin a backup and take only the first bytes of it."""
    reader, writer = await bench.connect(bench.http_port)
    writer.write(REQUEST)
    assert (await within(5.0, reader.readexactly(12))) == b"HTTP/1.1 200"
    return reader, writer


@asynchronous
async def test_the_answer_is_a_backup_of_the_machine(tmp_path: Path) -> None:
    async with leading() as bench:
        before = children()
        answer = answer_of(await bench.http("GET /v1/backup HTTP/1.1"))
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        machine = bench.replica.machine
        assert answer.headers["Raftq-State-Hash"] == machine.state_hash
        path = tmp_path / "a"
        path.write_bytes(answer.read())
        meta, loaded = load_backup(RealFiles(), path)
        assert loaded.content_hash() == machine.content_hash()
        assert answer.headers["Raftq-Applied-Index"] == str(meta.index)
        await until_gone(before)


@asynchronous
async def test_what_changes_meanwhile_is_not_in_it(tmp_path: Path) -> None:
    async with leading(LARGE_BYTES) as bench:
        state_hash = bench.replica.machine.state_hash
        reader, _ = await read_part(bench)
        Driver(bench.replica.machine).enqueue(100)
        rest = await within(20.0, reader.read())
        path = tmp_path / "a"
        path.write_bytes(answer_of(b"HTTP/1.1 200" + rest).read())
        meta, loaded = load_backup(RealFiles(), path)
        assert meta.state_hash == state_hash == loaded.state_hash
        assert bench.replica.machine.state_hash != state_hash


@asynchronous
async def test_a_client_that_goes_away_takes_its_backup_with_it() -> None:
    async with leading(LARGE_BYTES) as bench:
        before = children()
        _, writer = await read_part(bench)
        (child,) = children() - before
        os.kill(child, signal.SIGSTOP)  # It would not even notice that its pipe is closed.
        writer.close()
        await until_gone(before)
        assert answer_of(await bench.http("GET /v1/backup HTTP/1.1")).status == 200


@asynchronous
async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async with leading(LARGE_BYTES, HttpPatience(body=0.3)) as bench:
        before = children()
        reader, _ = await read_part(bench)
        await until_gone(before)
        answer = answer_of(b"HTTP/1.1 200" + await within(10.0, reader.read()))
        with pytest.raises(Exception, match="IncompleteRead"):
            answer.read()


@asynchronous
async def test_a_child_that_dies_never_leaves_an_answer_that_seems_whole(tmp_path: Path) -> None:
    async with leading(LARGE_BYTES) as bench:
        before = children()
        reader, _ = await read_part(bench)
        (child,) = children() - before
        os.kill(child, signal.SIGKILL)
        data = b"HTTP/1.1 200" + await within(10.0, reader.read())
        with pytest.raises(Exception, match="IncompleteRead"):
            answer_of(data).read()
        path = tmp_path / "a"
        path.write_bytes(data)
        with pytest.raises(CorruptRecord):
            load_backup(RealFiles(), path)
        await until_gone(before)


@asynchronous
async def test_one_backup_at_a_time() -> None:
    async with leading(LARGE_BYTES) as bench:
        before = children()
        _, writer = await read_part(bench)
        second = answer_of(await bench.http("GET /v1/backup HTTP/1.1"))
        assert second.status == 429 and b'"code":"rate_limited"' in second.read()
        writer.close()
        await until_gone(before)


@asynchronous
async def test_a_server_that_stops_ends_its_backup() -> None:
    before = children()
    async with leading(LARGE_BYTES) as bench:
        await read_part(bench)
        assert children() - before
    assert not children() - before, "stopping waits for the child"


@asynchronous
async def test_without_a_leader_only_a_stale_backup_is_taken() -> None:
    async with leading() as bench:
        bench.replica.lead(False)
        refused = answer_of(await bench.http("GET /v1/backup?timeout_ms=100 HTTP/1.1"))
        assert refused.status == 503 and b'"code":"no_leader"' in refused.read()
        stale = answer_of(await bench.http("GET /v1/backup?consistency=stale HTTP/1.1"))
        assert stale.status == 200


@asynchronous
async def test_a_node_without_a_cluster_has_nothing_to_back_up() -> None:
    async with serving() as bench:
        answer = answer_of(await bench.http("GET /v1/backup HTTP/1.1"))
        assert answer.status == 503 and b'"code":"not_ready"' in answer.read()


@asynchronous
async def test_a_follower_waits_until_it_has_what_the_leader_acknowledged(tmp_path: Path) -> None:
    async with leading() as bench:
        replica = bench.replica
        replica.lead(False)
        index = replica.view().applied_index + 2

        async def forward(_call: Call, _deadline: float) -> ClusterStatus:
            return ClusterStatus("c1", "n2", "n2", 2, index, index, "", [])

        replica.on_forward = forward
        late = answer_of(await bench.http("GET /v1/backup?timeout_ms=100 HTTP/1.1"))
        assert late.status == 503 and b'"code":"not_ready"' in late.read()
        asked = asyncio.ensure_future(bench.http("GET /v1/backup?timeout_ms=5000 HTTP/1.1"))
        replica.apply([])
        while len(replica.forwarded) < 2:
            await asyncio.sleep(0.01)
        assert not asked.done()
        replica.apply([Enqueue("q", [NewTask(task_id(50), b"late")])])
        answer = answer_of(await within(10.0, asked))
        assert answer.status == 200
        path = tmp_path / "a"
        path.write_bytes(answer.read())
        meta, machine = load_backup(RealFiles(), path)
        assert meta.index == index and machine.task(task_id(50)) is not None
