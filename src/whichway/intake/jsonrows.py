"""JSONL and JSON arrays of objects, our own rows `{"id", "input", "output"}` among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from whichway.errors import DataError
from whichway.intake.decode import position
from whichway.intake.finding import Finding, refuse, show
from whichway.intake.jsontext import JsonText
from whichway.intake.source import Source
from whichway.intake.tables import Rows
from whichway.registry import register

ONE_PER_LINE = "Write one JSON object per line (JSONL), or one array of objects."


@register("format", "jsonl")
@dataclass(frozen=True)
class Jsonl:
    """One JSON object per line."""

    suffixes: tuple[str, ...] = (".jsonl", ".ndjson")

    def claim(self, source: Source) -> int:
        """Claim a text that begins with an object."""
        return int(source.text.lstrip().startswith("{"))

    def read(self, source: Source) -> Rows:
        """Read the lines; an `input` that is an object becomes one column per field."""
        return native(source, objects(source))


@register("format", "json")
@dataclass(frozen=True)
class JsonArray:
    """One JSON array of objects."""

    suffixes: tuple[str, ...] = (".json",)

    def claim(self, source: Source) -> int:
        """Claim a text that begins with an array."""
        return int(source.text.lstrip().startswith("["))

    def read(self, source: Source) -> Rows:
        """Read the elements; an `input` that is an object becomes one column per field."""
        return native(source, objects(source))


def objects(source: Source) -> Rows:
    """Return the objects of a JSONL text or of a JSON array, each with the line it begins on."""
    text = JsonText(source.path, source.text)
    is_array = source.text.lstrip().startswith("[")
    pairs = _elements(text) if is_array else _lines(text)
    rows, lines = [], []
    for value, line in pairs:
        if not isinstance(value, dict):
            raise refuse(source.path, f"{show(value, 30)} is not a JSON object.", ONE_PER_LINE, line)
        rows.append(value)
        lines.append(line)
    if not rows:
        raise refuse(source.path, "there are no rows.", "Give at least 20 labelled rows.", line=1)
    return Rows(rows, lines, _duplicate_keys(text))


def first_object(source: Source) -> dict[str, Any]:
    """Return the first object of the source, or an empty one when there is none to be read."""
    text = JsonText(source.path, source.text)
    start = text.skip(0)
    if source.text[start : start + 1] == "[":
        start = text.skip(start + 1)
    if source.text[start : start + 1] != "{":
        return {}
    try:
        value, _ = text.read(start)
    except DataError:
        return {}
    return value if isinstance(value, dict) else {}


def native(source: Source, found: Rows) -> Rows:
    """Spread `input` objects into columns and say which columns are inputs and target."""
    kinds = {isinstance(row.get("input"), dict) for row in found.rows if row.get("input") is not None}
    has_target = any("output" in row for row in found.rows)
    target = "output" if has_target and kinds else None
    if kinds == {True}:
        rows, fields = _spread(source, found)
        return Rows(rows, found.lines, found.notes, inputs=fields, target=target)
    if len(kinds) == 2:
        odd = next(i for i, row in enumerate(found.rows) if _is_object(row) != _is_object(found.rows[0]))
        what = "`input` is an object in some rows and not in others."
        raise refuse(source.path, what, "Use one form in the whole file.", found.lines[odd], "input")
    return Rows(found.rows, found.lines, found.notes, inputs=("input",) if kinds else (), target=target)


def _is_object(row: dict[str, Any]) -> bool:
    return isinstance(row.get("input"), dict)


def _spread(source: Source, found: Rows) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    beside = {key for row in found.rows for key in row if key != "input"}
    names = dict.fromkeys(key for row in found.rows for key in (row.get("input") or {}))
    # A field may be called like a column beside it; the column keeps its name.
    columns = {name: f"input.{name}" if name in beside else name for name in names}
    rows = []
    for row in found.rows:
        fields = {columns[name]: value for name, value in (row.get("input") or {}).items()}
        rows.append(fields | {key: value for key, value in row.items() if key != "input"})
    return rows, tuple(columns.values())


def _lines(text: JsonText) -> Iterator[tuple[Any, int]]:
    """Read one value per line. U+2028 and the like do not end a line; a lone CR does where there is no LF."""
    at, line = 0, 1
    mark = "\n" if "\n" in text.text else "\r"
    while at < len(text.text):
        end = text.text.find(mark, at)
        end = len(text.text) if end < 0 else end
        start = text.skip(at)
        if start < end:
            value, after = text.read(start, end)
            if text.skip(after) < end:
                raise text.bad(after, "text goes on after the end of the object.", ONE_PER_LINE)
            yield value, line
        at, line = end + 1, line + 1


def _elements(text: JsonText) -> Iterator[tuple[Any, int]]:
    at, line, counted = text.skip(text.skip(0) + 1), 1, 0
    while text.text[at : at + 1] != "]":
        line += text.text.count("\n", counted, at)
        counted = at
        value, at = text.read(at)
        yield value, line
        at = text.skip(at)
        if text.text[at : at + 1] == ",":
            at = text.skip(at + 1)
            if text.text[at : at + 1] == "]":
                raise text.bad(at, "a comma stands before the end of the array.", "Remove the last comma.")
        elif text.text[at : at + 1] != "]":
            raise text.bad(at, "a comma or the end of the array was expected.", ONE_PER_LINE)
    rest = text.skip(at + 1)
    if rest < len(text.text):
        raise text.bad(rest, "text goes on after the end of the array.", ONE_PER_LINE)


def _duplicate_keys(text: JsonText) -> tuple[Finding, ...]:
    if not text.twice:
        return ()
    key, at = text.twice[0]
    line, _ = position(text.text, at)
    message = f"{text.path.name}, line {line}: the key {show(key)} occurs twice in an object; the last value was taken."
    return (Finding("duplicate-key", "warning", message, (f"line {line}",)),)
