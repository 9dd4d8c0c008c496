"""The OpenAPI document, generated from the types that decode the requests."""

from typing import Any, Final

import msgspec

from raftq.protocol import limits
from raftq.server import http_bodies as bodies
from raftq.server.problems import STATUS_OF_CODE

_BODIES: Final = (
    bodies.EnqueueBody,
    bodies.LeaseBody,
    bodies.AckBody,
    bodies.FailBody,
    bodies.RequeueBody,
    bodies.ExtendBody,
)
_POSTS: Final = (
    ("/v1/queues/{queue}/tasks", bodies.EnqueueBody, "Enqueue tasks, all or none", 201),
    ("/v1/queues/{queue}/leases", bodies.LeaseBody, "Lease tasks", 200),
    ("/v1/leases/{token}/ack", bodies.AckBody, "Record a task as done", 200),
    ("/v1/leases/{token}/fail", bodies.FailBody, "Record a failed run", 200),
    ("/v1/leases/{token}/requeue", bodies.RequeueBody, "Give a lease back", 200),
    ("/v1/leases/{token}/extend", bodies.ExtendBody, "Prolong a lease", 200),
)
_GETS: Final = (
    ("/v1/tasks/{id}", "Read one task"),
    ("/v1/queues/{queue}", "Read the counts of a queue"),
    ("/v1/cluster", "What the answering node knows about the cluster"),
    ("/v1/openapi.json", "This document"),
    ("/livez", "Does the event loop answer?"),
    ("/readyz", "Does this node serve calls?"),
    ("/metrics", "Prometheus metrics"),
)


def document(version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this version."""
    _, schemas = msgspec.json.schema_components(_BODIES, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for path, body, summary, status in _POSTS:
        paths[path] = {
            "post": {
                "summary": summary,
                "parameters": _parameters(path),
                "requestBody": {"content": {"application/json": {"schema": _reference(body)}}},
                "responses": _responses(status),
            }
        }
    for path, summary in _GETS:
        paths[path] = {
            "get": {
                "summary": summary,
                "parameters": _parameters(path),
                "responses": _responses(200),
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
        "code": {"type": "string", "enum": [*STATUS_OF_CODE, "outcome_unknown", "internal"]},
        "detail": {"type": "string"},
        "retry_after_ms": {"type": "integer"},
    },
}


def _reference(body: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{body.__name__}"}


def _responses(status: int) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {"description": "Done"},
        "default": {"description": "An error", "content": problem},
    }


def _parameters(path: str) -> list[dict[str, Any]]:
    kinds = {
        "{queue}": {"type": "string", "maxLength": limits.NAME_CHARACTERS_MAX},
        "{token}": {"type": "integer", "minimum": 1, "maximum": limits.TOKEN_MAX},
        "{id}": {"type": "string", "format": "uuid"},
    }
    return [
        {"name": name[1:-1], "in": "path", "required": True, "schema": schema}
        for name, schema in kinds.items()
        if name in path
    ]
