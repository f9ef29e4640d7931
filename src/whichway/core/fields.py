"""The shape of an answer that is a JSON object: asked for by its schema, read back by parsing alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")


@dataclass(frozen=True)
class Fields:
    """A JSON object that keeps a JSON Schema (draft 2020-12); a value is a `dict` of plain JSON data."""

    schema: Mapping[str, Any] = field(hash=False)
    shape: str = "fields"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the top-level fields, in the schema's order."""
        return tuple(self.schema.get("properties", {}))

    def ask(self) -> str:
        described = "\n".join(_lines(self.schema, 0))
        return f"Answer with one JSON object and nothing else:\n{described}"

    def write(self, value: Any) -> str:
        return json.dumps(_ordered(value, self.schema), ensure_ascii=False)

    def read(self, text: str) -> Any | None:
        """Return the first JSON object of a text that keeps the schema; a code fence and trailing commas are forgiven."""
        for candidate in (*_FENCE.findall(text), text):
            for value in _objects(candidate):
                if self.accepts(value) and _can_be_kept(value):
                    return _ordered(value, self.schema)
        return None

    def accepts(self, value: Any) -> bool:
        """Tell whether a value keeps the schema."""
        checker: Any = _checker(json.dumps(self.schema, sort_keys=True))
        return isinstance(value, dict) and bool(checker.is_valid(value))

    def empty(self) -> dict[str, Any]:
        """Return the object that states nothing: what a failed answer counts as."""
        return {name: _nothing(one) for name, one in self.schema.get("properties", {}).items()}


def _can_be_kept(value: Any) -> bool:
    """Tell whether a value can be written as JSON in UTF-8: no NaN, no infinite number (1e999), no half of a surrogate pair."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except ValueError:
        return False
    return True


@lru_cache(maxsize=32)
def _checker(schema: str) -> Any:
    """Return a validator; the import is late, as it costs more than this whole package."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _objects(text: str) -> list[Any]:
    """Return every JSON object that stands in a text, in order; what was cut off ends the search."""
    found = []
    for said in dict.fromkeys((text, _TRAILING_COMMA.sub(r"\1", text))):
        reader, at = json.JSONDecoder(), said.find("{")
        while at >= 0:
            try:
                value, end = reader.raw_decode(said, at)
            except json.JSONDecodeError as error:
                if error.pos >= len(said.rstrip()) or error.msg.startswith("Unterminated"):
                    break
                end = at + 1
            except RecursionError:
                break
            else:
                found.append(value)
            at = said.find("{", end)
    return found


def _lines(schema: Mapping[str, Any], depth: int) -> list[str]:
    """Describe a schema's fields, one line each, as people write them."""
    found = []
    required = set(schema.get("required", ()))
    for name, one in schema.get("properties", {}).items():
        one = one if isinstance(one, Mapping) else {}  # `true` allows anything
        said = f"{'  ' * depth}- {name}: {_kind(one)}"
        said += "" if name in required else ", may be left out"
        said += f". {one['description']}" if one.get("description") else ""
        found.append(said)
        inner = one.get("items", one)
        inner = inner if isinstance(inner, Mapping) else {}
        if inner.get("properties"):
            found += _lines(inner, depth + 1)
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(one, ensure_ascii=False) for one in schema["enum"])
    kind = schema.get("type", "any")
    kinds = [kind] if isinstance(kind, str) else list(kind)
    if "array" in kinds:
        inner = _kind(schema["items"]) if isinstance(schema.get("items"), Mapping) else "anything"
        kinds = [f"list of {inner}" if one == "array" else one for one in kinds]
    return " or ".join(kinds)


def _ordered(value: Any, schema: Any) -> Any:
    """Put an object's fields into the schema's order, so that equal objects are written alike."""
    known = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, Mapping):
        properties = known.get("properties", {})
        names = [name for name in properties if name in value] + [name for name in value if name not in properties]
        return {name: _ordered(value[name], properties.get(name)) for name in names}
    if isinstance(value, list | tuple):
        return [_ordered(one, known.get("items")) for one in value]
    return value


def _nothing(schema: Any) -> Any:
    schema = schema if isinstance(schema, Mapping) else {}
    kind = schema.get("type")
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    if "array" in kinds:
        return []
    return {name: _nothing(one) for name, one in schema.get("properties", {}).items()} if "object" in kinds else None
