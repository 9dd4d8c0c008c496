"""docs/howto/events.md: its programs print what it says, and its limits are the real ones."""

import http.client
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.clusters import ENVIRONMENT, raftq_inside

from raftq.cli.local_cluster import LocalCluster
from raftq.client import Client
from raftq.client.event_link import SILENCE_SECONDS
from raftq.protocol import events, limits
from raftq.protocol.events import Subscribe, Subscribed, TaskEvent
from raftq.server.events import hub
from raftq.server.events.http import QUERY

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "howto" / "events.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", PAGE, re.M | re.S)
LINE = re.compile(
    r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d  \d+-\d+ +(\w+) +(\w+)  [0-9a-f-]{36}"
)
ADDRESSES = "127.0.0.1:7601,127.0.0.1:7602,127.0.0.1:7603"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCluster]:
    with LocalCluster(tmp_path_factory.mktemp("nodes"), size=1) as running:
        yield running


@pytest.mark.parametrize(("program", "output"), PROGRAMS)
def test_each_program_prints_what_it_says(cluster: LocalCluster, program: str, output: str) -> None:
    assert ADDRESSES in program
    ended = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-c",
            program.replace(ADDRESSES, cluster.addresses),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", output)


def test_the_programs_are_formatted_and_typed(tmp_path: Path) -> None:
    assert len(PROGRAMS) == PAGE.count("```python"), "each has its output"
    for number, (program, _) in enumerate(PROGRAMS):
        (tmp_path / f"program{number}.py").write_text(program)
    style = str(ROOT / "pyproject.toml")
    for tool in (["mypy", "--strict"], ["ruff", "format", "--check", "--config", style]):
        ended = subprocess.run(
            [sys.executable, "-m", *tool, "."], cwd=tmp_path, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_lines_of_the_shell_look_like_the_page_s(cluster: LocalCluster) -> None:
    shown = re.findall(r"^20\d\d-.*$", PAGE, re.M)
    with Client(cluster.addresses) as client:
        client.enqueue("shell", b"x")
        (lease,) = client.lease("shell", worker="w")
        client.ack(lease.token)
    words = ("events", "tail", "--queue", "shell", "--after", "0", "--count", "3")
    printed = raftq_inside(*words, RAFTQ_ADDRESSES=cluster.addresses).out.splitlines()
    for lines, queue in ((shown, "mail"), (printed, "shell")):
        found = [LINE.fullmatch(line) for line in lines]
        assert [each and each.groups() for each in found] == [
            (state, queue) for state in ("ready", "leased", "done")
        ]


def test_every_field_of_an_event_is_explained() -> None:
    table = PAGE.partition("| field | meaning |")[2].partition("\n\n")[0]
    assert re.findall(r"`(\w+)`", table) == list(TaskEvent.__struct_fields__)


def test_the_limits_of_the_page_are_the_real_ones() -> None:
    assert f"newest {limits.EVENTS_KEPT_MAX} events" in PAGE
    assert f"newest {limits.EVENTS_KEPT_MAX} of a node" in PAGE
    assert f"up to {limits.SUBSCRIPTIONS_MAX} subscriptions" in PAGE
    assert f"for {limits.EVENTS_STALL_MS // 1_000} seconds" in PAGE
    assert f"newest {limits.ERRORS_KEPT_PER_TASK} attempts" in PAGE
    told = hub._EVENTS_PER_ROUND / hub._ROUND_SECONDS  # pyright: ignore[reportPrivateUsage]
    assert f"up to {told:.0f} events a second" in PAGE


NATIVE = (ROOT / "docs" / "reference" / "native-protocol.md").read_text()
HTTP = (ROOT / "docs" / "reference" / "http-api.md").read_text()


def test_the_native_page_has_every_param_and_field() -> None:
    _, _, text = NATIVE.partition("## Subscriptions")
    text = text.partition("\n## ")[0]
    params = re.findall(r"^\| `(\w+)` \|", text.partition("| notification |")[0], re.M)
    assert ["timeout_ms", *params] == list(Subscribe.__struct_fields__)
    assert f"`[subscription, {', '.join(TaskEvent.__struct_fields__)}]`" in text
    assert f"[120, {', '.join(Subscribed.__struct_fields__)}]" in text
    for word in (events.EVENT, events.EVENT_MARK, events.EVENTS_END):
        assert f"| `{word}` |" in text


def test_the_limits_of_the_reference_are_the_real_ones() -> None:
    for page in (NATIVE, HTTP):
        assert f"at least every {limits.EVENT_MARK_MS // 1_000} seconds" in page
        assert f"nothing for {limits.EVENTS_STALL_MS // 1_000}\nseconds" in page or (
            f"nothing for {limits.EVENTS_STALL_MS // 1_000} seconds" in page
        )
    assert f"({limits.EVENTS_KEPT_MAX} events)" in NATIVE
    assert f"({limits.SUBSCRIPTIONS_MAX} subscriptions on the node)" in NATIVE
    assert f"less than {limits.EVENTS_UNSENT_BYTES_MAX} bytes" in NATIVE
    assert f"for {SILENCE_SECONDS:.0f} seconds the node hangs" in NATIVE
    unready = hub._UNREADY_SECONDS  # pyright: ignore[reportPrivateUsage]
    assert f"nothing new for {unready:.0f} seconds" in NATIVE


def test_the_http_page_has_every_parameter() -> None:
    table = HTTP.partition("| in the query | meaning |")[2].partition("\n\n")[0]
    names = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| ([^|]*) \|", table, re.M)))
    assert set(names) == set(QUERY)


def test_the_stream_of_the_http_page_is_what_comes(cluster: LocalCluster) -> None:
    _, _, shown = HTTP.partition("    retry: 1000\n")
    lines = [
        line.strip() for line in ("retry: 1000\n" + shown.partition("\n\nEach")[0]).splitlines()
    ]
    with Client(cluster.addresses) as client:
        client.enqueue("sse", b"x")
        after = client.last_index - 1
    node = cluster.nodes[0]
    host, _, port = node.http.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.request("GET", f"/v1/events?queue=sse&position={after}")
        response = connection.getresponse()
        found = [response.readline().decode().strip() for _ in lines]
    finally:
        connection.close()
    assert [shape(line) for line in found] == [shape(line) for line in lines]


def shape(line: str) -> str:
    """Return a line without what differs from run to run."""
    for pattern in (r"[0-9a-f]{8}-[0-9a-f-]{27}", r"\d+", r'"(sse|mail)"'):
        line = re.sub(pattern, "*", line)
    return line
