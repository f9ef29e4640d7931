"""JSON Schemas as they are read here: what a reference stands for, and among which schemas a value may choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEPTH = 8  # references and choices that are followed in a row: one that stands for itself has no last
Schema = Mapping[str, Any]


def followed(schema: Any, root: Schema) -> dict[str, Any]:
    """Return a schema with what its reference ('#/$defs/person') stands for, and with `allOf` put together.

    What stands beside a reference, as its description does, wins. A schema that says nothing (`true`) is empty.
    """
    return _followed(schema, root, DEPTH)


def choices(schema: Any, root: Schema) -> list[dict[str, Any]]:
    """Return the schemas among which a value chooses (`anyOf`, `oneOf`), each with what holds for all; or the only one."""
    return _choices(schema, root, DEPTH)


def kinds(schema: Schema) -> list[str]:
    """Return the types that a schema allows; none where it names none."""
    kind = schema.get("type", ())
    return [kind] if isinstance(kind, str) else list(kind)


def _followed(schema: Any, root: Schema, depth: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or depth <= 0:
        return {}
    own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
    parts = [_followed(one, root, depth - 1) for one in schema.get("allOf", ())]
    if "$ref" in schema:
        parts.insert(0, _followed(_referred(str(schema["$ref"]), root), root, depth - 1))
    return _together([*parts, own])


def _choices(schema: Any, root: Schema, depth: int) -> list[dict[str, Any]]:
    whole = _followed(schema, root, depth)
    branches = [*whole.get("anyOf", ()), *whole.get("oneOf", ())]
    if not branches or depth <= 0:
        return [whole]
    shared = {key: value for key, value in whole.items() if key not in ("anyOf", "oneOf")}
    return [_together([shared, inner]) for one in branches for inner in _choices(one, root, depth - 1)]


def _together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one schema of several that hold at once: all fields, all that is required, of the rest the last word."""
    made: dict[str, Any] = {}
    for part in parts:
        fields = {**made.get("properties", {}), **part.get("properties", {})}
        required = list(dict.fromkeys([*made.get("required", ()), *part.get("required", ())]))
        made |= part
        made |= {"properties": fields} if fields else {}
        made |= {"required": required} if required else {}
    return made


def _referred(reference: str, root: Schema) -> Any:
    """Return what a JSON pointer within the schema stands for; None for one that leads elsewhere or nowhere."""
    if not reference.startswith("#"):
        return None
    found: Any = root
    for part in reference[1:].strip("/").split("/") if len(reference) > 1 else ():
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            found = found.get(name) if isinstance(found, Mapping) else None
    return found
