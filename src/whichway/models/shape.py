"""How long the end of a JSON answer can become: about the shortest value of a schema, and the longest that may stay open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from whichway.core.schema import choices, kinds

DEPTH = 8  # levels of a schema that are looked at; one that refers to itself has no last
Schema = Mapping[str, Any]


def opened(schema: Any) -> Any:
    """Return a value that holds about all that can be left to write at any point of an answer.

    The shortest value with one path open: a list on it has an item, an object its required fields, and an optional one is
    there where it is the longest. Of a choice, the longest.
    """
    return _opened(schema, schema if isinstance(schema, Mapping) else {}, DEPTH)


def _opened(schema: Any, root: Schema, depth: int) -> Any:
    if depth <= 0:
        return None
    branches = choices(schema, root)
    if len(branches) > 1:
        return max((_opened(one, root, depth - 1) for one in branches), key=_size)
    one = branches[0]
    allowed = _kinds(one)
    if "array" in allowed:
        least = int(one.get("minItems", 0))
        return [
            *[_shortest(one.get("items"), root, depth - 1)] * (least - 1),
            _opened(one.get("items"), root, depth - 1),
        ]
    if "object" not in allowed:
        return _shortest(one, root, depth)
    found = dict(_shortest({**one, "type": "object"}, root, depth))
    wider = [{**found, name: _opened(inner, root, depth - 1)} for name, inner in one.get("properties", {}).items()]
    return max([found, *wider], key=_size)


def _shortest(schema: Any, root: Schema, depth: int) -> Any:
    """Return about the shortest value that keeps a schema; of several constants the longest, as any of them may be begun."""
    if depth <= 0:
        return None
    branches = choices(schema, root)
    if len(branches) > 1:
        return min((_shortest(one, root, depth - 1) for one in branches), key=_size)
    return _shortest_of_one(branches[0], root, depth)


def _shortest_of_one(schema: Schema, root: Schema, depth: int) -> Any:
    allowed = _kinds(schema)
    if "const" in allowed:
        return max(schema.get("enum", [schema.get("const")]), key=_size)
    if not allowed:
        return None
    text = "x" * max(int(schema.get("minLength", 0)), 10 if "format" in schema else 0)
    items = [_shortest(schema.get("items"), root, depth - 1)] * int(schema.get("minItems", 0))
    plain: dict[str, Any] = {"null": None, "boolean": True, "integer": 0, "number": 0, "string": text, "array": items}
    for name, value in plain.items():
        if name in allowed:
            return value
    properties, required = schema.get("properties", {}), schema.get("required", ())
    return {name: _shortest(one, root, depth - 1) for name, one in properties.items() if name in required}


def _kinds(schema: Schema) -> tuple[str, ...]:
    """Return the types a schema allows, or ('const',); none where it says nothing."""
    if "const" in schema or "enum" in schema:
        return ("const",)
    return (tuple(kinds(schema)) or ("object",)) if schema else ()


def _size(value: Any) -> int:
    return len(json.dumps(value))
