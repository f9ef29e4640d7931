"""What was noticed about the data, and how a refusal says where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from whichway.errors import DataError


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing about the data.

    `code` is stable and may be relied on; `rows` holds the ids (or `line n`) of at most 20 rows concerned.
    """

    code: str
    severity: Literal["info", "warning", "error"]
    message: str
    rows: tuple[str, ...] = ()


def refuse(path: Path | str, what: str, fix: str, line: int = 0, column: int | str = 0) -> DataError:
    """Return the error to raise: `file, line n, column m: what`, then the fix. Lines and columns count from 1."""
    where = show_path(path)
    where += f", line {line}" if line else ""
    where += f", column {column if isinstance(column, int) else show(column)}" if column != 0 else ""
    return DataError(f"{where}: {what}", fix)


def show(value: object, longest: int = 60) -> str:
    """Return a value in quotes, cut short, with control, bidirectional and zero-width characters escaped."""
    text = value if isinstance(value, str) else str(value)
    cut = text[:longest] + ("..." if len(text) > longest else "")
    return "'" + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in cut) + "'"


def show_path(path: Path | str) -> str:
    """Return a path as the user wrote it, without characters that would disturb a terminal."""
    return show(str(path), longest=300)[1:-1]


def nearest(word: str, known: Sequence[str]) -> str:
    """Return the sentence 'Did you mean ...?' for the known word that is closest, and the list of all."""
    near = get_close_matches(word, known, 1, 0.6)
    listed = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return f"Did you mean {show(near[0])}? Known: {listed}." if near else f"Known: {listed}."
