"""What a node tells about its own state says how new that is, in body and header alike."""

import asyncio
import json
from uuid import UUID

from tests.support.asyncs import asynchronous, until, within
from tests.support.server_bench import serving

from raftq.protocol.commands import Enqueue
from raftq.protocol.options import NewTask

ID = UUID(int=1)


@asynchronous
async def test_the_header_tells_the_index_that_was_waited_for() -> None:
    async with serving() as bench:
        bench.replica.lead(False)
        bench.replica.apply([Enqueue("q", [NewTask(ID.bytes, b"p")])])
        path = f"/v1/tasks/{ID}?consistency=stale&min_index=2"
        asked = asyncio.ensure_future(bench.http(f"GET {path} HTTP/1.1"))
        await until(lambda: bench.server.service.reading.results.waiting)
        bench.replica.apply([])
        head, _, body = (await within(5.0, asked)).partition(b"\r\n\r\n")
        assert b"\r\nraftq-applied-index: 2\r\n" in head.lower()
        assert json.loads(body)["applied_index"] == 2
