"""Rows as text and as numbers: what a prompt, an encoder and a linear head each read of the input fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.output import Labels
from whichway.core.task import Inputs, Task
from whichway.strategies.parts.store import load_json, save_json

RARE = 2  # a category seen less often than this in train shares one column with all unseen ones


def text_of(task: Task, inputs: Inputs) -> str:
    """Return the free text of a row: one field as it is, several as 'name: text' lines."""
    names = task.text_fields
    if len(names) == 1:
        return _shown(inputs.get(names[0]))
    return "\n".join(f"{name}: {_shown(inputs.get(name))}" for name in names if _shown(inputs.get(name)))


def described(task: Task, inputs: Inputs) -> str:
    """Return all fields of a row as a model should read them in a prompt; to write about, only those that say something."""
    if len(task.fields) == 1:
        return _shown(inputs.get(task.fields[0].name))
    if not isinstance(task.output, Labels):
        said = ((one.name, _shown(inputs.get(one.name))) for one in task.fields)
        return "\n".join(f"{name}: {value}" for name, value in said if value)
    return "\n".join(f"{one.name}: {_shown(inputs.get(one.name))}" for one in task.fields)


def without_found(task: Task) -> Task:
    """Return the task without what was looked up for its rows."""
    own = tuple(one for one in task.fields if not one.is_found)
    return task if len(own) == len(task.fields) else replace(task, fields=own)


@dataclass(frozen=True)
class FieldEncoder:
    """Turns number and category fields into columns: standardised signed logarithm, missing flag, one column per category."""

    numbers: tuple[tuple[str, float, float], ...]  # name, mean, deviation of sign(x)·log(1+|x|)
    categories: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def width(self) -> int:
        return 2 * len(self.numbers) + sum(len(known) + 1 for _, known in self.categories)

    def encode(self, rows: Sequence[Inputs]) -> Any:
        """Return float32 [len(rows), width]."""
        import numpy as np

        table = np.zeros((len(rows), self.width), dtype=np.float32)
        for i, row in enumerate(rows):
            column = 0
            for name, mean, deviation in self.numbers:
                value = as_number(row.get(name))
                table[i, column] = 0.0 if value is None else (_squash(value) - mean) / deviation
                table[i, column + 1] = float(value is None)
                column += 2
            for name, known in self.categories:
                shown = _shown(row.get(name))
                table[i, column + (known.index(shown) if shown in known else len(known))] = 1.0
                column += len(known) + 1
        return table

    def save(self, folder: Path) -> None:
        """Write fields.json."""
        save_json(folder / "fields.json", {"numbers": self.numbers, "categories": self.categories})


def load_fields(folder: Path) -> FieldEncoder:
    """Read what `FieldEncoder.save` wrote."""
    kept = load_json(folder / "fields.json")
    return FieldEncoder(
        tuple((name, mean, spread) for name, mean, spread in kept["numbers"]),
        tuple((name, tuple(known)) for name, known in kept["categories"]),
    )


def fit_fields(task: Task, rows: Sequence[Inputs]) -> FieldEncoder:
    """Learn means, deviations and known categories from train rows."""
    numbers, categories = [], []
    for one in task.fields:
        if one.kind == "number":
            found = [_squash(value) for value in (as_number(row.get(one.name)) for row in rows) if value is not None]
            mean = sum(found) / len(found) if found else 0.0
            spread = math.sqrt(sum((x - mean) ** 2 for x in found) / len(found)) if found else 1.0
            numbers.append((one.name, mean, spread or 1.0))
        elif one.kind == "category":
            counts: dict[str, int] = {}
            for row in rows:
                counts[_shown(row.get(one.name))] = counts.get(_shown(row.get(one.name)), 0) + 1
            categories.append((one.name, tuple(sorted(name for name, count in counts.items() if count >= RARE))))
    return FieldEncoder(tuple(numbers), tuple(categories))


def as_number(value: Any) -> float | None:
    """Return a finite number, or None for what is missing or is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _squash(value: float) -> float:
    return math.copysign(math.log1p(abs(value)), value)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).strip()
