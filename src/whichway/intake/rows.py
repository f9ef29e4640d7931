"""Rows of a table to examples: typed inputs, targets as labels, stable ids; what cannot be used is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from whichway.core.task import Example, Field, Value
from whichway.errors import DataError
from whichway.intake.finding import Finding, nearest, refuse, show
from whichway.intake.guess import is_missing, is_missing_number, to_number
from whichway.intake.tables import Table

MOST_DROPPED = 0.5
REJECTED = "rejected"  # answers that are liked less, beside `output` in JSON rows; a column that is an input stays one
WITH_REJECTED = ("jsonl", "json", "preference")


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what. `separator` splits the text of several labels where `multi` is set.

    `labels` are those that the task file lists; None lets every label pass.
    """

    fields: tuple[Field, ...]
    target: str | None = None
    id: str | None = None
    group: str | None = None
    multi: bool = False
    separator: str = "|"
    labels: tuple[str, ...] | None = None
    shape: str = "labels"


def read_examples(table: Table, columns: Columns) -> tuple[tuple[Example, ...], list[Finding]]:
    """Return the usable rows and what was left out.

    Rows without a target or without any input are dropped with a warning. Raises DataError when that is more than half
    of them, or when one id stands for different rows.
    """
    examples, lines = [], []
    untold, blank = [], []
    for row, line in zip(table.rows, table.lines, strict=True):
        inputs = {one.name: field_value(table, row, one, line) for one in columns.fields}
        target = _target(table, row, columns, line)
        if all(is_missing(value) for value in inputs.values()):
            blank.append(line)
        elif target is None:
            untold.append(line)
        else:
            group = row.get(columns.group) if columns.group else None
            group = None if is_missing(group) else label_text(group)
            id = _given_id(row, columns.id)
            also = _references(row, target)
            rejected = _rejected(table, row, columns, line, (target, *also))
            examples.append(Example(id, inputs, target, group, _documents(row), also, rejected))
            lines.append(line)
    _refuse_if_most(table, columns, untold, blank)
    notes = _dropped(table, "missing-target", "no answer", untold) + _dropped(table, "empty-input", "no input", blank)
    kept, more = _with_ids(table, examples, lines)
    return kept, notes + more


def field_value(table: Table, row: dict[str, Any], field: Field, line: int) -> Value:
    """Return an input by its kind: a number or None, or text; raises DataError for a number that is none."""
    value = row.get(field.name)
    if field.kind == "number":
        if is_missing_number(value):
            return None
        number = to_number(value)
        if number is None:
            fix = f"Write a plain number such as 1234.5, or declare {field.name} as text or category in the task file."
            raise refuse(table.path, f"{show(value, 30)} is not a finite number.", fix, line, field.name)
        return int(number) if isinstance(value, int) and abs(value) < 2**53 else number
    if value is None:
        return "" if field.kind == "text" else None
    if isinstance(value, str):
        return value if field.kind == "text" else value.strip()
    return label_text(value)


def label_text(value: Any) -> str:
    """Return a label as text: true is 'true', 1 and 1.0 are '1', 'no' is 'no'."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def content_id(inputs: Any, target: Any) -> str:
    """Return an id made of what the row says: the same row has the same id in every file and order."""
    said = json.dumps([inputs, target], sort_keys=True, ensure_ascii=False, default=str)
    return "row-" + hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:12]


def _target(table: Table, row: dict[str, Any], columns: Columns, line: int) -> Any:
    if columns.shape != "labels":
        return _written_target(table, row, columns, line)
    target = _read_target(table, row, columns, line)
    stated = target if isinstance(target, tuple) else () if target is None else (target,)
    for label in stated:
        if columns.labels is not None and label not in columns.labels:
            near = nearest(label, list(columns.labels))
            what = f"the label {show(label)} is not one of those in the task file."
            raise refuse(table.path, what, f"Mend the row, or list the label. {near}", line, columns.target or 0)
    return target


def _written_target(table: Table, row: dict[str, Any], columns: Columns, line: int) -> Any:
    """Return the text or the object of a row; None where there is none."""
    value = row.get(columns.target) if columns.target else None
    if columns.shape == "text" and value == "" and table.format == "jsonl":
        return ""  # said on purpose: there is no answer, as in SQuAD 2
    if is_missing(value):
        return None
    if columns.shape == "text":
        if isinstance(value, dict | list):
            what = "the answer is a list or an object where text is expected."
            raise refuse(table.path, what, "Write text, or `output: {shape: fields}`.", line, columns.target or 0)
        return value.strip() if isinstance(value, str) else label_text(value)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        what = "the answer is no JSON object, as the shape `fields` needs it."
        raise refuse(table.path, what, 'Write an object, such as {"total": 12.5}.', line, columns.target or 0)
    return value


def _references(row: dict[str, Any], target: Any) -> tuple[Any, ...]:
    """Return further right answers; the target itself is none of them."""
    value = row.get("references")
    if not isinstance(value, list) or not isinstance(target, str):
        return ()
    return tuple(dict.fromkeys(one.strip() for one in value if isinstance(one, str) and one.strip() != target))


def _rejected(
    table: Table, row: dict[str, Any], columns: Columns, line: int, right: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return answers that are liked less than the target; raises DataError for one that is none, or is right as well."""
    value = row.get(REJECTED)
    is_input = REJECTED in {one.name for one in columns.fields}
    if value is None or is_input or columns.shape == "labels" or table.format not in WITH_REJECTED:
        return ()
    kind, word = (str, "text") if columns.shape == "text" else (dict, "JSON object")
    found = []
    for one in value if isinstance(value, list) else [value]:
        said = one.strip() if isinstance(one, str) else one
        if not isinstance(said, kind) or not said:
            what = f"the rejected answer {show(one, 30)} is no {word}, as the answers here are."
            raise refuse(table.path, what, "Write one like `output`, or a list of such.", line, REJECTED)
        if said in right:
            what = "the rejected answer is the right one."
            raise refuse(table.path, what, "Leave `rejected` out of the row, or mend it.", line, REJECTED)
        found.append(said)
    return tuple(found)


def _read_target(table: Table, row: dict[str, Any], columns: Columns, line: int) -> str | tuple[str, ...] | None:
    value = row.get(columns.target) if columns.target else None
    if is_missing(value):
        return None
    if isinstance(value, dict):
        what = "the answer is an object where a label is expected."
        raise refuse(table.path, what, "Write a label, or `output: {shape: fields}`.", line, columns.target or 0)
    if isinstance(value, list):
        return _several(table, value, columns, line)
    if not columns.multi:
        return label_text(value)
    parts = {part.strip() for part in label_text(value).split(columns.separator)} - {""}
    return tuple(sorted(parts)) or None


def _several(table: Table, value: list[Any], columns: Columns, line: int) -> str | tuple[str, ...]:
    where = columns.target or 0
    if any(isinstance(part, dict | list) or is_missing(part) for part in value):
        fix = 'Write a list of labels, such as ["billing", "urgent"].'
        raise refuse(table.path, "the answer is a list with something else than labels.", fix, line, where)
    if columns.multi:
        return tuple(sorted({label_text(part) for part in value}))
    if len(value) != 1:
        what = f"the answer has {len(value)} labels, the task file expects one."
        raise refuse(table.path, what, "Set `multi: true` under `output` in the task file.", line, where)
    return label_text(value[0])


def _given_id(row: dict[str, Any], column: str | None) -> str:
    value = row.get(column) if column else None
    return "" if is_missing(value) else label_text(value)


def _documents(row: dict[str, Any]) -> tuple[str, ...]:
    value = row.get("gold_doc_ids")
    return tuple(label_text(one) for one in value) if isinstance(value, list) else ()


def _with_ids(table: Table, examples: list[Example], lines: list[int]) -> tuple[tuple[Example, ...], list[Finding]]:
    """Give each row its id. Made ids of equal rows are numbered; given ids must not repeat, unless the row does."""
    seen: dict[str, tuple[Example, int]] = {}
    made: dict[str, int] = {}
    kept, repeated = [], []
    for one, line in zip(examples, lines, strict=True):
        if one.id and one.id in seen:
            earlier, first = seen[one.id]
            if earlier != one:
                raise _same_id(table, one.id, first, line)
            repeated.append(line)
            continue
        if not one.id:
            base = content_id(one.inputs, one.target)
            made[base] = made.get(base, 0) + 1
            one = replace(one, id=base if made[base] == 1 else f"{base}-{made[base]}")
        seen[one.id] = (one, line)
        kept.append(one)
    return tuple(kept), _dropped(table, "duplicate-id", "the id and the content of an earlier row", repeated)


def _same_id(table: Table, id: str, first: int, line: int) -> DataError:
    what = f"the id {show(id)} stands for another row in line {first}."
    return refuse(table.path, what, "Give each row its own id, or remove the id column: ids are then made.", line)


def _dropped(table: Table, code: str, what: str, lines: Sequence[int]) -> list[Finding]:
    if not lines:
        return []
    shown = ", ".join(str(line) for line in lines[:5]) + (", ..." if len(lines) > 5 else "")
    message = f"{table.path.name}: {len(lines)} of {len(table.rows)} rows have {what}; left out (lines {shown})."
    return [Finding(code, "warning", message, tuple(f"line {line}" for line in lines[:20]))]


def _refuse_if_most(table: Table, columns: Columns, untold: list[int], blank: list[int]) -> None:
    if len(untold) + len(blank) <= MOST_DROPPED * len(table.rows):
        return
    column, lines = (columns.target, untold) if len(untold) >= len(blank) else (None, blank)
    what = f"{len(lines)} of {len(table.rows)} rows have {'no answer' if column else 'no input'}; this is the first."
    fix = "Label them, or check the names of the columns in the task file."
    raise refuse(table.path, what, fix, lines[0], column or 0)
