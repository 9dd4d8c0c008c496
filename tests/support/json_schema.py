"""Check a JSON value against the part of JSON Schema that our OpenAPI document uses."""

import base64
import re
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

_KNOWN = {
    "$ref", "title", "description", "type", "properties", "required", "additionalProperties",
    "items", "anyOf", "enum", "format", "contentEncoding", "minimum", "maximum", "pattern",
    "default", "minItems", "maxItems", "minLength", "maxLength",
}  # fmt: skip
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def check(value: object, schema: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Fail unless a value matches a schema of an OpenAPI document, and no field is undeclared."""
    unknown = set(schema) - _KNOWN
    assert not unknown, f"the checker does not know {unknown}"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        check(value, document["components"]["schemas"][name], document)
        return
    if "anyOf" in schema:
        _check_any(value, schema["anyOf"], document)
        return
    if "type" in schema:
        kind = schema["type"]
        assert isinstance(value, _TYPES[kind]), f"{value!r} is no {kind}"
        assert kind == "boolean" or not isinstance(value, bool), f"{value!r} is no {kind}"
    if "enum" in schema:
        assert value in schema["enum"], f"{value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        _check_object(cast("dict[str, object]", value), schema, document)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            check(item, schema["items"], document)
    elif isinstance(value, str):
        _check_text(value, schema)
    elif isinstance(value, int):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value)


def _check_any(
    value: object, schemas: list[Mapping[str, Any]], document: Mapping[str, Any]
) -> None:
    for schema in schemas:
        try:
            check(value, schema, document)
        except AssertionError:
            continue
        return
    raise AssertionError(f"{value!r} matches none of {schemas}")


def _check_object(
    value: dict[str, object], schema: Mapping[str, Any], document: Mapping[str, Any]
) -> None:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        assert name in value, f"{name} is missing in {value}"
    for name, item in value.items():
        if name in properties:
            check(item, properties[name], document)
        else:
            rest = schema.get("additionalProperties")
            assert isinstance(rest, dict), f"{name} is not declared"
            check(item, cast("dict[str, Any]", rest), document)


def _check_text(value: str, schema: Mapping[str, Any]) -> None:
    if schema.get("format") == "uuid":
        assert str(UUID(value)) == value
    if schema.get("contentEncoding") == "base64":
        base64.b64decode(value, validate=True)
    if "pattern" in schema:
        assert re.search(schema["pattern"], value)
