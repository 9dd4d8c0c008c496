"""The OpenAPI document, generated from the types of the requests and the answers."""

from typing import Any, Final

import msgspec

from raftq.server.operations import OPERATIONS, Operation, path_schemas, query_schemas
from raftq.server.problems import CODES


def document(version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this version."""
    types = [each.body for each in OPERATIONS] + [each.answer for each in OPERATIONS]
    _, schemas = msgspec.json.schema_components(
        [kind for kind in types if kind is not None], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _described(each)
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


def _described(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation.status, operation.answer),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": _reference(operation.body)}}
        described["requestBody"] = {"content": content}
    return described


def _reference(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _responses(status: int, answer: type[msgspec.Struct] | None) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done"}
    if answer is not None:
        done["content"] = {"application/json": {"schema": _reference(answer)}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): done, "default": {"description": "An error", "content": problem}}


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in path_schemas(operation.path).items()
    ]
    in_query = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in query_schemas(operation.query).items()
    ]
    return in_path + in_query
