"""The examples of a page about HTTP: curl commands, each followed by the answer to the last one.

They run as they stand, up to what differs from run to run: ids, addresses, hashes, instants and
numbers that grow with what was done before.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from tests.support.nodes import Answer, call

from raftq.cli.local_cluster import NodeProcess

_VOLATILE: Final = {
    "token", "term", "commit_index", "applied_index", "index", "sequence", "next_after", "until",
    "revision", "lag_ms", "lease_left_ms", "retry_after_ms",
}  # fmt: skip
_HEX: Final = re.compile(r"[0-9a-f]{16,32}\Z")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_ADDRESS: Final = re.compile(r"127\.0\.0\.1:\d+\Z")


class Example(NamedTuple):
    """Commands, and the answer to the last one."""

    commands: list[str]
    status: int
    headers: dict[str, str]
    body: object


def examples(page: Path) -> list[Example]:
    """Return the examples of a page, in order."""
    blocks = re.findall(r"^```(sh|http)\n(.*?)^```$", page.read_text(), re.M | re.S)
    kinds = [kind for kind, _ in blocks]
    assert kinds == ["sh", "http"] * (len(kinds) // 2), "each command has its answer"
    found: list[Example] = []
    for (_, commands), (_, answer) in zip(blocks[::2], blocks[1::2], strict=True):
        head, _, body = answer.partition("\n\n")
        start, *lines = head.splitlines()
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        status = int(start.split()[1])
        found.append(Example(commands.splitlines(), status, headers, json.loads(body)))
    return found


def check_examples(page: Path, node: NodeProcess) -> None:
    """Run every example of a page on a node, and compare the answers.

    `$TASK` and `$TOKEN` stand for the first id and token of the newest answer that had some.
    """
    variables: dict[str, str] = {}
    for example in examples(page):
        answer: Answer | None = None
        for command in example.commands:
            answer = _run(node, command, variables)
            _remember(answer, variables)
        assert answer is not None
        assert answer.status == example.status, (example.commands, answer.body)
        same(answer.json, example.body)
        for name, value in example.headers.items():
            assert name in answer.headers, (example.commands, name)
            assert value == answer.headers[name] or value.isdecimal()


def _run(node: NodeProcess, command: str, variables: dict[str, str]) -> Answer:
    """Run a curl command of a page, as far as the pages use curl."""
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


def _remember(answer: Answer, variables: dict[str, str]) -> None:
    body = answer.json
    if body.get("tasks") and isinstance(body["tasks"], list):
        variables["TASK"] = body["tasks"][0]["id"]
    if body.get("leases"):
        variables["TOKEN"] = str(body["leases"][0]["token"])


def same(found: object, told: object, field: str = "") -> None:
    """Compare an answer with a page, up to what differs from run to run."""
    assert type(found) is type(told), (field, found, told)
    if isinstance(found, dict):
        fields, expected = cast("dict[str, Any]", found), cast("dict[str, Any]", told)
        assert list(fields) == list(expected)
        for name in fields:
            same(fields[name], expected[name], name)
    elif isinstance(found, list):
        items, expected_items = cast("list[object]", found), cast("list[object]", told)
        assert len(items) == len(expected_items), (field, found, told)
        for item, expected_item in zip(items, expected_items, strict=True):
            same(item, expected_item, field)
    elif isinstance(found, str) and isinstance(told, str):
        kinds = [kind for kind in (_UUID, _HEX, _ADDRESS) if kind.match(told)]
        assert kinds[0].match(found) if kinds else found == told, (field, found, told)
    elif field not in _VOLATILE and not field.endswith("_at_ms"):
        assert found == told, field
