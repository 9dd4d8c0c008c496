"""Bad input over HTTP: a clear error that names the field, and nothing changes."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.support.nodes import Answer, call, new_queue, raw_socket, read_to_end, state_hash

from raftq.cli.local_cluster import LocalCluster, NodeProcess
from raftq.protocol import limits

LEASE = {"count": 1, "lease_ms": 30_000, "worker": "w"}
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def unchanged(cluster: LocalCluster, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each bad input the state is the same on all nodes, and they still serve."""
    before = state_hash(cluster)
    yield
    assert state_hash(cluster) == before
    for each in cluster.nodes:
        assert call(each, "GET", "/readyz").status == 200


def tasks(node: NodeProcess, body: object, queue: str | None = None) -> Answer:
    return call(node, "POST", f"/v1/queues/{queue or new_queue()}/tasks", body)


def one(task: object) -> dict[str, object]:
    return {"tasks": [task]}


BAD_ENQUEUES: list[tuple[str, object, str]] = [
    ("no tasks", {}, "tasks"),
    ("tasks is no list", {"tasks": {}}, "$.tasks"),
    ("empty list", {"tasks": []}, "$.tasks"),
    ("task is no object", one(1), "$.tasks[0]"),
    ("unknown field", {"tasks": [{}], "que": 1}, "que"),
    ("unknown field of a task", one({"paylod": "x"}), "paylod"),
    ("payload is no text", one({"payload": 1}), "payload"),
    ("payload twice", one({"payload": "x", "payload_base64": "eA=="}), "payload"),
    ("payload_base64 is no base64", one({"payload_base64": "a"}), "payload_base64"),
    ("payload_base64 with junk", one({"payload_base64": "eA==\n!"}), "payload_base64"),
    ("id is no UUID", one({"id": "7"}), "id"),
    ("id is a number", one({"id": 7}), "id"),
    ("priority under the range", one({"priority": -1}), "priority"),
    ("priority over the range", one({"priority": 10}), "priority"),
    ("priority is text", one({"priority": "5"}), "priority"),
    ("priority is true", one({"priority": True}), "priority"),
    ("priority is a fraction", one({"priority": 1.5}), "priority"),
    ("negative delay", one({"delay_ms": -1}), "delay_ms"),
    ("huge delay", one({"delay_ms": 2**63}), "delay_ms"),
    ("gigantic delay", one({"delay_ms": 10**400}), ""),
    ("negative attempts", one({"attempts_max": -1}), "attempts_max"),
    ("too many attempts", one({"attempts_max": 1_001}), "attempts_max"),
    ("no time", {"tasks": [{}], "timeout_ms": 0}, "timeout_ms"),
    ("too much time", {"tasks": [{}], "timeout_ms": 600_001}, "timeout_ms"),
    ("the second of two", {"tasks": [{}, {"priority": 10}]}, "$.tasks[1]"),
    ("a list", [], "object"),
    ("null", None, ""),
]


@pytest.mark.parametrize(("body", "named"), [case[1:] for case in BAD_ENQUEUES],
                         ids=[case[0] for case in BAD_ENQUEUES])  # fmt: skip
def test_a_bad_enqueue_is_400_and_names_the_field(
    node: NodeProcess, body: object, named: str
) -> None:
    data = json.dumps(body).encode()
    problem = tasks(node, data).problem(400, "invalid_request")
    assert named in problem["detail"]


BAD_LEASES: list[tuple[str, dict[str, object], str]] = [
    ("no worker", {"worker": None}, "worker"),
    ("bad worker", {"worker": "a b"}, "worker"),
    ("long worker", {"worker": "w" * 129}, "worker"),
    ("no leases", {"count": 0}, "count"),
    ("negative", {"count": -1}, "count"),
    ("too many leases", {"count": 1_001}, "count"),
    ("short lease", {"lease_ms": 99}, "lease_ms"),
    ("long lease", {"lease_ms": 12 * 3_600_000 + 1}, "lease_ms"),
    ("negative wait", {"wait_ms": -1}, "wait_ms"),
    ("long wait", {"wait_ms": 300_001}, "wait_ms"),
    ("empty request id", {"request_id": ""}, "request_id"),
    ("unknown field", {"wait": 1}, "wait"),
]


@pytest.mark.parametrize(("fields", "named"), [case[1:] for case in BAD_LEASES],
                         ids=[case[0] for case in BAD_LEASES])  # fmt: skip
def test_a_bad_lease_is_400_and_names_the_field(
    node: NodeProcess, fields: dict[str, object], named: str
) -> None:
    path = f"/v1/queues/{new_queue()}/leases"
    problem = call(node, "POST", path, {**LEASE, **fields}).problem(400, "invalid_request")
    assert named in problem["detail"]


BAD_SETTLEMENTS: list[tuple[str, dict[str, object], str]] = [
    ("ack", {"result": 1}, "result"),
    ("ack", {"result": "x", "result_base64": "eA=="}, "result"),
    ("ack", {"result_base64": "?"}, "result_base64"),
    ("ack", {"error": "x"}, "error"),
    ("fail", {}, "error"),
    ("fail", {"error": 1}, "error"),
    ("fail", {"error": "x" * 4_001}, "error"),
    ("requeue", {"delay_ms": -1}, "delay_ms"),
    ("requeue", {"lease_ms": 1}, "lease_ms"),
    ("extend", {}, "lease_ms"),
    ("extend", {"lease_ms": 99}, "lease_ms"),
    ("extend", {"lease_ms": 10**30}, ""),
]


@pytest.mark.parametrize(("action", "body", "named"), BAD_SETTLEMENTS)
def test_a_bad_settlement_is_400_and_names_the_field(
    node: NodeProcess, action: str, body: dict[str, object], named: str
) -> None:
    problem = call(node, "POST", f"/v1/leases/1/{action}", body).problem(400, "invalid_request")
    assert named in problem["detail"]


@pytest.mark.parametrize(
    "token", ["0", "-1", "x", "1.5", "9223372036854775808", "1" * 5_000, "%20"]
)
def test_a_bad_token_is_400(node: NodeProcess, token: str) -> None:
    problem = call(node, "POST", f"/v1/leases/{token}/ack", {}).problem(400, "invalid_request")
    assert "token" in problem["detail"]


@pytest.mark.parametrize(
    "queue", ["a%20b", "a%2Fb", "a" * 129, "%C3%A4", "a%00", "a%0A", "%ff", "a:b", "*"]
)
def test_a_bad_queue_name_is_400_and_says_what_is_allowed(node: NodeProcess, queue: str) -> None:
    for answer in (
        tasks(node, one({}), queue),
        call(node, "POST", f"/v1/queues/{queue}/leases", LEASE),
        call(node, "GET", f"/v1/queues/{queue}"),
    ):
        problem = answer.problem(400, "invalid_request")
        if queue != "%ff":
            assert "A-Za-z0-9._-" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [b"{", b"{'tasks':[]}", b"\xff\xfe", b'{"tasks":[{"payload":"\xff"}]}', b"[" * 100_000,
     b'{"tasks":[{"priority":NaN}]}', b'{"tasks":[{"delay_ms":Infinity}]}', b"{}{}", b"\x00",
     b'{"tasks":[{"payload":"\\ud800"}]}', b'{"tasks":' + b'[{"x":' * 5_000],
    ids=["cut", "quotes", "utf-16", "bad utf-8", "deep", "NaN", "Infinity", "two", "zero",
         "lone surrogate", "deep objects"],
)  # fmt: skip
def test_malformed_json_is_400(node: NodeProcess, body: bytes) -> None:
    problem = tasks(node, body).problem(400, "invalid_request")
    assert "malformed body" in problem["detail"]


def test_an_id_twice_in_one_batch_is_400_and_creates_none(node: NodeProcess) -> None:
    queue, id_ = new_queue(), str(uuid4())
    body = {"tasks": [{"payload": "x"}, {"id": id_}, {"id": id_}]}
    problem = tasks(node, body, queue).problem(400, "invalid_request")
    assert "twice" in problem["detail"]
    assert call(node, "GET", f"/v1/queues/{queue}").json["enqueued"] == 0


def test_one_task_too_many_in_a_batch_is_400(node: NodeProcess) -> None:
    count = limits.TASKS_PER_ENQUEUE_MAX + 1
    problem = tasks(node, {"tasks": [1] * count}).problem(400, "invalid_request")
    assert "$.tasks" in problem["detail"]


def test_a_body_over_the_limit_is_413(node: NodeProcess) -> None:
    body = json.dumps(one({"payload": "x" * (17 * MIB)})).encode()
    problem = tasks(node, body).problem(413, "payload_too_large")
    assert problem["bytes_max"] == limits.REQUEST_BYTES_MAX


def test_a_payload_over_its_limit_in_a_body_under_it_is_413(node: NodeProcess) -> None:
    body = one({"payload": "x" * (limits.PAYLOAD_BYTES_MAX + 1)})
    problem = tasks(node, body).problem(413, "payload_too_large")
    assert problem["bytes_max"] == limits.PAYLOAD_BYTES_MAX


def test_a_result_over_its_limit_is_413(node: NodeProcess) -> None:
    body = {"result": "x" * (limits.RESULT_BYTES_MAX + 1)}
    problem = call(node, "POST", "/v1/leases/1/ack", body).problem(413, "payload_too_large")
    assert problem["bytes_max"] == limits.RESULT_BYTES_MAX


def head(node: NodeProcess, *lines: str) -> bytes:
    path = f"/v1/queues/{new_queue()}/tasks"
    text = "\r\n".join([f"POST {path} HTTP/1.1", f"Host: {node.http}", *lines, "", ""])
    return text.encode()


def parsed(raw: bytes) -> tuple[int, dict[str, Any]]:
    start, _, body = raw.partition(b"\r\n\r\n")
    return int(start.split(b" ")[1]), json.loads(body)


@pytest.mark.parametrize("length", [17 * MIB, 10**12], ids=["17 MiB", "1 TB"])
def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent(
    leader: NodeProcess, length: int
) -> None:
    with raw_socket(leader.http) as sock:
        sock.sendall(head(leader, f"Content-Length: {length}", "Expect: 100-continue"))
        received = sock.recv(65_536)
        sock.sendall(b"x" * 1_000)
    status, problem = parsed(received)
    assert (status, problem["code"]) == (413, "payload_too_large")


def test_a_chunked_body_over_the_limit_is_413(leader: NodeProcess) -> None:
    chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
    with raw_socket(leader.http) as sock:
        sock.sendall(head(leader, "Transfer-Encoding: chunked", "Connection: close"))
        for _ in range(17):
            sock.sendall(chunk)
        sock.sendall(b"0\r\n\r\n")
        status, problem = parsed(read_to_end(sock))
    assert (status, problem["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("length", ["-1", "x", "1" * 25, "5, 6"])
def test_a_senseless_content_length_ends_the_connection(leader: NodeProcess, length: str) -> None:
    with raw_socket(leader.http) as sock:
        sock.sendall(head(leader, f"Content-Length: {length}") + b"{}")
        received = read_to_end(sock)
    assert received == b"" or received.startswith(b"HTTP/1.1 400")


def test_headers_over_16_kb_end_the_connection(leader: NodeProcess) -> None:
    with raw_socket(leader.http) as sock:
        sock.sendall(head(leader, "X-Large: " + "x" * 17_000, "Content-Length: 2") + b"{}")
        assert b"201" not in read_to_end(sock)


@pytest.mark.parametrize("garbage", [b"\x00" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"\x93\x00\x01"])
def test_garbage_on_the_http_port_ends_the_connection(leader: NodeProcess, garbage: bytes) -> None:
    with raw_socket(leader.http) as sock:
        sock.sendall(garbage)
        sock.shutdown(1)
        received = read_to_end(sock)
    assert received == b"" or received.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("consistency=eventual", "consistency"),
        ("timeout_ms=0", "timeout_ms"),
        ("timeout_ms=x", "timeout_ms"),
        ("timeout_ms=1e3", "timeout_ms"),
        ("timeout_ms=99999999999999999999", "timeout_ms"),
        ("consistencyy=stale", "consistencyy"),
    ],
)
def test_a_bad_query_parameter_is_400_and_named(node: NodeProcess, query: str, named: str) -> None:
    for path in (f"/v1/tasks/{uuid4()}", f"/v1/queues/{new_queue()}"):
        problem = call(node, "GET", f"{path}?{query}").problem(400, "invalid_request")
        assert named in problem["detail"]


def test_query_parameters_of_a_post_are_refused_and_not_ignored(node: NodeProcess) -> None:
    path = f"/v1/queues/{new_queue()}/leases?wait_ms=5"
    problem = call(node, "POST", path, LEASE).problem(400, "invalid_request")
    assert "wait_ms" in problem["detail"]


@pytest.mark.parametrize("task_id", ["7", "x" * 36, "0" * 37, "%00"])
def test_a_bad_task_id_is_400(node: NodeProcess, task_id: str) -> None:
    problem = call(node, "GET", f"/v1/tasks/{task_id}").problem(400, "invalid_request")
    assert "task id" in problem["detail"]
