"""Events over HTTP: server-sent events and the WebSocket, as browsers and `curl` see them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from tests.support.applied import DONE, READY, applied, numbered, tell, until_left
from tests.support.asyncs import asynchronous, within
from tests.support.server_bench import ServerBench, serving
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from raftq.protocol.credentials import token_line
from raftq.protocol.errors import ShuttingDown
from raftq.server.events import hub as hub_module
from raftq.server.gate import Access
from raftq.server.http_listener import HttpPatience
from raftq.server.tokens import TokenFile

SECONDS = 5.0
TOKEN = "rq_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFg"
ONE = {
    "index": 1,
    "number": 0,
    "at_ms": 1_000,
    "task_id": str(UUID(int=1)),
    "queue": "q",
    "state": "ready",
}


class Block(NamedTuple):
    """One block of a stream of server-sent events."""

    fields: dict[str, str]

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.fields["data"])
        return found


class Stream:
    """A request whose answer is a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader
        self._text = ""
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self) -> None:
        head = await within(SECONDS, self._reader.readuntil(b"\r\n\r\n"))
        start, *lines = head.decode().strip().split("\r\n")
        self.status = int(start.split()[1])
        pairs = (line.partition(": ") for line in lines)
        self.headers = {name.lower(): value for name, _, value in pairs}

    async def block(self) -> Block | None:
        """Return the next block; None at the end of the answer."""
        while "\n\n" not in self._text:
            size = int(await within(SECONDS, self._reader.readuntil(b"\r\n")), 16)
            chunk = await within(SECONDS, self._reader.readexactly(size + 2))
            if not size:
                return None
            self._text += chunk[:-2].decode()
        text, _, self._text = self._text.partition("\n\n")
        return Block(dict(line.split(": ", 1) for line in text.split("\n")))

    async def event(self) -> Block:
        """Return the next block with data."""
        while (found := await self.block()) is not None:
            if "data" in found.fields:
                return found
        raise EOFError


async def stream(bench: ServerBench, query: str = "", *headers: str) -> Stream:
    found = Stream(*await bench.connect(bench.http_port))
    lines = [f"GET /v1/events{query} HTTP/1.1", "Host: x", *headers, "", ""]
    found.writer.write("\r\n".join(lines).encode())
    await found.begin()
    return found


async def refusal(bench: ServerBench, query: str, *headers: str) -> tuple[int, str]:
    """Return status and code of a refused request."""
    raw = await bench.http("\r\n".join([f"GET /v1/events{query} HTTP/1.1", *headers]))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    code: str = json.loads(body)["code"]
    return int(head.split()[1]), code


# ---------------------------------------------------------------- server-sent events


@asynchronous
async def test_a_stream_tells_each_event_and_where_to_go_on() -> None:
    async with serving() as bench:
        told = await stream(bench, "?position=0")
        assert (told.status, told.headers["content-type"]) == (200, "text/event-stream")
        assert told.headers["cache-control"] == "no-store"
        assert await told.block() == Block({"retry": "1000", "id": "0"})
        tell(bench, 1, 1, 2)
        first, second = await told.block(), await told.block()
        assert first is not None and second is not None
        assert (first.fields["id"], first.data) == ("1-0", ONE)
        assert list(first.data) == list(ONE)
        assert (second.fields["id"], second.data["task_id"]) == ("1-1", str(UUID(int=2)))
        assert await told.block() == Block({"id": "1"}), "a block without data: no event"


@asynchronous
async def test_a_stream_goes_on_behind_the_id_that_a_browser_gives_back() -> None:
    async with serving() as bench:
        tell(bench, 1, 1, 2)
        tell(bench, 2, 3)
        behind_event = await stream(bench, "?position=0", "Last-Event-ID: 1-0")
        assert [(await behind_event.event()).fields["id"] for _ in "ab"] == ["1-1", "2-0"]
        behind_entry = await stream(bench, "", "Last-Event-ID: 1")
        assert (await behind_entry.event()).fields["id"] == "2-0"


@asynchronous
async def test_a_quiet_stream_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_MARK_SECONDS", 0.01)
    async with serving() as bench:
        told = await stream(bench, "?queue=other&position=0")
        tell(bench, 7, 1)
        while (block := await told.block()) != Block({"id": "7"}):
            assert block is not None and "data" not in block.fields


@asynchronous
async def test_a_stream_has_only_what_the_query_asks_for() -> None:
    async with serving() as bench:
        bench.server.service.on_applied(
            applied(
                1, (READY, "a", numbered(1)), (DONE, "a", numbered(1)), (DONE, "b", numbered(2))
            )
        )
        for query, numbers in (
            ("queue=b", [2]),
            ("queue=a&state=done", [1]),
            ("state=ready&state=done", [0, 1, 2]),
            (f"task_id={UUID(int=2)}", [2]),
        ):
            told = await stream(bench, f"?position=0&{query}")
            assert [(await told.event()).data["number"] for _ in numbers] == numbers, query


@pytest.mark.parametrize(
    "query",
    [
        "?position=x",
        "?position=-1",
        "?position=1-",
        "?position=99999999999999999999",
        "?queue=no%20name",
        "?queue=a&queue=b",
        "?state=asleep",
        "?task_id=7",
        "?timeout_ms=0",
        "?unknown=1",
    ],
)
@asynchronous
async def test_a_wrong_query_is_refused(query: str) -> None:
    async with serving() as bench:
        assert await refusal(bench, query) == (400, "invalid_request")
        assert await refusal(bench, "", "Last-Event-ID: x") == (400, "invalid_request")
        assert len(bench.server.service.events) == 0


@asynchronous
async def test_a_position_that_is_not_kept_is_gone() -> None:
    async with serving() as bench:
        bench.replica.base_index = 10
        tell(bench, 11, 1)
        raw = await bench.http("GET /v1/events?position=9 HTTP/1.1")
        problem = json.loads(raw.partition(b"\r\n\r\n")[2])
        assert (problem["status"], problem["code"]) == (410, "events_lost")
        assert problem["oldest_index"] == 11


@asynchronous
async def test_a_stream_that_is_ended_says_why() -> None:
    async with serving() as bench:
        told = await stream(bench, "?position=0")
        bench.server.service.events.close(ShuttingDown("this node stops"))
        end = await told.event()
        assert (end.fields["event"], end.data["code"]) == ("end", "shutting_down")
        assert await told.block() is None, "the answer is complete"
        assert await refusal(bench, "") == (503, "shutting_down")


@asynchronous
async def test_a_node_that_stops_does_not_wait_for_streams() -> None:
    async with serving() as bench:
        told = await stream(bench, "?position=0")
        loop = asyncio.get_running_loop()
        began = loop.time()
        await bench.server.drain(began + 10)
        assert loop.time() - began < 5
        assert (await told.event()).data["code"] == "shutting_down"


@asynchronous
async def test_a_client_that_goes_away_leaves_no_subscription() -> None:
    async with serving() as bench:
        told = await stream(bench, "?position=0")
        assert len(bench.server.service.events) == 1
        told.writer.transport.abort()
        await until_left(bench)


@asynchronous
async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    async with serving(patience=HttpPatience(body=0.05)) as bench:
        told = await stream(bench, "?position=0")
        told.writer.transport.pause_reading()  # type: ignore[attr-defined]  # A socket's.
        index = 0
        async with asyncio.timeout(30):
            while len(bench.server.service.events):
                index += 1
                tell(bench, index, *range(200))
                await asyncio.sleep(0.001)


@asynccontextmanager
async def guarded(tmp_path: Path) -> AsyncGenerator[tuple[ServerBench, Path]]:
    """A server that knows one token, and its file."""
    path = tmp_path / "tokens"
    path.write_text(token_line("app", TOKEN))
    async with serving(access=Access(TokenFile(path))) as bench:
        yield bench, path


def revoke(bench: ServerBench, path: Path) -> None:
    path.write_text("")
    tokens = bench.server.native.gate.tokens
    assert tokens is not None
    tokens.refresh(force=True)


@asynchronous
async def test_a_stream_needs_a_token_and_ends_with_it(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (bench, path):
        assert await refusal(bench, "?position=0") == (401, "forbidden")
        told = await stream(bench, "?position=0", f"Authorization: Bearer {TOKEN}")
        tell(bench, 1, 1)
        await told.event()
        revoke(bench, path)
        assert (await told.event()).data["code"] == "forbidden"


# ---------------------------------------------------------------- WebSocket


@asynccontextmanager
async def socket(
    bench: ServerBench, query: str = "", **headers: str
) -> AsyncGenerator[WebSocketClientConnection]:
    url = f"ws://127.0.0.1:{bench.http_port}/v1/events/ws{query}"
    connection = await within(SECONDS, websocket_connect(HTTPRequest(url, headers=headers)))
    try:
        yield connection
    finally:
        connection.close()
        with contextlib.suppress(TimeoutError):
            await within(SECONDS, connection.read_message())


async def message(connection: WebSocketClientConnection) -> dict[str, Any]:
    text = await within(SECONDS, connection.read_message())
    assert isinstance(text, str)
    found: dict[str, Any] = json.loads(text)
    return found


@asynchronous
async def test_a_websocket_tells_batches_and_where_to_go_on() -> None:
    async with serving() as bench:
        async with socket(bench, "?position=0") as connection:
            assert await message(connection) == {"events": [], "position": "0"}
            tell(bench, 1, 1)
            assert await message(connection) == {"events": [ONE], "position": "1"}
            await connection.write_message("nobody listens")
            tell(bench, 2, 2, queue="r")
            assert (await message(connection))["position"] == "2"
        await until_left(bench)
        async with socket(bench, "?position=1&queue=r") as connection:
            await message(connection)
            assert (await message(connection))["events"][0]["index"] == 2


@asynchronous
async def test_a_websocket_that_is_ended_says_why_and_closes_with_the_status() -> None:
    async with serving() as bench, socket(bench, "?position=0") as connection:
        await message(connection)
        bench.server.service.events.close(ShuttingDown("this node stops"))
        assert (await message(connection))["end"]["code"] == "shutting_down"
        assert await within(SECONDS, connection.read_message()) is None
        assert (connection.close_code, connection.close_reason) == (4_503, "shutting_down")


@asynchronous
async def test_a_websocket_is_refused_with_a_problem_before_it_is_one() -> None:
    async with serving() as bench:
        for query, headers, status in (
            ("?state=asleep", {}, 400),
            ("", {"Origin": "http://elsewhere.example"}, 403),
        ):
            with pytest.raises(HTTPClientError) as refused:
                async with socket(bench, query, **headers):
                    pass
            assert refused.value.code == status
        raw = await bench.http("GET /v1/events/ws HTTP/1.1")
        assert json.loads(raw.partition(b"\r\n\r\n")[2])["code"] == "invalid_request"
        await until_left(bench)


@asynchronous
async def test_a_page_of_this_node_may_open_a_websocket() -> None:
    async with serving() as bench:
        origin = f"http://127.0.0.1:{bench.http_port}"
        async with socket(bench, "?position=0", Origin=origin) as connection:
            await message(connection)


@asynchronous
async def test_a_websocket_needs_a_token_and_ends_with_it(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (bench, path):
        with pytest.raises(HTTPClientError) as refused:
            async with socket(bench):
                pass
        assert refused.value.code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with socket(bench, "?position=0", **headers) as connection:
            await message(connection)
            revoke(bench, path)
            assert (await message(connection))["end"]["code"] == "forbidden"


@asynchronous
async def test_a_node_that_stops_does_not_wait_for_websockets() -> None:
    async with serving() as bench, socket(bench, "?position=0") as connection:
        await message(connection)
        assert not bench.server.is_busy, "a WebSocket is no request that is being answered"
        await within(SECONDS, bench.server.drain(asyncio.get_running_loop().time()))
        assert (await message(connection))["end"]["code"] == "shutting_down"
