"""Parquet: columns with types, of which rows of JSON values are made."""

from __future__ import annotations

import datetime
import decimal
import math
from dataclasses import dataclass
from typing import Any

from whichway.errors import DataError, MissingExtra
from whichway.intake.finding import refuse
from whichway.intake.jsonrows import native
from whichway.intake.source import Source
from whichway.intake.tables import MAX_COLUMNS, Rows
from whichway.registry import register

MAX_TABLE_BYTES = 2_000_000_000
MAX_ROWS = 5_000_000

_WRITE_ANEW = "Write the file anew, or save it as CSV (UTF-8) or JSONL."


@register("format", "parquet")
@dataclass(frozen=True)
class Parquet:
    """A Parquet file; dates become text, missing numbers become null, an index of pandas is left out."""

    suffixes: tuple[str, ...] = (".parquet", ".pq")

    def claim(self, source: Source) -> int:
        """Claim a file with the magic bytes of Parquet."""
        return 2 if source.data.startswith(b"PAR1") else 0

    def read(self, source: Source) -> Rows:
        """Return its rows; raises DataError for a damaged file or one that unpacks to more than 2 GB."""
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise MissingExtra("pyarrow", "parquet", "Reading Parquet") from None
        if not source.data.startswith(b"PAR1"):
            raise refuse(source.path, "this is not a Parquet file.", _WRITE_ANEW)
        try:
            file = parquet.ParquetFile(pyarrow.BufferReader(source.data))
            _check_claims(source, file.metadata)
            table = file.read()
            names, cells = table.column_names, [column.to_pylist() for column in table.columns]
        except (pyarrow.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
            said = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise refuse(source.path, f"the Parquet file is damaged: {said}.", _WRITE_ANEW) from None
        return _rows(source, names, cells)


def _check_claims(source: Source, metadata: Any) -> None:
    """Refuse absurd sizes by what the file claims, before anything is unpacked."""
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_columns > MAX_COLUMNS:
        what = f"there are {metadata.num_columns:,} columns; at most {MAX_COLUMNS:,} are read."
        raise refuse(source.path, what, "Keep the columns that say something about the answer.")
    if size > MAX_TABLE_BYTES or size < 0 or metadata.num_rows > MAX_ROWS:
        what = f"it unpacks to {metadata.num_rows:,} rows and {size / 1e6:,.0f} MB, which is too much."
        raise refuse(source.path, what, "Take a random sample of its rows: a few thousand are enough.")


def _rows(source: Source, names: list[str], cells: list[list[Any]]) -> Rows:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise refuse(source.path, "two columns have the same name.", "Give each column its own name.", 0, twice)
    kept = [i for i, name in enumerate(names) if not name.startswith("__index_level_")]
    count = len(cells[0]) if cells else 0
    rows = [{names[i]: _plain(source, cells[i][row], names[i], row + 1) for i in kept} for row in range(count)]
    if not rows:
        raise refuse(source.path, "there are no rows.", "Give at least 20 labelled rows.", line=1)
    return native(source, Rows(rows, list(range(1, count + 1))))


def _plain(source: Source, value: Any, column: str, row: int) -> Any:
    """Return a JSON value; raises DataError for bytes and for infinite numbers."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | decimal.Decimal):
        return _number(source, float(value), column, row)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_plain(source, one, column, row) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(source, one, column, row) for key, one in value.items()}
    raise _unserved(source, value, column, row)


def _number(source: Source, value: float, column: str, row: int) -> float | None:
    if math.isinf(value):
        raise refuse(source.path, "the number is infinite.", "Write a finite number, or null.", row, column)
    return None if math.isnan(value) else value


def _unserved(source: Source, value: Any, column: str, row: int) -> DataError:
    what = f"values of the type {type(value).__name__} are not served."
    return refuse(source.path, what, "Leave the column out, or write it as text.", row, column)
