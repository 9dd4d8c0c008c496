"""The OpenAPI document has every route, every field, and nothing else."""

import re
from typing import Any

import msgspec
import pytest

from raftq.protocol import limits
from raftq.protocol.options import KeyLimit, QueueChanges, Quota, TaskFilter
from raftq.server import http_bodies as bodies
from raftq.server.control import bodies as control_bodies
from raftq.server.control import options
from raftq.server.http import ROUTES
from raftq.server.http_handler import Handler
from raftq.server.openapi import document
from raftq.server.problems import CODES

DOCUMENT = document("1.2.3")
VALUES = {"{queue}": "q", "{token}": "7", "{id}": "x"}
METHODS = ("get", "post", "put", "delete", "patch")


def _concrete(path: str) -> str:
    for name, value in VALUES.items():
        path = path.replace(name, value)
    return path


def _references(value: object) -> set[str]:
    return set(
        re.findall(r'"\$ref":"#/components/schemas/(\w+)"', msgspec.json.encode(value).decode())
    )


def test_every_documented_path_has_one_route_and_its_methods() -> None:
    for path, methods in DOCUMENT["paths"].items():
        matching = [kind for pattern, kind in ROUTES if re.fullmatch(pattern, _concrete(path))]
        assert matching, path
        for method in methods:
            assert method in vars(matching[0]), (path, method)


def test_every_route_is_documented() -> None:
    paths = [_concrete(path) for path in DOCUMENT["paths"]]
    for pattern, kind in ROUTES:
        matching = [path for path in paths if re.fullmatch(pattern, path)]
        assert matching, pattern
        expected = {name for name in METHODS if name in vars(kind)}
        for path, methods in DOCUMENT["paths"].items():
            if _concrete(path) in matching[:1]:
                assert set(methods) == expected, path
    actions = [pattern for pattern, _ in ROUTES if "|" in pattern]
    assert actions
    for action in actions:
        assert len([path for path in paths if re.fullmatch(action, path)]) == action.count("|") + 1


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert _references(DOCUMENT) == set(schemas)


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_path_declares_its_parameters_and_answers(path: str) -> None:
    for operation in DOCUMENT["paths"][path].values():
        declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path))
        assert set(operation["responses"]) - {"200", "201"} == {"default"}
        assert operation["summary"]


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_the_query_parameters_of_the_document_are_those_that_are_let_in(path: str) -> None:
    kind = next(kind for pattern, kind in ROUTES if re.fullmatch(pattern, _concrete(path)))
    assert issubclass(kind, Handler)
    for method, operation in DOCUMENT["paths"][path].items():
        declared = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        let_in = kind.parameters_of.get(method.upper(), kind.parameters)
        assert let_in is None or declared == let_in, method
        assert all(each["schema"] for each in operation["parameters"])


def test_what_is_refused_by_the_types_is_refused_by_the_document() -> None:
    schemas: dict[str, Any] = DOCUMENT["components"]["schemas"]
    kinds: list[type[msgspec.Struct]] = [
        kind
        for module in (bodies, control_bodies, options)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == module.__name__
    ]
    kinds += (QueueChanges, KeyLimit, Quota, TaskFilter)
    for kind in kinds:
        schema = schemas[kind.__name__]
        assert set(schema["properties"]) == set(kind.__struct_fields__)
        assert schema["additionalProperties"] is False
    task = schemas["TaskBody"]["properties"]
    assert (task["priority"]["minimum"], task["priority"]["maximum"]) == (0, limits.PRIORITY_MAX)
    assert schemas["FailBody"]["required"] == ["error"]
    assert schemas["LeaseBody"]["required"] == ["worker"]
    assert schemas["Problem"]["properties"]["code"]["enum"] == CODES


def test_the_document_says_which_version_it_is_of() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"] == {"title": "raftq", "version": "1.2.3"}
