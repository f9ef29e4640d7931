"""What a table seems to be a task of: target, inputs, shape of the answer, metric, each with the reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from whichway.core.task import Field
from whichway.errors import UsageError
from whichway.intake.finding import nearest, refuse, show
from whichway.intake.guess import guess_kind, guess_shape, is_missing, separator_of, to_number
from whichway.intake.rows import label_text
from whichway.intake.shapes import as_object, infer_schema
from whichway.intake.tables import Table

# In order of preference; compared in lower case.
TARGET_NAMES = [
    "output",
    "label",
    "labels",
    "category",
    "intent",
    "class",
    "target",
    "answer",
    "sentiment",
    "topic",
    "y",
    "tag",
    "tags",
    "outcome",
]
SHAPES = ("labels", "multi", "fields", "text")
ID_NAMES = ["id", "uuid", "guid", "key", "index", "row_id", "rowid", "row", "idx"]
GROUP_NAMES = ["group", "group_id", "user_id", "customer_id", "patient_id"]


@dataclass(frozen=True)
class Proposal:
    """A guess at the task in a table; `why` holds one sentence per decision."""

    fields: tuple[Field, ...]
    target: str
    id: str | None
    group: str | None
    multi: bool
    separator: str
    labels: dict[str, int]
    metric: dict[str, str]
    why: tuple[str, ...]
    shape: str = "labels"
    schema: dict[str, Any] | None = None


def propose(table: Table, inputs: Sequence[str] = (), target: str | None = None) -> Proposal:
    """Guess what was not given.

    Raises UsageError for a column that does not exist, DataError where no target is recognised or no input is left.
    """
    _refuse_unknown(table, [*inputs, *([target] if target else [])])
    chosen, why_target = (target, "as told") if target else _target(table)
    shape, separator = _shape(table, chosen)
    multi, closed = shape == "multi", shape in ("labels", "multi")
    labels = _count(table, chosen, multi, separator) if closed else {}
    id = next((name for name in table.columns if name.lower() == "id" and name not in (*inputs, *table.inputs)), None)
    group = next((name for name in GROUP_NAMES if name in table.columns and name not in (*inputs, chosen)), None)
    fields, why_inputs = _fields(table, inputs, chosen, (id, group))
    schema = infer_schema(_objects(table, chosen)) if shape == "fields" else None
    metric, why_metric = _metric(labels, multi) if closed else _OPEN_METRICS[shape]
    what = f"{len(labels)} labels, {'several labels each' if multi else 'one label each'}"
    if not closed:
        what = "running text" if schema is None else f"objects with {len(schema['properties'])} fields"
    why = (
        f"target {show(chosen)}: {why_target}; {what}",
        *why_inputs,
        f"metric {metric['name']}: {why_metric}",
    )
    kind = "labels" if closed else shape
    return Proposal(fields, chosen, id, group, multi, separator, labels, metric, why, kind, schema)


_OPEN_METRICS = {
    "text": ({"name": "token_f1"}, "words shared with the right answer; rouge_l, chrf and others fit longer texts"),
    "fields": ({"name": "field_f1"}, "each field counts the same; exact_record asks for whole records"),
}


def _objects(table: Table, target: str) -> list[dict[str, Any]]:
    values = [as_object(value) for value in _values(table, target) if not is_missing(value)]
    return [value for value in values if value is not None]


def _refuse_unknown(table: Table, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.columns:
            raise UsageError(f"{table.path} has no column {show(name)}.", nearest(name, list(table.columns)))


def _values(table: Table, name: str) -> list[Any]:
    return [row.get(name) for row in table.rows]


def _target(table: Table) -> tuple[str, str]:
    if table.target:
        return table.target, f"the {table.format} format names it"
    by_name = {name.lower(): name for name in table.columns}
    for word in TARGET_NAMES:
        if word in by_name and guess_shape(_values(table, by_name[word])) in SHAPES:
            return by_name[word], "by its name"
    for name in reversed(table.columns):
        if name.lower() not in ID_NAMES and guess_kind(_values(table, name)) == "category":
            return name, "the last column with few different values"
    listed = ", ".join(table.columns[:20])
    raise refuse(table.path, "no column looks like the answer.", f"Name it: --target COLUMN, one of: {listed}.", line=1)


def _shape(table: Table, target: str) -> tuple[str, str]:
    values = _values(table, target)
    shape = guess_shape(values)
    separator = separator_of([value for value in values if isinstance(value, str)]) if shape == "multi" else ""
    return shape, separator or "|"


def _count(table: Table, target: str, multi: bool, separator: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for value in _values(table, target):
        if is_missing(value):
            continue
        parts = value if isinstance(value, list) else label_text(value).split(separator) if multi else [value]
        counts.update({label_text(part) for part in parts if not is_missing(part)})
    return dict(sorted(counts.items()))


def _fields(
    table: Table, inputs: Sequence[str], target: str, others: Sequence[str | None]
) -> tuple[tuple[Field, ...], list[str]]:
    names = list(inputs or table.inputs)
    why = []
    if not names:
        rest = [name for name in table.columns if name not in (target, *others, "references", "gold_doc_ids")]
        reasons = {name: _why_not(table, name, target) for name in rest}
        names = [name for name in rest if not reasons[name]]
        why = [f"left out {show(name)}: {reason}" for name, reason in reasons.items() if reason]
    if target in names:
        raise UsageError(f"{show(target)} cannot be the target and an input.", "Name another column.")
    if not names:
        fix = f"Name them: --input COLUMN, of: {', '.join(table.columns[:20])}."
        raise refuse(table.path, "no column is left as an input.", fix, line=1)
    fields = tuple(Field(name, guess_kind(_values(table, name))) for name in names)
    return fields, [*(f"input {show(one.name)}: {one.kind}" for one in fields), *why]


def _why_not(table: Table, name: str, target: str) -> str:
    """Return why a column is no input, or an empty string."""
    values = _values(table, name)
    filled = [value for value in values if not is_missing(value)]
    texts = [label_text(value) for value in filled]
    if not filled:
        return "it is empty"
    if len(set(texts)) == 1 and len(filled) == len(values):
        return "it is the same in every row"
    if any(isinstance(value, list | dict) for value in filled):
        return "it holds lists or objects"
    if _is_id(name, texts):
        return "it only numbers the rows"
    answers = [label_text(row.get(target)) for row in table.rows if not is_missing(row.get(name))]
    if len(set(texts)) == len(set(answers)) == len(set(zip(texts, answers, strict=True))) < 0.5 * len(texts):
        return "it says the same as the target"
    return ""


def _is_id(name: str, texts: list[str]) -> bool:
    if len(set(texts)) < len(texts) or any(" " in text for text in texts):
        return False
    words = name.lower().replace("-", "_").split("_")
    numbers = [to_number(text) for text in texts]
    steps = {b - a for a, b in pairwise(numbers) if a is not None and b is not None}
    counted = None not in numbers and len(steps) == 1
    return counted or any(word in ID_NAMES for word in words) or name.lower().endswith("id")


def _metric(labels: dict[str, int], multi: bool) -> tuple[dict[str, str], str]:
    if multi:
        return {"name": "micro_f1"}, "several labels each"
    total = sum(labels.values())
    shares = [count / total for count in labels.values() if count]
    if len(labels) == 2 and min(shares) < 0.2:
        rare = min(labels, key=lambda label: labels[label])
        reason = f"{show(rare, 30)} is rare ({min(shares):.1%} of the rows)"
        return {"name": "average_precision", "positive": rare}, reason
    evenness = -sum(share * math.log(share) for share in shares) / math.log(len(shares)) if len(shares) > 1 else 1.0
    if len(labels) > 2 and evenness < 0.9:
        return {"name": "macro_f1"}, "the labels are unevenly frequent, and each shall count the same"
    return {"name": "accuracy"}, "the labels are about equally frequent"
