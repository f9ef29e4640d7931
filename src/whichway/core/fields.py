"""The shape of an answer that is a JSON object: asked for by its schema, read back by parsing alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from whichway.core.schema import DEPTH, choices, followed, kinds

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
        return tuple(followed(self.schema, self.schema).get("properties", {}))

    def ask(self) -> str:
        described = "\n".join(_lines(followed(self.schema, self.schema), self.schema))
        return f"Answer with one JSON object and nothing else:\n{described}"

    def write(self, value: Any) -> str:
        return json.dumps(_ordered(value, self.schema, self.schema), ensure_ascii=False)

    def read(self, text: str) -> Any | None:
        """Return the first JSON object of a text that keeps the schema; a code fence and trailing commas are forgiven."""
        for candidate in (*_FENCE.findall(text), text):
            for value in _objects(candidate):
                if self.accepts(value) and _can_be_kept(value):
                    return _ordered(value, self.schema, self.schema)
        return None

    def accepts(self, value: Any) -> bool:
        """Tell whether a value keeps the schema."""
        checker: Any = _checker(json.dumps(self.schema, sort_keys=True))
        return isinstance(value, dict) and bool(checker.is_valid(value))

    def empty(self) -> dict[str, Any]:
        """Return the object that states nothing: what a failed answer counts as."""
        properties = followed(self.schema, self.schema).get("properties", {})
        return {name: _nothing(one, self.schema, (properties,)) for name, one in properties.items()}


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


def _lines(schema: Mapping[str, Any], root: Mapping[str, Any], above: tuple[Any, ...] = ()) -> list[str]:
    """Describe a schema's fields, one line each, as people write them; `above` are the fields of objects around it."""
    found = []
    required = set(schema.get("required", ()))
    for name, inner in schema.get("properties", {}).items():
        one = followed(inner, root)
        said = f"{'  ' * len(above)}- {name}: {_kind(one, root)}"
        said += "" if name in required else ", may be left out"
        said += f". {one['description']}" if one.get("description") else ""
        found += [said, *_within(one, root, (*above, schema["properties"]))]
    return found


def _within(schema: Mapping[str, Any], root: Mapping[str, Any], above: tuple[Any, ...]) -> list[str]:
    """Describe the fields of an object, of those in a list, and of each of several that a field may hold."""
    found: list[str] = []
    for one in _objects_of(schema, root):
        found += [f"{'  ' * len(above)}or"] if found else []
        if one["properties"] in above:  # a schema that refers to itself
            found.append(f"{'  ' * len(above)}with the same fields again")
        else:
            found += _lines(one, root, above)
    return found


def _objects_of(schema: Any, root: Mapping[str, Any], depth: int = DEPTH) -> list[Mapping[str, Any]]:
    """Return the schemas of all objects that a field, or a list in it, may hold, each once."""
    found: list[Mapping[str, Any]] = []
    for one in choices(schema, root) if depth else ():
        inner = [one] if one.get("properties") else _objects_of(one["items"], root, depth - 1) if "items" in one else []
        found += [each for each in inner if each not in found]
    return found


def _kind(schema: Any, root: Mapping[str, Any], depth: int = DEPTH) -> str:
    """Return what a field holds, in words."""
    if not depth:
        return "anything"
    return " or ".join(dict.fromkeys(_kind_of_one(one, root, depth) for one in choices(schema, root)))


def _kind_of_one(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(one, ensure_ascii=False) for one in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    inner = _kind(schema["items"], root, depth - 1) if isinstance(schema.get("items"), Mapping) else "anything"
    return " or ".join(f"list of {inner}" if one == "array" else one for one in kinds(schema)) or "any"


def _ordered(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    """Put an object's fields into the schema's order, so that equal objects are written alike."""
    if isinstance(value, Mapping):
        every = [one.get("properties", {}) for one in choices(schema, root)]
        properties = max(every, key=lambda one: len(one.keys() & value.keys()))
        names = [name for name in properties if name in value] + [name for name in value if name not in properties]
        return {name: _ordered(value[name], properties.get(name), root) for name in names}
    if isinstance(value, list | tuple):
        items = next((one["items"] for one in choices(schema, root) if "items" in one), None)
        return [_ordered(one, items, root) for one in value]
    return value


def _nothing(schema: Any, root: Mapping[str, Any], above: tuple[Any, ...] = ()) -> Any:
    """Return the value that states nothing: no items, no value of any field; of an object within itself, none."""
    every = choices(schema, root)
    if any("array" in kinds(one) for one in every):
        return []
    for one in (each for each in every if "object" in kinds(each)):
        properties = one.get("properties", {})
        if properties not in above:
            return {name: _nothing(inner, root, (*above, properties)) for name, inner in properties.items()}
    return None
