"""A file of rows, whatever its format: which format it is, and the table it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from whichway import registry
from whichway.errors import DataError
from whichway.intake.finding import Finding, refuse, show
from whichway.intake.source import Source, open_source

MAX_COLUMNS = 2_000
MAX_CELL_CHARS = 1_000_000
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Table:
    """The rows of one file.

    `lines[i]` is the line (for Parquet: the row) of `rows[i]`, counted from 1. Cells of CSV and TSV are strings; those
    of the other formats are JSON values. `inputs` and `target` are the columns that the format itself names as such.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    lines: list[int]
    encoding: str
    format: str
    instruction: str | None = None
    notes: tuple[Finding, ...] = ()
    inputs: tuple[str, ...] = ()
    target: str | None = None


@dataclass(frozen=True)
class Rows:
    """What a format found in a source, before it is checked and becomes a Table."""

    rows: list[dict[str, Any]]
    lines: list[int]
    notes: tuple[Finding, ...] = ()
    columns: tuple[str, ...] = ()
    instruction: str | None = None
    inputs: tuple[str, ...] = ()
    target: str | None = None


class Format(Protocol):
    """What is registered as `format`: it says whether a source is its own, and reads it."""

    suffixes: tuple[str, ...]

    def claim(self, source: Source) -> int:
        """Return 0: not mine; 1: could be mine; 2: surely mine."""

    def read(self, source: Source) -> Rows:
        """Return the rows; raises DataError that says file, line and column."""


def read_table(path: Path, format: str = "auto") -> Table:
    """Read a file of rows; `format` is 'auto' or a registered name.

    Raises DataError for anything that is no table, UsageError for an unknown format.
    """
    source = open_source(Path(path))
    name, notes = (format, ()) if format != "auto" else _recognise(source)
    found = registry.get("format", name)().read(source)
    columns = found.columns or tuple(dict.fromkeys(key for row in found.rows for key in row))
    _check_size(source, found, columns)
    return Table(
        path=source.path,
        columns=columns,
        rows=found.rows,
        lines=found.lines,
        encoding=source.encoding,
        format=name,
        instruction=found.instruction,
        notes=(*source.notes, *notes, *found.notes),
        inputs=found.inputs,
        target=found.target,
    )


def _recognise(source: Source) -> tuple[str, tuple[Finding, ...]]:
    """Return the name of the format with the strongest claim, and a note when the extension says otherwise."""
    formats = {name: registry.get("format", name)() for name in registry.names("format")}
    claims = {name: one.claim(source) for name, one in formats.items()}
    by_suffix = [name for name, one in formats.items() if source.suffix in one.suffixes]
    best = max(claims, key=lambda name: (claims[name], name in by_suffix, name == "csv"))
    if best in by_suffix and claims[best]:
        return best, ()
    if not claims[best]:
        fix = f"Save the data in one of these formats: {', '.join(formats)}."
        raise refuse(source.path, "the content is in no format that is read.", fix, line=1)
    if source.suffix in JSON_SUFFIXES and set(formats[best].suffixes) & set(JSON_SUFFIXES):
        message = f"{source.path.name} has the extension {source.suffix}, and was read as {best}."
        return best, (Finding("extension-mismatch", "warning", message),)
    if by_suffix:
        raise _mismatch(source, best)
    message = f"{source.path.name} was read as {best}; its extension does not say."
    return best, (Finding("format-guessed", "info", message),)


def _mismatch(source: Source, best: str) -> DataError:
    opening = source.text.lstrip().split("\n", 1)[0] if source.text else "PAR1"
    what = f"its extension says {source.suffix}, its content looks like {best}: it begins with {show(opening, 30)}."
    fix = f"Rename the file, or set `format: {best}` under `data` in the task file."
    return refuse(source.path, what, fix, line=1)


def _check_size(source: Source, found: Rows, columns: Sequence[str]) -> None:
    if not found.rows:
        raise refuse(source.path, "there are no rows.", "Give at least 20 labelled rows.", line=1)
    if len(columns) > MAX_COLUMNS:
        what = f"there are {len(columns):,} columns; at most {MAX_COLUMNS:,} are read."
        raise refuse(source.path, what, "Keep the columns that say something about the answer.", line=found.lines[0])
    if len(source.data) <= MAX_CELL_CHARS:
        return
    for row, line in zip(found.rows, found.lines, strict=True):
        for column, value in row.items():
            if isinstance(value, str) and len(value) > MAX_CELL_CHARS:
                what = f"a cell has {len(value):,} characters; at most {MAX_CELL_CHARS:,} are read."
                raise refuse(source.path, what, "Cut the text, or leave the row out.", line, column)
