"""CSV and TSV: one header, then one record per row; errors say line and column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from whichway.errors import DataError
from whichway.intake.decode import position
from whichway.intake.finding import Finding, refuse, show
from whichway.intake.source import Source
from whichway.intake.tables import Rows
from whichway.registry import register

_MARKUP = re.compile(r"\s*<(!doctype|html|\?xml)", re.IGNORECASE)
_RAGGED_FIX = 'Give every row one value per column; put text with the separator or a line break in "double quotes".'


@register("format", "csv")
@dataclass(frozen=True)
class Csv:
    """Comma-separated values with a header; semicolons, tabs and bars are recognised too."""

    suffixes: tuple[str, ...] = (".csv",)

    def claim(self, source: Source) -> int:
        """Claim any text that is neither JSON nor markup."""
        return int(_is_plain(source.text))

    def read(self, source: Source) -> Rows:
        """Read with the separator that the header shows."""
        separator = _separator(source.text)
        if separator == ",":
            return _read(source, separator)
        shown = {";": "semicolons", "\t": "tabs", "|": "bars"}[separator]
        note = Finding("separator", "info", f"{source.path.name} separates its columns by {shown}.")
        return _read(source, separator, (note,))


@register("format", "tsv")
@dataclass(frozen=True)
class Tsv:
    """Tab-separated values with a header."""

    suffixes: tuple[str, ...] = (".tsv", ".tab")

    def claim(self, source: Source) -> int:
        """Claim plain text with a tab in its first line."""
        return int(_is_plain(source.text) and "\t" in source.text.split("\n", 1)[0])

    def read(self, source: Source) -> Rows:
        """Read with tabs as the separator."""
        return _read(source, "\t")


def _is_plain(text: str) -> bool:
    opening = text.lstrip()[:1]
    return bool(opening) and opening not in "[{" and not _MARKUP.match(text)


def _separator(text: str) -> str:
    """Choose the separator that occurs most in the header, outside of quotes; a comma when none does."""
    header = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    counts = {one: header.count(one) for one in ",;\t|"}
    return max(counts, key=lambda one: counts[one]) if any(counts.values()) else ","


def _read(source: Source, separator: str, notes: tuple[Finding, ...] = ()) -> Rows:
    records = _records(source, separator)
    header, line = next(records)
    columns = _columns(source, header, line)
    rows, lines = [], []
    for cells, line in records:
        if len(cells) != len(header):
            raise _ragged(source, cells, columns, line)
        rows.append(dict(zip(columns, cells, strict=True)))
        lines.append(line)
    if not rows:
        raise refuse(source.path, "there is a header and no row.", "Give at least 20 labelled rows.", line=1)
    if "" in columns:
        columns, notes = _drop_nameless(source, columns, rows), (*notes, _nameless(source))
    return Rows(rows, lines, (*notes, *_header_like_data(source, columns, rows)), columns)


def _records(source: Source, separator: str) -> Iterator[tuple[list[str], int]]:
    """Yield the cells of each record and the line it begins on; blank lines are passed over."""
    text, mark = source.text, re.escape(separator)
    # Possessive quantifiers keep the time linear, whatever stands in the file.
    cell = re.compile(rf'(?:"((?:[^"]++|"")*+)"|([^"{mark}\r\n][^{mark}\r\n]*+|))({mark}|\r\n|\n|\r|\Z)')
    cells: list[str] = []
    at, line, begun = 0, 1, 1
    while at < len(text) or cells:
        found = cell.match(text, at)
        if not found:
            raise _bad_quote(source, at)
        quoted, bare, end = found.groups()
        cells.append(bare if quoted is None else quoted.replace('""', '"'))
        line += _breaks(quoted) if quoted else 0
        at = found.end()
        if end == separator:
            continue
        if cells != [""]:
            yield cells, begun
        line += 1
        cells, begun = [], line


def _breaks(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _bad_quote(source: Source, at: int) -> DataError:
    line, column = position(source.text, at)
    closed = re.compile(r'"(?:[^"]++|"")*+"').match(source.text, at)
    what = "is followed by more text" if closed else "is never closed"
    fix = 'Close the quote; a quote inside of quoted text is written twice ("").'
    return refuse(source.path, f"the quoted text that begins here {what}.", fix, line, column)


def _columns(source: Source, header: list[str], line: int) -> tuple[str, ...]:
    columns = tuple(name.strip() for name in header)
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        first = columns.index(twice[0]) + 1
        second = columns.index(twice[0], first) + 1
        what = f"two columns have the same name (columns {first} and {second})."
        raise refuse(source.path, what, "Give each column its own name in the first line.", line, twice[0])
    if not any(columns):
        raise refuse(source.path, "the header is empty.", "Write the names of the columns in the first line.", line)
    return columns


def _ragged(source: Source, cells: list[str], columns: tuple[str, ...], line: int) -> DataError:
    what = f"the row has {len(cells)} values, the header has {len(columns)} columns."
    if len(cells) < len(columns):
        what += f" No value for: {', '.join(columns[len(cells) :][:5])}."
        return refuse(source.path, what, _RAGGED_FIX, line, len(cells) + 1)
    what += f" Too much: {', '.join(show(cell, 30) for cell in cells[len(columns) :][:3])}."
    return refuse(source.path, what, _RAGGED_FIX, line, len(columns) + 1)


def _drop_nameless(source: Source, columns: tuple[str, ...], rows: list[dict[str, str]]) -> tuple[str, ...]:
    """Drop the column without a name: a row index of pandas, or what a comma at the end of each line makes."""
    for row in rows:
        del row[""]
    return tuple(name for name in columns if name)


def _nameless(source: Source) -> Finding:
    return Finding("nameless-column", "warning", f"{source.path.name}: a column without a name was left out.")


def _header_like_data(source: Source, columns: tuple[str, ...], rows: list[dict[str, str]]) -> tuple[Finding, ...]:
    repeated = [name for name in columns if sum(row[name] == name for row in rows) > 1]
    if not repeated:
        return ()
    message = (
        f"{source.path.name}, line 1: the header looks like a row of data (column {show(repeated[0])} holds its own "
        "name as a value). If there is no header, add one."
    )
    return (Finding("header-like-data", "warning", message, ("line 1",)),)
