"""A careful reading of YAML: labels stay strings, nothing is constructed, every value knows its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.errors import DataError, TaskFileError
from whichway.intake.finding import show, show_path
from whichway.intake.source import regular_size

MAX_BYTES = 1_000_000
MAX_DEPTH = 20

Trail = tuple[str | int, ...]

_NULL = ("", "~", "null", "Null", "NULL")
_INTEGER = re.compile(r"[-+]?\d{1,300}")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class Plain(str):
    """A scalar written without quotes: `no`, `1e3` and `2024-01-01` are still the strings they look like."""


@dataclass(frozen=True)
class Yaml:
    """What a file says. `places` gives line and column, from 1, of the value under each trail of keys."""

    path: Path
    data: Any
    places: Mapping[Trail, tuple[int, int]]

    def bad(self, trail: Trail, what: str, fix: str) -> TaskFileError:
        """Return the error for the value under the trail, or under the longest part of it that exists."""
        while trail and trail not in self.places:
            trail = trail[:-1]
        line, column = self.places.get(trail, (1, 1))
        return _error(self.path, what, fix, line, column)


def read_yaml(path: Path) -> Yaml:
    """Read mappings, lists and strings; an empty or `null` scalar is None.

    Raises TaskFileError for anchors, tags, duplicate keys, several documents, and files over 1 MB.
    """
    import yaml

    text = _text(path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    places: dict[Trail, tuple[int, int]] = {}
    try:
        events = (event for event in yaml.parse(text, Loader=loader))
        reader = _Reader(path, events, places)
        return Yaml(path, reader.document(), places)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        fix = "Mend the line: `key: value`, indented by spaces; put text with a colon or a quote in it in quotes."
        raise _error(path, f"this is not YAML: {said}.", fix, line, column) from None


def typed(value: Any) -> Any:
    """Return numbers and truth values for what was written without quotes; for free settings, never for labels."""
    if isinstance(value, Mapping):
        return {str(key): typed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [typed(one) for one in value]
    if not isinstance(value, Plain):
        return value
    if value in ("true", "True", "false", "False"):
        return value in ("true", "True")
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _NUMBER.fullmatch(value) else str(value)


@dataclass(frozen=True)
class _Reader:
    """Turns the events of the parser into plain data, one node at a time."""

    path: Path
    events: Iterator[Any]
    places: dict[Trail, tuple[int, int]]

    def document(self) -> Any:
        """Read the one document of the file."""
        next(self.events)  # the stream begins
        if type(next(self.events)).__name__ != "DocumentStartEvent":
            raise _error(self.path, "the file is empty.", "Write one with `whichway init FILE`.", 1, 1)
        data = self.node(next(self.events), ())
        next(self.events)  # the document ends
        after = next(self.events)
        if type(after).__name__ == "DocumentStartEvent":
            raise self.bad(after, "a second document begins here.", "Keep one document: remove the line `---`.")
        return data

    def node(self, event: Any, trail: Trail) -> Any:
        """Read the value that begins with this event; refuses anchors, aliases, tags and deep nesting."""
        kind = type(event).__name__
        if kind == "AliasEvent" or event.anchor is not None:
            fix = "Write the value out, or put it in quotes."
            raise self.bad(event, "anchors (&) and aliases (*) are not read.", fix)
        if event.tag is not None and event.tag != "!":
            fix = "Remove the tag; plain values are enough."
            raise self.bad(event, f"the tag {show(event.tag)} is not read.", fix)
        if len(trail) > MAX_DEPTH:
            raise self.bad(event, "it is nested too deeply.", f"Keep it to {MAX_DEPTH} levels.")
        self.places.setdefault(trail, _place(event))
        if kind == "MappingStartEvent":
            return self.mapping(trail)
        return self.sequence(trail) if kind == "SequenceStartEvent" else self.scalar(event)

    def mapping(self, trail: Trail) -> dict[str, Any]:
        """Read the keys and values up to the end of the mapping; keys are always strings."""
        made: dict[str, Any] = {}
        while type(event := next(self.events)).__name__ != "MappingEndEvent":
            if type(event).__name__ != "ScalarEvent":
                raise self.bad(event, "this key is no plain text.", "Write `key: value`.")
            self.node(event, (*trail, ""))
            key = str(event.value)
            self.places.pop((*trail, ""), None)
            if key in made:
                raise self.bad(event, f"the key {show(key)} occurs twice.", "Remove one of the two.")
            self.places[(*trail, key)] = _place(event)
            made[key] = self.node(next(self.events), (*trail, key))
        return made

    def sequence(self, trail: Trail) -> list[Any]:
        """Read the values up to the end of the list."""
        made: list[Any] = []
        while type(event := next(self.events)).__name__ != "SequenceEndEvent":
            made.append(self.node(event, (*trail, len(made))))
        return made

    def scalar(self, event: Any) -> str | None:
        """Return a string, or None for what stands for nothing when it has no quotes."""
        if not event.style and event.value in _NULL:
            return None
        try:
            event.value.encode()
        except UnicodeEncodeError:
            raise self.bad(event, "half of a character (a lone surrogate).", "Write the character itself.") from None
        return str(event.value) if event.style else Plain(event.value)

    def bad(self, event: Any, what: str, fix: str) -> TaskFileError:
        """Return the error for what begins with this event."""
        return _error(self.path, what, fix, *_place(event))


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _text(path: Path) -> str:
    try:
        size = regular_size(path)
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except DataError as error:
        raise TaskFileError(error.problem, error.fix) from None
    except OSError as error:
        raise _error(path, f"it cannot be read: {error.strerror}.", "Check its permissions.", 1, 1) from None
    if size > MAX_BYTES or len(data) > MAX_BYTES:
        raise _error(path, f"it has {size:,} bytes; at most {MAX_BYTES:,} are read.", "Keep rows in a data file.", 1, 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise _error(path, "this is not UTF-8 text.", "Save the file as UTF-8.", line, column) from None


def _error(path: Path, what: str, fix: str, line: int, column: int) -> TaskFileError:
    return TaskFileError(f"{show_path(path)}, line {line}, column {column}: {what}", fix)
