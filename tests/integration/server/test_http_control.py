"""The HTTP contract beyond the life cycle, word by word, on the leader and on a follower."""

import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from tests.support.json_schema import check
from tests.support.nodes import Answer, call, new_queue, wait_until

from raftq.cli.local_cluster import LocalCluster, NodeProcess

HOUR_MS = 3_600_000
ONE: dict[str, object] = {"tasks": [{}]}


class Api:
    """Calls one node, and checks each answer against the OpenAPI document."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.queue = new_queue()
        self._document = call(node, "GET", "/v1/openapi.json").json

    def __call__(
        self, method: str, path: str, body: object = None, *, query: str = "", **values: object
    ) -> dict[str, Any]:
        """Make a call that must succeed."""
        filled = path
        for name, value in {"queue": self.queue, **values}.items():
            filled = filled.replace(f"{{{name}}}", quote(str(value), safe=""))
        answer = call(self.node, method, filled + query, body)
        assert answer.status in (200, 201), (method, filled, answer.body)
        self.check(answer, method, path)
        return answer.json

    def check(self, answer: Answer, method: str, path: str) -> None:
        responses = self._document["paths"][path][method.lower()]["responses"]
        content = responses[str(answer.status)]["content"]["application/json"]
        check(answer.json, content["schema"], self._document)

    def raw(self, method: str, path: str, body: object = None) -> Answer:
        return call(self.node, method, path, body)

    def enqueue(self, *tasks: Mapping[str, object]) -> list[str]:
        answer = self("POST", "/v1/queues/{queue}/tasks", {"tasks": list(tasks)})
        return [each["id"] for each in answer["tasks"]]

    def lease(self, queue: str | None = None, **fields: object) -> list[dict[str, Any]]:
        # So long that none runs out: other tests look at the state of the same cluster.
        body = {"worker": "w1", "lease_ms": 12 * HOUR_MS, **fields}
        path = "/v1/queues/{queue}/leases"
        found: list[dict[str, Any]] = self("POST", path, body, queue=queue or self.queue)["leases"]
        return found

    def task(self, task_id: str, query: str = "") -> dict[str, Any]:
        return self("GET", "/v1/tasks/{id}", id=task_id, query=query)


@pytest.fixture
def api(node: NodeProcess) -> Api:
    return Api(node)


# ---------------------------------------------------------------- enqueue


def test_every_option_of_a_task_comes_back_as_it_was_given(api: Api) -> None:
    options: dict[str, object] = {
        "expires_at_ms": int(time.time() * 1_000) + HOUR_MS,
        "backoff": {"base_ms": 50, "kind": "linear", "max_ms": 500, "jitter_percent": 0},
        "crashes_max": 3,
        "unique_key": f"Größe/{api.queue}",
        "on_conflict": "existing",
        "order_key": "o",
        "limit_key": "l",
        "fair_key": "f",
        "depends_on": api.enqueue({}),
        "on_parent_failure": "wait",
        "result_ttl_ms": HOUR_MS,
    }
    (id_,) = api.enqueue({"payload": "x", "options": options})
    status = api.task(id_)
    assert status["options"] == options
    assert status["state"] == "blocked"
    (again,) = api.enqueue({"payload": "y", "options": {"unique_key": f"Größe/{api.queue}",
                                                        "on_conflict": "existing"}})  # fmt: skip
    assert again == id_


def test_options_that_are_all_defaults_make_a_plain_task(api: Api) -> None:
    (id_,) = api.enqueue({"options": {}})
    assert api.task(id_)["options"] is None


def test_an_instant_to_start_at_schedules_a_task(api: Api) -> None:
    at_ms = int(time.time() * 1_000) + HOUR_MS
    (id_,) = api.enqueue({"not_before_at_ms": at_ms})
    status = api.task(id_)
    assert (status["state"], status["not_before_at_ms"]) == ("scheduled", at_ms)


def test_tasks_of_several_queues_are_enqueued_together_or_not_at_all(api: Api) -> None:
    first, second = new_queue(), new_queue()
    parent, taken = str(uuid4()), f"k-{api.queue}"
    parts: list[dict[str, object]] = [
        {"queue": first, "tasks": [{"id": parent}]},
        {"queue": second, "tasks": [{"options": {"depends_on": [parent], "unique_key": taken}}]},
    ]
    answer = api("POST", "/v1/tasks", {"parts": parts})
    assert [each["state"] for each in answer["tasks"]] == ["ready", "blocked"]
    assert answer["index"] > 0
    parts[0]["tasks"] = [{"payload": "not created"}]
    api.raw("POST", "/v1/tasks", {"parts": parts}).problem(409, "key_taken")
    assert api("GET", "/v1/queues/{queue}", queue=first)["enqueued"] == 1


def test_an_unknown_parent_refuses_the_enqueue(api: Api) -> None:
    body = {"tasks": [{}, {"options": {"depends_on": [str(uuid4())]}}]}
    path = f"/v1/queues/{api.queue}/tasks"
    api.raw("POST", path, body).problem(404, "unknown_task")
    assert api("GET", "/v1/queues/{queue}")["enqueued"] == 0


# ---------------------------------------------------------------- leases


def test_an_ack_enqueues_its_follow_ups_or_does_nothing(api: Api) -> None:
    api.enqueue({})
    (lease,) = api.lease()
    following, key = new_queue(), f"k-{api.queue}"
    api.enqueue({"options": {"unique_key": key}})
    refused = {"queue": following, "tasks": [{"options": {"unique_key": key}}]}
    body: dict[str, object] = {"result": "r", "follow_ups": [refused]}
    path = f"/v1/leases/{lease['token']}/ack"
    api.raw("POST", path, body).problem(409, "key_taken")
    assert api.task(lease["task_id"])["state"] == "leased"
    body["follow_ups"] = [{"queue": following, "tasks": [{"payload": "next"}]}]
    assert api.raw("POST", path, body).json == {"state": "done"}
    assert api("GET", "/v1/queues/{queue}", queue=following)["counts"]["ready"] == 1


def test_progress_is_told_with_extend_and_shown(api: Api) -> None:
    (id_,) = api.enqueue({})
    (lease,) = api.lease()
    body = {"lease_ms": 30_000, "progress": "7 of 9"}
    api("POST", "/v1/leases/{token}/extend", body, token=lease["token"])
    status = api.task(id_)
    assert (status["progress"], status["worker"]) == ("7 of 9", "w1")
    api("POST", "/v1/leases/{token}/extend", {"lease_ms": 30_000}, token=lease["token"])
    assert api.task(id_)["progress"] == "7 of 9"


def test_a_failure_may_be_final_a_crash_or_wait_longer(api: Api) -> None:
    final, crashed, waiting = api.enqueue({"payload": "1"}, {"payload": "2"}, {"payload": "3"})
    leases = api.lease(count=3)
    bodies: list[dict[str, object]] = [
        {"error": "never", "is_final": True},
        {"error": "killed", "is_crash": True},
        {"error": "busy", "delay_ms": HOUR_MS},
    ]
    states = [
        api("POST", "/v1/leases/{token}/fail", body, token=lease["token"])["state"]
        for lease, body in zip(leases, bodies, strict=True)
    ]
    assert states == ["dead", "ready", "scheduled"]
    told = [api.task(each) for each in (final, crashed, waiting)]
    assert [(each["failures"], each["crashes"]) for each in told] == [(1, 0), (0, 1), (1, 0)]
    (attempt,) = told[0]["history"]
    assert (attempt["number"], attempt["worker"], attempt["error"]) == (1, "w1", "never")
    assert attempt["ended_at_ms"] >= attempt["began_at_ms"] > 0


# ---------------------------------------------------------------- one task


def test_a_waiting_task_is_cancelled_and_a_repetition_says_so(api: Api) -> None:
    (id_,) = api.enqueue({})
    for _ in range(2):
        answer = api("POST", "/v1/tasks/{id}/cancel", {}, id=id_)
        assert answer["state"] == "cancelled" and answer["index"] > 0
    assert api.lease() == []


def test_a_cancelled_run_hears_so_and_its_result_is_refused(api: Api) -> None:
    (id_,) = api.enqueue({})
    (lease,) = api.lease()
    api("POST", "/v1/tasks/{id}/cancel", {}, id=id_)
    extend = api.raw("POST", f"/v1/leases/{lease['token']}/extend", {"lease_ms": 1_000})
    extend.problem(409, "cancelled")
    late = api.raw("POST", f"/v1/leases/{lease['token']}/ack", {"result": "late"})
    late.problem(409, "cancelled")
    assert api.task(id_)["result"] is None


def test_what_is_over_is_neither_cancelled_nor_edited(api: Api) -> None:
    (id_,) = api.enqueue({})
    (lease,) = api.lease()
    api("POST", "/v1/leases/{token}/ack", {}, token=lease["token"])
    for answer in (
        api.raw("POST", f"/v1/tasks/{id_}/cancel"),
        api.raw("PATCH", f"/v1/tasks/{id_}", {"priority": 1}),
    ):
        problem = answer.problem(409, "conflict")
        assert problem["state"] == "done" and "done" in problem["detail"]


def test_what_is_not_there_is_404(api: Api) -> None:
    id_ = uuid4()
    for method, path in (
        ("POST", f"/v1/tasks/{id_}/cancel"),
        ("POST", f"/v1/tasks/{id_}/confirm"),
        ("GET", f"/v1/tasks/{id_}/why"),
        ("GET", f"/v1/tasks/{id_}/result?wait_ms=1000"),
    ):
        api.raw(method, path, {} if method == "POST" else None).problem(404, "unknown_task")
    api.raw("PATCH", f"/v1/tasks/{id_}", {"priority": 1}).problem(404, "unknown_task")
    api.raw("GET", "/v1/schedules/nothing").problem(404, "unknown_schedule")


def test_a_task_is_edited_while_it_waits(api: Api) -> None:
    late, early = api.enqueue({"payload": "1"}, {"payload": "2"})
    edited = api("PATCH", "/v1/tasks/{id}", {"priority": 0}, id=early)
    assert edited["state"] == "ready"
    assert [each["task_id"] for each in api.lease(count=1)] == [early]
    assert api("PATCH", "/v1/tasks/{id}", {"delay_ms": HOUR_MS}, id=late)["state"] == "scheduled"
    for body, named in (({}, "none is given"), ({"delay_ms": 1, "not_before_at_ms": 1}, "both")):
        problem = api.raw("PATCH", f"/v1/tasks/{late}", body).problem(400, "invalid_request")
        assert named in problem["detail"]


def test_a_prepared_task_runs_when_it_is_confirmed(api: Api) -> None:
    (id_,) = api.enqueue({"options": {"confirm_within_ms": HOUR_MS}})
    assert api.lease() == []
    for _ in range(2):
        assert api("POST", "/v1/tasks/{id}/confirm", {}, id=id_)["state"] == "ready"
    assert len(api.lease()) == 1


def test_why_names_the_rule_that_holds_a_task_back(api: Api) -> None:
    (parent,) = api.enqueue({"delay_ms": HOUR_MS})
    (child,) = api.enqueue({"options": {"depends_on": [parent]}})
    reasons = {id_: api("GET", "/v1/tasks/{id}/why", id=id_) for id_ in (parent, child)}
    assert [each["reasons"][0]["rule"] for each in reasons.values()] == ["not_before", "parents"]
    assert reasons[child]["state"] == "blocked" and reasons[child]["reasons"][0]["text"]


# ---------------------------------------------------------------- results


def test_a_result_is_waited_for_on_any_node(cluster: LocalCluster, api: Api) -> None:
    (id_,) = api.enqueue({})
    found: list[dict[str, Any]] = []

    def wait() -> None:
        found.append(api("GET", "/v1/tasks/{id}/result", id=id_, query="?wait_ms=30000"))

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: _waiting(api.node) >= 1, "the call that waits")
    other = Api(next(each for each in cluster.nodes if each is not api.node))
    (lease,) = other.lease(api.queue)
    other("POST", "/v1/leases/{token}/ack", {"result": "größe"}, token=lease["token"])
    waiting.join(10.0)
    assert not waiting.is_alive()
    assert (found[0]["state"], found[0]["result"]) == ("done", "größe")
    assert found[0]["applied_index"] > 0 and found[0]["lag_ms"] is None


def _waiting(node: NodeProcess) -> float:
    page = call(node, "GET", "/metrics").body.decode().splitlines()
    return float(next(x for x in page if x.startswith("raftq_results_waiting")).split()[1])


def test_a_wait_in_vain_ends_with_the_present_state(api: Api) -> None:
    (id_,) = api.enqueue({})
    begun_at = time.monotonic()
    status = api("GET", "/v1/tasks/{id}/result", id=id_, query="?wait_ms=150")
    assert status["state"] == "ready"
    assert time.monotonic() - begun_at >= 0.145


def test_any_node_answers_what_is_as_new_as_a_log_index(cluster: LocalCluster, api: Api) -> None:
    body = {"tasks": [{"payload": "x"}]}
    answer = api("POST", "/v1/queues/{queue}/tasks", body)
    id_, index = answer["tasks"][0]["id"], answer["index"]
    for node in cluster.nodes:
        query = f"?consistency=stale&min_index={index}"
        status = Api(node).task(id_, query)
        assert status["applied_index"] >= index
        assert 0 <= status["lag_ms"] < 10_000
    path = f"/v1/tasks/{id_}?consistency=stale&min_index={index + 10**9}&timeout_ms=100"
    api.raw("GET", path).problem(503, "not_ready")


# ---------------------------------------------------------------- many tasks


def test_tasks_are_listed_page_by_page_and_filtered(api: Api) -> None:
    ids = api.enqueue(*({"priority": number % 2} for number in range(5)))
    api.lease(count=1)
    base = f"?queue={api.queue}"
    first = api("GET", "/v1/tasks", query=f"{base}&count_max=3")
    assert [each["id"] for each in first["tasks"]] == ids[:3]
    assert first["next_after"] == first["tasks"][-1]["sequence"]
    rest = api("GET", "/v1/tasks", query=f"{base}&after={first['next_after']}")
    assert [each["id"] for each in rest["tasks"]] == ids[3:] and rest["next_after"] is None
    odd = api("GET", "/v1/tasks", query=f"{base}&priority=1&state=ready&state=dead")
    assert [each["id"] for each in odd["tasks"]] == ids[1::2]
    counted = api("GET", "/v1/tasks", query=f"{base}&count_max=0&state=ready")
    assert (counted["tasks"], counted["matched"]) == ([], 4)


def test_keys_with_any_character_are_found(api: Api) -> None:
    key = f"a/b c&d=ä {api.queue}"
    (id_,) = api.enqueue({"options": {"order_key": key}})
    found = api("GET", "/v1/tasks", query=f"?order_key={quote(key, safe='')}")
    assert [each["id"] for each in found["tasks"]] == [id_]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("state=asleep", "asleep"),
        ("priority=10", "priority"),
        ("priority=high", "priority"),
        ("queue=a%20b", "queue"),
        ("queue=a&queue=b", "queue is given 2 times"),
        ("count_max=1001", "count_max"),
        ("after=-1", "after"),
        ("unique_key=", "unique_key"),
        ("states=ready", "states"),
    ],
)
def test_a_bad_filter_is_400_and_named(api: Api, query: str, named: str) -> None:
    problem = api.raw("GET", f"/v1/tasks?{query}").problem(400, "invalid_request")
    assert named in problem["detail"]


def test_a_sweep_counts_first_and_then_goes_on_in_parts(api: Api) -> None:
    api.enqueue(*({"payload": str(number)} for number in range(5)))
    sweep: dict[str, object] = {
        "action": "cancel", "filter": {"queue": api.queue}, "tasks_max": 3,
    }  # fmt: skip
    counted = api("POST", "/v1/sweeps", {**sweep, "dry_run": True})
    assert (counted["tasks"], counted["until"], counted["index"]) == (5, None, None)
    assert api("GET", "/v1/queues/{queue}")["counts"]["ready"] == 5
    first = api("POST", "/v1/sweeps", sweep)
    assert first["tasks"] == 3 and first["index"] > 0
    going_on = {"after": first["next_after"], "until": first["until"]}
    second = api("POST", "/v1/sweeps", {**sweep, **going_on})
    assert (second["tasks"], second["next_after"]) == (2, None)


def test_dead_tasks_are_redriven_moved_and_discarded(api: Api) -> None:
    api.enqueue({"payload": "1"}, {"payload": "2"})
    for lease in api.lease(count=2):
        body = {"error": "no", "is_final": True}
        api("POST", "/v1/leases/{token}/fail", body, token=lease["token"])
    dead = {"queue": api.queue, "states": ["dead"]}
    other = new_queue()
    moved = {"action": "move", "filter": dead, "to_queue": other, "tasks_max": 1}
    assert api("POST", "/v1/sweeps", moved)["tasks"] == 1
    redriven = {"action": "redrive", "filter": {"queue": api.queue}}
    assert api("POST", "/v1/sweeps", {**redriven, "dry_run": True})["tasks"] == 1
    assert api("POST", "/v1/sweeps", redriven)["tasks"] == 1
    assert api("GET", "/v1/queues/{queue}")["counts"]["ready"] == 1
    discarded = {"action": "discard", "filter": {"queue": other}}
    assert api("POST", "/v1/sweeps", discarded)["tasks"] == 1
    assert api("GET", "/v1/queues/{queue}", queue=other)["counts"]["cancelled"] == 1


def test_a_dry_run_counts_only_what_the_sweep_would_change(api: Api) -> None:
    api.enqueue({"payload": "1"}, {"payload": "2"})
    for action, count in (("cancel", 2), ("move", 2), ("redrive", 0), ("discard", 0)):
        body = {"action": action, "filter": {"queue": api.queue}, "dry_run": True}
        assert api("POST", "/v1/sweeps", body)["tasks"] == count, action
    nothing = {"action": "discard", "filter": {"states": ["ready"]}, "dry_run": True}
    assert api("POST", "/v1/sweeps", nothing)["tasks"] == 0


def test_a_purge_leaves_what_has_begun(api: Api) -> None:
    api.enqueue({"payload": "1"}, {"payload": "2"}, {"delay_ms": HOUR_MS})
    api.lease(count=1)
    counted = api("POST", "/v1/queues/{queue}/purge", {"dry_run": True})
    assert counted["tasks"] == 2
    assert api("POST", "/v1/queues/{queue}/purge")["tasks"] == 2
    counts = api("GET", "/v1/queues/{queue}")["counts"]
    assert {state: count for state, count in counts.items() if count} == {
        "leased": 1,
        "cancelled": 2,
    }


# ---------------------------------------------------------------- what is set


def test_a_queue_is_paused_and_goes_on(api: Api) -> None:
    api.enqueue({})
    settings = "/v1/queues/{queue}/settings"
    assert api("GET", settings) == {}
    assert api("PATCH", settings, {"paused": True, "concurrency": 2})["is_changed"] is True
    assert api("PATCH", settings, {"paused": True})["is_changed"] is False
    assert api("GET", settings) == {"paused": True, "concurrency": 2}
    assert api.lease() == []
    api("PATCH", settings, {"paused": False, "concurrency": None})
    assert api("GET", settings) == {}
    assert len(api.lease()) == 1
    shown = {each["queue"]: each for each in api("GET", "/v1/queues")["queues"]}
    assert shown[api.queue]["counts"]["leased"] == 1


def test_the_default_of_a_queue_holds_for_tasks_that_say_nothing(api: Api) -> None:
    api("PATCH", "/v1/queues/{queue}/settings", {"attempts_max": 1})
    (id_,) = api.enqueue({})
    assert api.task(id_)["attempts_max"] == 1
    (lease,) = api.lease()
    answer = api("POST", "/v1/leases/{token}/fail", {"error": "no"}, token=lease["token"])
    assert answer["state"] == "dead"


def test_a_queue_that_is_full_says_when_to_try_again(api: Api) -> None:
    api("PATCH", "/v1/queues/{queue}/settings", {"tasks_max": 1})
    api.enqueue({})
    path = f"/v1/queues/{api.queue}/tasks"
    refused = api.raw("POST", path, ONE)
    assert refused.problem(503, "queue_full")["retry_after_ms"] > 0
    slow = new_queue()
    body = {"enqueue_rate": {"count": 1, "per_ms": HOUR_MS}}
    api("PATCH", "/v1/queues/{queue}/settings", body, queue=slow)
    path = f"/v1/queues/{slow}/tasks"
    assert api.raw("POST", path, ONE).status == 201
    problem = api.raw("POST", path, ONE).problem(429, "rate_limited")
    assert problem["retry_after_ms"] > 1_000


def test_a_key_is_limited_over_all_queues(api: Api) -> None:
    key = f"host/{api.queue}"
    assert api("PUT", "/v1/limits/{key}", {"concurrency": 1}, key=key)["is_changed"] is True
    api.enqueue({"options": {"limit_key": key}}, {"options": {"limit_key": key}})
    assert len(api.lease(count=2)) == 1
    found = {each["key"]: each for each in api("GET", "/v1/limits")["limits"]}
    assert found[key]["limit"] == {"concurrency": 1}
    assert (found[key]["leased"], found[key]["parked"]) == (1, 1)
    assert api("DELETE", "/v1/limits/{key}", key=key)["is_changed"] is True
    assert len(api.lease(count=2)) == 1


def test_the_quota_of_the_cluster_is_read_as_it_was_put(api: Api) -> None:
    quota = {"tasks_max": 1_000_000, "enqueue_rate": {"count": 100_000, "burst": 1_000_000}}
    try:
        assert api("PUT", "/v1/quota", quota)["is_changed"] is True
        assert api("GET", "/v1/quota") == quota
    finally:
        api("PUT", "/v1/quota", {})
    assert api("GET", "/v1/quota") == {}


def test_a_schedule_is_put_read_put_again_and_deleted(api: Api) -> None:
    name = f"s-{api.queue}"
    schedule: dict[str, object] = {
        "queue": api.queue,
        "payload": "nightly",
        "cron": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "overlap": "skip",
        "options": {"fair_key": "f"},
    }
    path = "/v1/schedules/{name}"
    assert api("PUT", path, schedule, name=name)["is_changed"] is True
    found = api("GET", path, name=name)
    assert found["schedule"] == schedule
    assert found["next_at_ms"] > time.time() * 1_000 and found["runs"] == 0
    assert api("PUT", path, found["schedule"], name=name)["is_changed"] is False
    assert name in [each["name"] for each in api("GET", "/v1/schedules")["schedules"]]
    assert [api("DELETE", path, name=name)["is_changed"] for _ in range(2)] == [True, False]
    api.raw("GET", f"/v1/schedules/{name}").problem(404, "unknown_schedule")


@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        ({}, "queue"),
        ({"queue": "q"}, "cron"),
        ({"queue": "q", "cron": "* * * * *", "every_ms": 1_000}, "every_ms"),
        ({"queue": "q", "cron": "61 * * * *"}, "61"),
        ({"queue": "q", "cron": "* * * * *", "timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"queue": "q", "every_ms": 999}, "every_ms"),
        ({"queue": "q", "every_ms": 1_000, "options": {"depends_on": [str(uuid4())]}}, "depend"),
    ],
    ids=["nothing", "no tick", "both", "cron", "timezone", "too often", "parents"],
)
def test_a_bad_schedule_is_400_and_says_what_is_wrong(
    api: Api, schedule: dict[str, object], named: str
) -> None:
    problem = api.raw("PUT", "/v1/schedules/bad", schedule).problem(400, "invalid_request")
    assert named in problem["detail"]
    api.raw("GET", "/v1/schedules/bad").problem(404, "unknown_schedule")


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("PATCH", "/v1/queues/q/settings", {"pause": True}, "pause"),
        ("PATCH", "/v1/queues/q/settings", {"concurrency": 0}, "concurrency"),
        ("PATCH", "/v1/queues/q/settings", {"rate": {"count": 0}}, "rate"),
        ("PUT", "/v1/limits/k", {"concurrency": 0}, "concurrency"),
        ("PUT", f"/v1/limits/{'k' * 257}", {}, "256 characters"),
        ("PUT", "/v1/quota", {"tasks_max": -1}, "tasks_max"),
        ("POST", "/v1/sweeps", {}, "action"),
        ("POST", "/v1/sweeps", {"action": "eat"}, "eat"),
        ("POST", "/v1/sweeps", {"action": "move", "filter": {}}, "to_queue"),
        ("POST", "/v1/tasks", {"parts": []}, "parts"),
        ("POST", "/v1/queues/q/purge", {"tasks_max": 1_001}, "tasks_max"),
        ("PUT", "/v1/schedules/a%20b", {"queue": "q", "every_ms": 1_000}, "schedule"),
        ("POST", "/v1/queues/q/tasks", {"tasks": [{"options": {"order_key": ""}}]}, "order_key"),
        ("POST", "/v1/queues/q/tasks", {"tasks": [{"options": {"unique": "x"}}]}, "unique"),
    ],
)
def test_bad_input_is_400_and_named(
    api: Api, method: str, path: str, body: object, named: str
) -> None:
    problem = api.raw(method, path, body).problem(400, "invalid_request")
    assert named in problem["detail"]
