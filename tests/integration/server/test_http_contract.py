"""The HTTP contract, word by word, on the leader and on a follower."""

import base64
import threading
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.json_schema import check
from tests.support.nodes import Answer, call, new_queue, state_hash, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess


@pytest.fixture(scope="module")
def document(cluster: LocalCluster) -> dict[str, Any]:
    answer = call(cluster.nodes[0], "GET", "/v1/openapi.json")
    assert answer.status == 200
    return answer.json


def checked(answer: Answer, document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    """Check an answer against the OpenAPI document and return its body."""
    responses = document["paths"][path][method.lower()]["responses"]
    response = responses.get(str(answer.status), responses["default"])
    kind = answer.headers["content-type"]
    check(answer.json, response["content"][kind]["schema"], document)
    return answer.json


def enqueue(node: NodeProcess, queue: str, *tasks: dict[str, object]) -> list[dict[str, Any]]:
    answer = call(node, "POST", f"/v1/queues/{queue}/tasks", {"tasks": list(tasks)})
    assert answer.status == 201, answer.body
    found: list[dict[str, Any]] = answer.json["tasks"]
    return found


def lease(node: NodeProcess, queue: str, **fields: object) -> list[dict[str, Any]]:
    body: dict[str, object] = {"count": 1, "lease_ms": 30_000, "worker": "w1", **fields}
    answer = call(node, "POST", f"/v1/queues/{queue}/leases", body)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["leases"]
    return found


def leased(node: NodeProcess, payload: str = "p", **task: object) -> dict[str, Any]:
    """Enqueue one task on a queue of its own and lease it."""
    queue = new_queue()
    enqueue(node, queue, {"payload": payload, **task})
    return lease(node, queue)[0]


def settle(node: NodeProcess, token: object, action: str, body: object = None) -> Answer:
    return call(node, "POST", f"/v1/leases/{token}/{action}", {} if body is None else body)


def task(node: NodeProcess, task_id: object, query: str = "") -> dict[str, Any]:
    answer = call(node, "GET", f"/v1/tasks/{task_id}{query}")
    assert answer.status == 200, answer.body
    return answer.json


# ---------------------------------------------------------------- enqueue


def test_enqueue_answers_201_with_id_state_and_created(
    node: NodeProcess, document: dict[str, Any]
) -> None:
    queue, given = new_queue(), str(uuid4())
    tasks = [{"payload": "a"}, {"id": given, "payload_base64": "AP8="}, {"delay_ms": 60_000}]
    answer = call(node, "POST", f"/v1/queues/{queue}/tasks", {"tasks": tasks})
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    checked(answer, document, "post", "/v1/queues/{queue}/tasks")
    first, second, third = answer.json["tasks"]
    assert list(first) == ["id", "state", "created"]
    assert UUID(first["id"]).version == 7
    assert second == {"id": given, "state": "ready", "created": True}
    assert third["state"] == "scheduled"


def test_the_same_id_again_is_the_same_task(node: NodeProcess) -> None:
    queue, id_ = new_queue(), str(uuid4())
    enqueue(node, queue, {"id": id_, "payload": "a"})
    again = enqueue(node, queue, {"id": id_, "payload": "a"})
    assert again == [{"id": id_, "state": "ready", "created": False}]
    counts = call(node, "GET", f"/v1/queues/{queue}").json["counts"]
    assert counts["ready"] == 1


def test_the_same_id_with_another_payload_is_a_conflict(node: NodeProcess) -> None:
    queue, id_ = new_queue(), str(uuid4())
    enqueue(node, queue, {"id": id_, "payload": "a"})
    body = {"tasks": [{"payload": "new"}, {"id": id_, "payload": "b"}]}
    call(node, "POST", f"/v1/queues/{queue}/tasks", body).problem(409, "conflict")
    assert call(node, "GET", f"/v1/queues/{queue}").json["enqueued"] == 1


def test_priority_and_attempts_max_are_kept(node: NodeProcess) -> None:
    queue = new_queue()
    late, early = enqueue(node, queue, {"priority": 9}, {"priority": 0, "attempts_max": 2})
    assert [each["task_id"] for each in lease(node, queue, count=2)] == [early["id"], late["id"]]
    status = task(node, early["id"])
    assert (status["priority"], status["attempts_max"]) == (0, 2)


# ---------------------------------------------------------------- lease


def test_lease_answers_with_token_attempt_and_payload(
    node: NodeProcess, document: dict[str, Any]
) -> None:
    queue = new_queue()
    (new,) = enqueue(node, queue, {"payload": "grüße"})
    body = {"count": 2, "lease_ms": 5_000, "worker": "w1"}
    answer = call(node, "POST", f"/v1/queues/{queue}/leases", body)
    assert answer.status == 200
    checked(answer, document, "post", "/v1/queues/{queue}/leases")
    (granted,) = answer.json["leases"]
    assert granted["task_id"] == new["id"]
    assert type(granted["token"]) is int and granted["token"] > 0
    assert granted["attempt"] == 1
    assert base64.b64decode(granted["payload_base64"]).decode() == "grüße"
    assert granted["lease_ms"] == 5_000


def test_tokens_grow_over_all_leases_of_the_cluster(cluster: LocalCluster) -> None:
    tokens = [leased(node)["token"] for node in cluster.nodes * 2]
    assert tokens == sorted(set(tokens))


def test_an_empty_poll_answers_with_no_leases_and_changes_nothing(
    cluster: LocalCluster, node: NodeProcess
) -> None:
    before = state_hash(cluster)
    assert lease(node, new_queue()) == []
    begun_at = time.monotonic()
    assert lease(node, new_queue(), wait_ms=150) == []
    assert time.monotonic() - begun_at >= 0.145
    assert state_hash(cluster) == before


def test_a_long_poll_is_answered_when_a_task_becomes_ready(
    cluster: LocalCluster, node: NodeProcess
) -> None:
    queue = new_queue()
    found: list[list[dict[str, Any]]] = []
    poll = threading.Thread(target=lambda: found.append(lease(node, queue, wait_ms=20_000)))
    poll.start()

    def waiters() -> float:
        page = call(cluster.wait_leader(), "GET", "/metrics").body.decode()
        return float(next(x for x in page.splitlines() if x.startswith("raftq_waiters")).split()[1])

    wait_until(lambda: waiters() >= 1, "the poll at the leader")
    (new,) = enqueue(cluster.nodes[0], queue, {"payload": "x"})
    poll.join(10.0)
    assert not poll.is_alive()
    assert [each["task_id"] for each in found[0]] == [new["id"]]


def test_a_repeated_request_id_returns_the_same_leases(cluster: LocalCluster) -> None:
    queue = new_queue()
    enqueue(cluster.nodes[0], queue, {"payload": "1"}, {"payload": "2"}, {"payload": "3"})
    first = lease(cluster.nodes[0], queue, count=2, request_id="same")
    for node in cluster.nodes:
        again = lease(node, queue, count=2, request_id="same", wait_ms=0)
        assert [each["token"] for each in again] == [each["token"] for each in first]
    assert len(lease(cluster.nodes[1], queue, count=2, request_id="other")) == 1
    again = lease(cluster.nodes[2], queue, count=2, request_id="same", wait_ms=5_000)
    assert len(again) == 2


# ---------------------------------------------------------------- settle


def test_ack_keeps_the_result(node: NodeProcess, document: dict[str, Any]) -> None:
    for body, text, encoded in (
        ({"result": "größe"}, "größe", base64.b64encode("größe".encode()).decode()),
        ({"result_base64": "AP8="}, None, "AP8="),
        ({}, None, None),
        (b"", None, None),
    ):
        granted = leased(node)
        answer = settle(node, granted["token"], "ack", body)
        assert answer.status == 200
        assert checked(answer, document, "post", "/v1/leases/{token}/ack") == {"state": "done"}
        status = call(node, "GET", f"/v1/tasks/{granted['task_id']}")
        fields = checked(status, document, "get", "/v1/tasks/{id}")
        assert (fields["state"], fields["result"]) == ("done", text)
        assert fields["result_base64"] == encoded
        assert fields["token"] == granted["token"] and fields["attempts"] == 1
        assert settle(node, granted["token"], "ack", body).json == {"state": "done"}


def test_fail_gives_another_attempt_until_the_task_is_dead(
    node: NodeProcess, document: dict[str, Any]
) -> None:
    queue = new_queue()
    (new,) = enqueue(node, queue, {"payload": "x", "attempts_max": 2})
    for attempt, state in ((1, "ready"), (2, "dead")):
        (granted,) = lease(node, queue, wait_ms=5_000)
        assert granted["attempt"] == attempt
        answer = settle(node, granted["token"], "fail", {"error": f"reason {attempt}"})
        fields = checked(answer, document, "post", "/v1/leases/{token}/fail")
        assert answer.status == 200
        assert fields == {"state": state}
    status = task(node, new["id"])
    assert (status["state"], status["failures"]) == ("dead", 2)
    assert status["errors"] == ["reason 1", "reason 2"]


def test_requeue_burns_no_attempt(node: NodeProcess, document: dict[str, Any]) -> None:
    queue = new_queue()
    enqueue(node, queue, {"payload": "x"})
    (granted,) = lease(node, queue)
    answer = settle(node, granted["token"], "requeue")
    assert checked(answer, document, "post", "/v1/leases/{token}/requeue") == {"state": "ready"}
    (granted,) = lease(node, queue)
    assert granted["attempt"] == 1
    delayed = settle(node, granted["token"], "requeue", {"delay_ms": 60_000})
    assert delayed.json == {"state": "scheduled"}


def test_extend_keeps_the_lease(node: NodeProcess, document: dict[str, Any]) -> None:
    granted = leased(node)
    answer = settle(node, granted["token"], "extend", {"lease_ms": 60_000})
    assert checked(answer, document, "post", "/v1/leases/{token}/extend") == {"state": "leased"}


ACTIONS: dict[str, dict[str, object]] = {
    "ack": {"result": "late"},
    "fail": {"error": "late"},
    "requeue": {},
    "extend": {"lease_ms": 1_000},
}


def test_a_superseded_lease_is_lost_and_changes_nothing(
    cluster: LocalCluster, node: NodeProcess
) -> None:
    queue = new_queue()
    enqueue(node, queue, {"payload": "x"})
    (old,) = lease(node, queue)
    settle(node, old["token"], "requeue")
    (new,) = lease(node, queue)
    before = state_hash(cluster)
    for action, body in ACTIONS.items():
        for token in (old["token"], 2**62):
            settle(node, token, action, body).problem(409, "lease_lost")
    assert state_hash(cluster) == before
    assert settle(node, new["token"], "ack").json == {"state": "done"}


def test_a_settled_lease_cannot_be_settled_another_way(node: NodeProcess) -> None:
    granted = leased(node)
    settle(node, granted["token"], "ack")
    for action in ("fail", "requeue", "extend"):
        settle(node, granted["token"], action, ACTIONS[action]).problem(409, "lease_lost")


# ---------------------------------------------------------------- reads


def test_an_unknown_task_is_404(node: NodeProcess) -> None:
    for query in ("", "?consistency=stale", "?consistency=linearizable"):
        call(node, "GET", f"/v1/tasks/{uuid4()}{query}").problem(404, "unknown_task")


def test_a_read_on_any_node_reflects_an_acknowledged_write(cluster: LocalCluster) -> None:
    for number in range(10):
        writer = cluster.nodes[number % 3]
        reader = cluster.nodes[(number + 1) % 3]
        queue = new_queue()
        (new,) = enqueue(writer, queue, {"payload": "x"})
        assert task(reader, new["id"])["state"] == "ready"
        counts = call(reader, "GET", f"/v1/queues/{queue}?consistency=linearizable").json["counts"]
        assert counts["ready"] == 1


def test_a_stale_read_says_how_far_it_has_applied(node: NodeProcess) -> None:
    queue = new_queue()
    (new,) = enqueue(node, queue, {"payload": "x"})
    path = f"/v1/tasks/{new['id']}?consistency=stale"
    wait_until(lambda: call(node, "GET", path).status == 200, "the entry on this node")
    for stale in (path, f"/v1/queues/{queue}?consistency=stale"):
        answer = call(node, "GET", stale)
        assert int(answer.headers["raftq-applied-index"]) > 0
    assert "raftq-applied-index" not in call(node, "GET", f"/v1/queues/{queue}").headers


def test_a_queue_has_a_count_for_each_state(node: NodeProcess, document: dict[str, Any]) -> None:
    queue = new_queue()
    enqueue(node, queue, {"payload": "1"}, {"payload": "2"}, {"delay_ms": 60_000})
    lease(node, queue)
    answer = call(node, "GET", f"/v1/queues/{queue}")
    fields = checked(answer, document, "get", "/v1/queues/{queue}")
    assert (fields["queue"], fields["enqueued"]) == (queue, 3)
    nonzero = {state: count for state, count in fields["counts"].items() if count}
    assert nonzero == {"ready": 1, "leased": 1, "scheduled": 1}
    states = ["scheduled", "blocked", "ready", "leased", "done", "dead", "cancelled", "expired"]
    assert sorted(fields["counts"]) == sorted(states)
    unused = call(node, "GET", f"/v1/queues/{new_queue()}").json
    assert sorted(unused["counts"]) == sorted(states) and not any(unused["counts"].values())


def test_cluster_is_the_view_of_the_node_that_answers(
    cluster: LocalCluster, node: NodeProcess, document: dict[str, Any]
) -> None:
    answer = call(node, "GET", "/v1/cluster")
    fields = checked(answer, document, "get", "/v1/cluster")
    assert answer.status == 200
    assert fields["node"] == node.id
    assert fields["leader"] == cluster.wait_leader().id
    assert fields["term"] > 0 and fields["commit_index"] >= fields["applied_index"] > 0
    members = {each["id"]: each for each in fields["nodes"]}
    assert sorted(members) == ["n1", "n2", "n3"]
    for other in cluster.nodes:
        member = members[other.id]
        assert member["native_address"] == other.native
        assert member["http_address"] == other.http
        assert member["peer_address"] == other.peer
        assert member["reachable"] is True
        assert member["role"] == ("leader" if other.id == fields["leader"] else "follower")


def test_probes_and_metrics(node: NodeProcess, document: dict[str, Any]) -> None:
    assert checked(call(node, "GET", "/livez"), document, "get", "/livez") == {"status": "ok"}
    ready = call(node, "GET", "/readyz?verbose=1")
    assert checked(ready, document, "get", "/readyz")["node"] == node.id
    metrics = call(node, "GET", "/metrics")
    assert metrics.status == 200
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"raftq_raft_term" in metrics.body


def test_every_documented_path_answers_and_every_other_is_404(
    node: NodeProcess, document: dict[str, Any]
) -> None:
    values = {"{queue}": new_queue(), "{token}": str(2**62), "{id}": str(uuid4())}
    for path, methods in document["paths"].items():
        for name, value in values.items():
            path = path.replace(name, value)
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            is_endless = method == "GET" and path.startswith("/v1/events")
            asked = f"{path}?nothing=1" if is_endless else path
            answer = call(node, method, asked, {} if method == "POST" else None)
            if method.lower() in methods:
                assert answer.status != 405, (method, path)
                assert b'"code":"unknown_method"' not in answer.body, (method, path)
            else:
                answer.problem(405, "unknown_method")
                allowed = sorted(answer.headers["allow"].split(", "))
                assert allowed == sorted(each.upper() for each in methods)
    for path in ("/", "/v1", "/v1/", "/v1/nothing", "/v1/queues/q/tasks/", "/v2/cluster"):
        call(node, "GET", path).problem(404, "unknown_method")
        call(node, "POST", path, {}).problem(404, "unknown_method")


def test_timeout_ms_is_accepted_everywhere_and_bounds_nothing_that_is_quick(
    node: NodeProcess,
) -> None:
    queue = new_queue()
    body: dict[str, object] = {"tasks": [{"payload": "x"}], "timeout_ms": 9_000}
    assert call(node, "POST", f"/v1/queues/{queue}/tasks", body).status == 201
    (granted,) = lease(node, queue, timeout_ms=9_000)
    for action, fields in reversed(ACTIONS.items()):
        if action in {"extend", "ack"}:
            answer = settle(node, granted["token"], action, {**fields, "timeout_ms": 9_000})
            assert answer.status == 200
    for path in (f"/v1/queues/{queue}", f"/v1/tasks/{granted['task_id']}"):
        assert call(node, "GET", f"{path}?timeout_ms=9000").status == 200
