"""docs/reference/http-api.md says what a node really answers."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import pytest
from tests.support.nodes import Answer, call

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.server.openapi import document
from raftq.server.problems import CODES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "http-api.md"
VOLATILE = {"token", "term", "commit_index", "applied_index"}
HEX = re.compile(r"[0-9a-f]{16,32}\Z")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
ADDRESS = re.compile(r"127\.0\.0\.1:\d+\Z")


class Example(NamedTuple):
    """Commands, and the answer to the last one."""

    commands: list[str]
    status: int
    headers: dict[str, str]
    body: object


def examples() -> list[Example]:
    blocks = re.findall(r"^```(sh|http)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    kinds = [kind for kind, _ in blocks]
    assert kinds == ["sh", "http"] * (len(kinds) // 2), "each command has its answer"
    found: list[Example] = []
    for (_, commands), (_, answer) in zip(blocks[::2], blocks[1::2], strict=True):
        head, _, body = answer.partition("\n\n")
        start, *lines = head.splitlines()
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        found.append(
            Example(commands.splitlines(), int(start.split()[1]), headers, json.loads(body))
        )
    return found


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with LocalCluster(tmp_path_factory.mktemp("docs"), size=1) as cluster:
        yield cluster.nodes[0]


def run(node: NodeProcess, command: str, variables: dict[str, str]) -> Answer:
    """Run a curl command of the page, as far as the page uses curl."""
    for name, value in variables.items():
        command = command.replace(f"${name}", value)
    words = shlex.split(command)
    assert words.pop(0) == "curl"
    method, data = "GET", None
    while words[0] == "-X":
        method, words = words[1], words[2:]
    url = urlsplit(words.pop(0))
    assert url.netloc == "127.0.0.1:7611"
    if words:
        assert words[0] == "-d" and len(words) == 2
        data = words[1].encode()
    return call(node, method, f"{url.path}?{url.query}" if url.query else url.path, data)


def remember(answer: Answer, variables: dict[str, str]) -> None:
    body = answer.json
    if body.get("tasks"):
        variables["TASK"] = body["tasks"][0]["id"]
    if body.get("leases"):
        variables["TOKEN"] = str(body["leases"][0]["token"])


def same(found: object, told: object, field: str = "") -> None:
    """Compare an answer with the page, up to what differs from run to run."""
    assert type(found) is type(told), (field, found, told)
    if isinstance(found, dict):
        fields, expected = cast("dict[str, Any]", found), cast("dict[str, Any]", told)
        assert list(fields) == list(expected)
        for name in fields:
            same(fields[name], expected[name], name)
    elif isinstance(found, list):
        items, expected_items = cast("list[object]", found), cast("list[object]", told)
        assert len(items) == len(expected_items)
        for item, expected_item in zip(items, expected_items, strict=True):
            same(item, expected_item, field)
    elif isinstance(found, str) and isinstance(told, str):
        kinds = [kind for kind in (UUID, HEX, ADDRESS) if kind.match(told)]
        assert kinds[0].match(found) if kinds else found == told, (field, found, told)
    elif field not in VOLATILE and not field.endswith("_at_ms"):
        assert found == told, field


def test_every_example_answers_as_the_page_says(node: NodeProcess) -> None:
    variables: dict[str, str] = {}
    for example in examples():
        answer: Answer | None = None
        for command in example.commands:
            answer = run(node, command, variables)
            remember(answer, variables)
        assert answer is not None
        assert answer.status == example.status, (example, answer.body)
        same(answer.json, example.body)
        for name, value in example.headers.items():
            assert name in answer.headers, (example.commands, name)
            assert value == answer.headers[name] or value.isdecimal()


def test_every_path_and_every_code_is_on_the_page() -> None:
    text = PAGE.read_text()
    for path, methods in document("x")["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}" in text, path
    table = text.partition("| status | code |")[2]
    for code in CODES:
        assert f"`{code}`" in table, code
