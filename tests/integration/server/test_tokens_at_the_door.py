"""Who is let in: one server with a tokens file, asked by clients of every kind."""

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.asyncs import asynchronous, within
from tests.support.server_bench import NativeClient, ServerBench, serving

from raftq.protocol.credentials import token_hash, token_line
from raftq.server.gate import Access
from raftq.server.http import ROUTES
from raftq.server.native_connection import NativePatience
from raftq.server.tokens import TokenFile

TOKEN = "rq_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFg"
OTHER = "rq_" + "z" * 43
WRONG = [None, "", OTHER, TOKEN[:-1], TOKEN + "x", TOKEN.swapcase(), token_hash(TOKEN), 7, b"x"]


class Door:
    """A server that knows one token, and its file."""

    def __init__(self, bench: ServerBench, path: Path, tokens: TokenFile) -> None:
        self.bench = bench
        self.path = path
        self.tokens = tokens

    def rewrite(self, *lines: str) -> None:
        """Replace the tokens and have them read."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(line + "\n" for line in lines))
        os.replace(new, self.path)
        self.tokens.refresh()

    async def native(self, *params: object) -> tuple[NativeClient, Any]:
        """Say hello with these params after version and name, and return the answer."""
        client = await self.bench.native(hello=False)
        client.send([0, 5, "hello", [1, "test", *params]])
        return client, await client.receive()

    async def http(self, head: str, body: bytes = b"", **headers: str) -> "Said":
        """Make one HTTP request and return the answer."""
        lines = [head, *(f"{name}: {value}" for name, value in headers.items())]
        raw = await self.bench.http("\r\n".join(lines), body)
        start, _, rest = raw.partition(b"\r\n")
        fields, _, content = rest.partition(b"\r\n\r\n")
        pairs = (line.partition(": ") for line in fields.decode().splitlines())
        return Said(int(start.split()[1]), {k.lower(): v for k, _, v in pairs}, content)

    async def refusals(self) -> dict[str, float]:
        """Return the counter of refusals by its labels."""
        page = await self.http("GET /metrics HTTP/1.1", Authorization=f"Bearer {TOKEN}")
        found = [line for line in page.body.decode().splitlines()
                 if line.startswith("raftq_authentication_failures_total{")]  # fmt: skip
        return {line.partition("{")[2].partition("}")[0]: float(line.split()[-1]) for line in found}


class Said:
    """An HTTP answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


@asynccontextmanager
async def door(
    path: Path, *, metrics_open: bool = False, hello: float = 5.0
) -> AsyncGenerator[Door]:
    """Run a server that knows TOKEN as `app`."""
    path.write_text(token_line("app", TOKEN) + "\n")
    tokens = TokenFile(path)
    patience = NativePatience(hello=hello)
    async with serving(None, patience, Access(tokens, metrics_open)) as bench:
        yield Door(bench, path, tokens)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


# ---------------------------------------------------------------- native


@asynchronous
async def test_a_native_client_with_a_known_token_is_served(path: Path) -> None:
    async with door(path) as at:
        client, answer = await at.native(TOKEN)
        assert answer[:3] == [1, 5, None]
        assert (await client.call(6, "cluster"))[2] is None


@asynchronous
async def test_every_other_native_client_hears_why_and_is_cut_off(path: Path) -> None:
    async with door(path) as at:
        for params in ([], *([wrong] for wrong in WRONG[:-2])):
            client, answer = await at.native(*params)
            assert answer[:2] == [1, 5] and answer[2][0] == "forbidden" and answer[3] is None
            client.send([0, 6, "cluster", [5_000]])
            assert await client.is_closed_by_server()
        assert await at.refusals() == {
            'listener="native",reason="missing"': 3.0,
            'listener="native",reason="unknown"': 5.0,
        }


@asynchronous
async def test_a_token_of_another_type_is_a_malformed_hello(path: Path) -> None:
    async with door(path) as at:
        for wrong in ([7], [b"x"], [TOKEN, "surplus"], [[TOKEN]]):
            client, answer = await at.native(*wrong)
            assert answer[:2] == [1, None] and answer[2][0] == "invalid_request"
            assert await client.is_closed_by_server()


@asynchronous
async def test_no_call_is_served_before_a_token_is_shown(path: Path) -> None:
    async with door(path) as at:
        client = await at.bench.native(hello=False)
        client.send([0, 1, "cluster", [5_000]], [0, 2, "hello", [1, "x", TOKEN]])
        assert (await client.receive())[2][0] == "invalid_request"
        assert await client.is_closed_by_server()


@asynchronous
async def test_a_truncated_hello_is_cut_off_by_the_hello_timeout(path: Path) -> None:
    async with door(path, hello=0.2) as at:
        client = await at.bench.native(hello=False)
        client.writer.write(bytes.fromhex("94 00 01 a5 68656c6c6f 93 01 a3 646f63 d9 2f") + b"rq_")
        assert await within(5.0, client.is_closed_by_server())


@asynchronous
async def test_a_server_without_tokens_takes_clients_with_and_without_them() -> None:
    async with serving() as bench:
        for params in ([1, "x"], [1, "x", None], [1, "x", TOKEN]):
            client = await bench.native(hello=False)
            client.send([0, 1, "hello", params])
            assert (await client.receive())[2] is None


@asynchronous
async def test_a_revoked_token_ends_its_connections_and_no_others(path: Path) -> None:
    async with door(path) as at:
        at.rewrite(token_line("app", TOKEN), token_line("other", OTHER))
        revoked, _ = await at.native(TOKEN)
        kept, _ = await at.native(OTHER)
        silent = await at.bench.native(hello=False)
        at.rewrite(token_line("other", OTHER))
        assert await within(5.0, revoked.is_closed_by_server())
        assert (await kept.call(6, "cluster"))[2] is None
        silent.send([0, 1, "hello", [1, "x", OTHER]])
        assert (await silent.receive())[2] is None
        _, answer = await at.native(TOKEN)
        assert answer[2][0] == "forbidden"


@asynchronous
async def test_a_token_under_a_new_name_is_another_grant(path: Path) -> None:
    async with door(path) as at:
        client, _ = await at.native(TOKEN)
        at.rewrite(token_line("renamed", TOKEN))
        assert await within(5.0, client.is_closed_by_server())


# ---------------------------------------------------------------- HTTP


CALLS = [
    "POST /v1/queues/q/tasks",
    "POST /v1/queues/q/leases",
    "POST /v1/leases/1/ack",
    "POST /v1/leases/1/fail",
    "POST /v1/leases/1/requeue",
    "POST /v1/leases/1/extend",
    "GET /v1/tasks/0190d5a2-7a3b-7c58-8d6e-5f1a2b3c4d5e",
    "GET /v1/tasks",
    "POST /v1/tasks",
    "PATCH /v1/tasks/0190d5a2-7a3b-7c58-8d6e-5f1a2b3c4d5e",
    "POST /v1/tasks/0190d5a2-7a3b-7c58-8d6e-5f1a2b3c4d5e/cancel",
    "POST /v1/tasks/0190d5a2-7a3b-7c58-8d6e-5f1a2b3c4d5e/confirm",
    "GET /v1/tasks/0190d5a2-7a3b-7c58-8d6e-5f1a2b3c4d5e/result",
    "GET /v1/tasks/0190d5a2-7a3b-7c58-8d6e-5f1a2b3c4d5e/why",
    "POST /v1/sweeps",
    "GET /v1/queues",
    "GET /v1/queues/q",
    "GET /v1/queues/q/settings",
    "PATCH /v1/queues/q/settings",
    "POST /v1/queues/q/purge",
    "GET /v1/limits",
    "PUT /v1/limits/k",
    "DELETE /v1/limits/k",
    "GET /v1/quota",
    "PUT /v1/quota",
    "GET /v1/schedules",
    "GET /v1/schedules/s",
    "PUT /v1/schedules/s",
    "DELETE /v1/schedules/s",
    "GET /v1/events",
    "GET /v1/events/ws",
    "GET /v1/cluster",
    "POST /v1/cluster/members",
    "DELETE /v1/cluster/members/n2",
    "POST /v1/cluster/transfer-leader",
    "POST /v1/backup",
    "GET /v1/openapi.json",
    "GET /metrics",
    "GET /v1/no/such/path",
    "DELETE /v1/cluster",
    "OPTIONS /v1/cluster",
    "GET /",
    "GET /livez/",
    "GET //livez",
    "GET /livez/../v1/cluster",
    "GET /%6civez",
    "GET /LIVEZ",
    "GET http://x/livez",
    "GET http://x/v1/cluster",
    "GET *",
]


def test_every_route_is_asked_for_above() -> None:
    paths = [call.split()[1] for call in CALLS] + ["/livez", "/readyz"]
    missing = [pattern for pattern, *_ in ROUTES
               if not any(re.fullmatch(pattern, path) for path in paths)]  # fmt: skip
    assert not missing, f"add a call for {missing}"


@pytest.mark.parametrize("call", CALLS)
@asynchronous
async def test_every_path_but_the_probes_asks_for_a_token(call: str, tmp_path: Path) -> None:
    async with door(tmp_path / "tokens") as at:
        said = await at.http(f"{call} HTTP/1.1")
        assert said.status == 401, said.body
        assert said.headers["www-authenticate"] == 'Bearer realm="raftq"'
        assert said.headers["content-type"] == "application/problem+json"
        assert json.loads(said.body)["code"] == "forbidden"


@asynchronous
async def test_the_probes_are_open(path: Path) -> None:
    async with door(path) as at:
        for probe in ("/livez", "/readyz", "/livez?x=1"):
            assert (await at.http(f"GET {probe} HTTP/1.1")).status in {200, 503}
        assert await at.refusals() == {}


@asynchronous
async def test_metrics_are_open_if_the_setting_says_so_and_nothing_else_is(path: Path) -> None:
    async with door(path, metrics_open=True) as at:
        assert (await at.http("GET /metrics HTTP/1.1")).status == 200
        assert (await at.http("GET /v1/cluster HTTP/1.1")).status == 401


GOOD_HEADERS = [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer  {TOKEN}"]
BAD_HEADERS = [
    "",
    "Bearer",
    "Bearer ",
    TOKEN,
    f"Basic {TOKEN}",
    f"Bearer{TOKEN}",
    f"Bearer {OTHER}",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN.swapcase()}",
    f"Bearer {TOKEN},Bearer {TOKEN}",
    f"Bearer {token_hash(TOKEN)}",
    "Bearer " + "x" * 10_000,
    "Bearer \x80\xff",
]


@asynchronous
async def test_a_known_token_in_the_header_is_let_in(path: Path) -> None:
    async with door(path) as at:
        for header in GOOD_HEADERS:
            said = await at.http("GET /v1/cluster HTTP/1.1", Authorization=header)
            assert said.status == 200, header


@asynchronous
async def test_every_other_header_is_refused(path: Path) -> None:
    async with door(path) as at:
        for header in BAD_HEADERS:
            said = await at.http("GET /v1/cluster HTTP/1.1", Authorization=header)
            assert said.status == 401, header
            assert TOKEN.encode() not in said.body
        assert (await at.http(f"GET /v1/cluster?token={TOKEN} HTTP/1.1")).status == 401


@asynchronous
async def test_the_body_of_a_stranger_is_never_kept(path: Path) -> None:
    """He is answered when his headers are there; otherwise 16 MiB could be held for each."""
    async with door(path) as at:
        reader, writer = await at.bench.connect(at.bench.http_port)
        head = "POST /v1/queues/q/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
        writer.write(head.encode() + b"{")
        async with asyncio.timeout(5.0):
            assert b" 401 " in await reader.readline()


@asynchronous
async def test_a_connection_is_asked_again_at_each_request(path: Path) -> None:
    async with door(path) as at:
        reader, writer = await at.bench.connect(at.bench.http_port)
        line = "GET /livez HTTP/1.1\r\nHost: x\r\n"
        request = f"{line}Authorization: Bearer {TOKEN}\r\n\r\n".replace("/livez", "/v1/cluster")
        writer.write(request.encode())
        async with asyncio.timeout(5.0):
            assert b" 200 " in await reader.readline()
            at.rewrite(token_line("other", OTHER))
            writer.write(request.encode())
            assert await reader.readuntil(b"401 Unauthorized")


# ---------------------------------------------------------------- what is remembered


def test_a_flood_of_strangers_is_counted_and_hardly_logged(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @asynchronous
    async def flood() -> None:
        async with door(path) as at:
            for _ in range(30):
                await at.http("GET /v1/cluster HTTP/1.1", Authorization=f"Bearer {OTHER}")
            assert await at.refusals() == {'listener="http",reason="unknown"': 30.0}

    flood()
    (record,) = [each for each in caplog.records if each.name.startswith("raftq")]
    assert record.getMessage() == "client_refused"
    assert OTHER not in str(vars(record)) and TOKEN not in str(vars(record))
