"""The OpenAPI document, generated from the types of the requests and the answers."""

from typing import Any, Final

import msgspec

from raftq.protocol import limits
from raftq.protocol.messages import NAME_PATTERN, Consistency
from raftq.server import http_answers as answers
from raftq.server import http_bodies as bodies
from raftq.server.problems import CODES

_POSTS: Final = (
    (
        "/v1/queues/{queue}/tasks",
        bodies.EnqueueBody,
        "Enqueue tasks, all or none",
        201,
        answers.EnqueuedAnswer,
    ),
    ("/v1/queues/{queue}/leases", bodies.LeaseBody, "Lease tasks", 200, answers.LeasesAnswer),
    (
        "/v1/leases/{token}/ack",
        bodies.AckBody,
        "Record a task as done",
        200,
        answers.SettledAnswer,
    ),
    ("/v1/leases/{token}/fail", bodies.FailBody, "Record a failed run", 200, answers.SettledAnswer),
    (
        "/v1/leases/{token}/requeue",
        bodies.RequeueBody,
        "Give a lease back",
        200,
        answers.SettledAnswer,
    ),
    ("/v1/leases/{token}/extend", bodies.ExtendBody, "Prolong a lease", 200, answers.SettledAnswer),
    ("/v1/cluster/members", bodies.AddMemberBody, "Add a node", 200, answers.ClusterAnswer),
    (
        "/v1/cluster/transfer-leader",
        bodies.TransferLeaderBody,
        "Hand leadership over",
        200,
        answers.ClusterAnswer,
    ),
)
_DELETES: Final = (("/v1/cluster/members/{member}", "Remove a member", answers.ClusterAnswer),)
_GETS: Final = (
    ("/v1/tasks/{id}", "Read one task", answers.TaskAnswer),
    ("/v1/queues/{queue}", "Read the counts of a queue", answers.QueueAnswer),
    ("/v1/cluster", "What the answering node knows about the cluster", answers.ClusterAnswer),
    ("/v1/backup", "Take a backup; the answer is the file", None),
    ("/v1/openapi.json", "This document", None),
    ("/livez", "Does the event loop answer?", answers.LiveAnswer),
    ("/readyz", "Does this node serve calls?", answers.ReadyAnswer),
    ("/metrics", "Prometheus metrics", None),
)
_READS: Final = ("/v1/tasks/{id}", "/v1/queues/{queue}", "/v1/backup")
"""Paths that take `consistency` and `timeout_ms` in the query string."""


def document(version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this version."""
    types: list[type[msgspec.Struct]] = [
        *(body for _, body, _, _, _ in _POSTS),
        *(answer for _, _, _, _, answer in _POSTS),
        *(answer for _, _, answer in _GETS if answer is not None),
    ]
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for path, body, summary, status, answer in _POSTS:
        paths[path] = {
            "post": {
                "summary": summary,
                "parameters": _parameters(path),
                "requestBody": {"content": {"application/json": {"schema": _reference(body)}}},
                "responses": _responses(status, answer),
            }
        }
    for path, summary, answer in _DELETES:
        paths[path] = {
            "delete": {
                "summary": summary,
                "parameters": _parameters(path) + _read_parameters()[1:],
                "responses": _responses(200, answer),
            }
        }
    for path, summary, get_answer in _GETS:
        parameters = _parameters(path) + (_read_parameters() if path in _READS else [])
        paths[path] = {
            "get": {
                "summary": summary,
                "parameters": parameters,
                "responses": _responses(200, get_answer),
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "raftq", "version": version},
        "paths": paths,
        "components": {"schemas": {**schemas, "Problem": _PROBLEM}},
    }


_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457 problem details",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": CODES},
        "detail": {"type": "string"},
        "retry_after_ms": {"type": "integer"},
    },
}


def _reference(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _responses(status: int, answer: type[msgspec.Struct] | None) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done"}
    if answer is not None:
        done["content"] = {"application/json": {"schema": _reference(answer)}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): done, "default": {"description": "An error", "content": problem}}


def _read_parameters() -> list[dict[str, Any]]:
    consistency = {"type": "string", "enum": [each.value for each in Consistency]}
    timeout_ms = {"type": "integer", "minimum": 1, "maximum": limits.TIMEOUT_MS_MAX}
    return [
        {"name": "consistency", "in": "query", "required": False, "schema": consistency},
        {"name": "timeout_ms", "in": "query", "required": False, "schema": timeout_ms},
    ]


def _parameters(path: str) -> list[dict[str, Any]]:
    kinds = {
        "{queue}": {"type": "string", "pattern": NAME_PATTERN.replace(r"\Z", "$")},
        "{member}": {"type": "string", "pattern": NAME_PATTERN.replace(r"\Z", "$")},
        "{token}": {"type": "integer", "minimum": 1, "maximum": limits.TOKEN_MAX},
        "{id}": {"type": "string", "format": "uuid"},
    }
    return [
        {"name": name[1:-1], "in": "path", "required": True, "schema": schema}
        for name, schema in kinds.items()
        if name in path
    ]
