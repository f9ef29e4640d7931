"""One seeded, stratified, grouped split with a sealed test part (methods.md §1)."""

from __future__ import annotations

import hashlib
import math
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from whichway.core.task import Example
from whichway.errors import DataError

ENOUGH_TEST = 200
FEW = 300  # labels in all under which train and validation are cross-fitted
TOO_FEW = 150  # labels in all under which there is no test part, hence no certificate
FOLDS = 5
DEV_SHARE = 0.15


@dataclass(frozen=True)
class Fold:
    """Row ids to learn from (`train` and its slice `dev`) and to be compared on (`validation`)."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """One fold, or five when labels are few. `validation` and `test` are in the study's fixed random order.

    Any prefix of `validation` may be read first by everyone: two strategies then share their rows.
    """

    folds: tuple[Fold, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    test_from: str
    seed: int

    @property
    def learning(self) -> tuple[str, ...]:
        """All rows that are not in the test part."""
        return tuple(sorted({*self.folds[0].train, *self.folds[0].dev, *self.validation}))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over which row is where, 16 digits."""
        parts = [repr((one.train, one.dev, one.validation)) for one in self.folds]
        return hashlib.sha256("\n".join([*parts, repr(self.test)]).encode()).hexdigest()[:16]


def make_split(examples: Sequence[Example], test: Sequence[Example] | None, seed: int) -> Split:
    """Split labelled rows. A user's test file is used as it is; else 20 to 30 % are sealed, aiming at 200 rows.

    Rows of one group, and rows with the same text, always stay together. Raises DataError when all rows hang together.
    """
    rng = random.Random(f"split {seed}")
    examples = _with_strata(examples)
    units = _units(examples)
    sealed: list[list[Example]] = []
    count = len(examples)
    if test is None and count >= TOO_FEW:
        wanted = max(round(0.2 * count), min(ENOUGH_TEST, round(count / 3)), 100 if count < FEW else 0)
        sealed, units = _take(units, wanted, rng)
    test_rows = list(test) if test is not None else [row for unit in sealed for row in unit]
    rng.shuffle(test_rows)
    few = count < FEW
    folds = _cross_folds(units, rng) if few else [_one_fold(units, count, rng)]
    validation = [row_id for fold in folds for row_id in fold.validation]
    random.Random(f"order {seed}").shuffle(validation)
    made_from = "file" if test is not None else "split" if sealed else "none"
    return Split(tuple(folds), tuple(validation), tuple(row.id for row in test_rows), made_from, seed)


def _one_fold(units: list[list[Example]], count: int, rng: random.Random) -> Fold:
    validation, rest = _take_some(units, round(0.2 * count), rng)
    if not validation or not rest:
        raise _hangs_together(units)
    dev, train = _take(rest, round(DEV_SHARE * sum(map(len, rest))), rng)
    return Fold(_ids(train), _ids(dev), _ids(validation))


def _cross_folds(units: list[list[Example]], rng: random.Random) -> list[Fold]:
    rest, parts = units, []
    for left in range(FOLDS, 1, -1):
        part, rest = _take_some(rest, round(sum(map(len, rest)) / left), rng)
        parts.append(part)
    parts = [part for part in (*parts, rest) if part]
    if len(parts) < 2:
        raise _hangs_together(units)
    folds = []
    for i, part in enumerate(parts):
        others = [unit for j, other in enumerate(parts) if j != i for unit in other]
        dev, train = _take(others, round(DEV_SHARE * sum(map(len, others))), rng)
        folds.append(Fold(_ids(train), _ids(dev), _ids(part)))
    return folds


def _hangs_together(units: Sequence[Sequence[Example]]) -> DataError:
    rows = sum(map(len, units))
    return DataError(
        f"The {rows} rows outside the test part hang together in {len(units)} group(s), which may not be split apart, "
        "so none are left to compare on.",
        "Name a finer `group` column or none, and look for rows with the same text.",
    )


def _take_some(
    units: list[list[Example]], wanted: int, rng: random.Random
) -> tuple[list[list[Example]], list[list[Example]]]:
    """Take as `_take` does, but at least one unit where there are two: a group may be larger than the part wanted."""
    taken, left = _take(units, wanted, rng)
    if taken or len(left) < 2:
        return taken, left
    smallest = min(range(len(left)), key=lambda i: len(left[i]))
    return [left[smallest]], left[:smallest] + left[smallest + 1 :]


def _take(
    units: list[list[Example]], wanted: int, rng: random.Random
) -> tuple[list[list[Example]], list[list[Example]]]:
    """Take about `wanted` rows so that every label keeps its share; rare labels first, big groups before small."""
    total = Counter(label for unit in units for row in unit for label in _labels(row))
    count = sum(map(len, units))
    need = _whole({label: number * wanted / max(1, count) for label, number in total.items()}, rng)
    order = list(units)
    rng.shuffle(order)
    order.sort(key=lambda unit: (min(total[label] for row in unit for label in _labels(row)), -len(unit)))
    taken, left, have = [], [], 0
    for unit in order:
        labels = [label for row in unit for label in _labels(row)]
        rarest = min(labels, key=lambda label: (total[label], label))
        if need[rarest] > 0 and have + len(unit) <= wanted:
            taken.append(unit)
            have += len(unit)
            for label in labels:
                need[label] -= 1
        else:
            left.append(unit)
    return taken, _fill(left, taken, wanted - have, rng)


def _whole(need: dict[str, float], rng: random.Random) -> dict[str, int]:
    """Round needs to whole rows so that their sum stays: the largest remainders get one more, ties by lot."""
    kept = {label: math.floor(rows + 1e-9) for label, rows in need.items()}
    missing = round(sum(need.values())) - sum(kept.values())
    order = sorted(need, key=lambda label: (round(kept[label] - need[label], 9), rng.random()))
    more = set(order[:missing])
    return {label: rows + (label in more) for label, rows in kept.items()}


def _fill(
    left: list[list[Example]], taken: list[list[Example]], missing: int, rng: random.Random
) -> list[list[Example]]:
    """Move a few more units over when groups left the part short; return those that stay."""
    rng.shuffle(left)
    kept, moved = [], 0
    for unit in left:
        if moved + len(unit) <= missing:
            taken.append(unit)
            moved += len(unit)
        else:
            kept.append(unit)
    return kept


def _units(examples: Sequence[Example]) -> list[list[Example]]:
    """Join rows that must stay together: same group, or same text after folding case, space and punctuation."""
    parent = list(range(len(examples)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, row in enumerate(examples):
        keys = [("text", _folded(row))] + ([("group", row.group)] if row.group is not None else [])
        for key in keys:
            parent[root(i)] = root(first.setdefault(key, i))
    joined: dict[int, list[Example]] = {}
    for i, row in enumerate(examples):
        joined.setdefault(root(i), []).append(row)
    return list(joined.values())


def _folded(row: Example) -> str:
    text = "\x1f".join(f"{name}={value}" for name, value in sorted(row.inputs.items()))
    return " ".join(re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text).casefold()).split())


def _with_strata(examples: Sequence[Example]) -> Sequence[Example]:
    """Leave out answers that cannot be kept in proportion: objects, and texts that mostly occur once."""
    if (
        any(isinstance(row.target, dict) for row in examples)
        or len({row.target for row in examples}) > len(examples) / 2
    ):
        return [replace(row, target="") for row in examples]
    return examples


def _labels(row: Example) -> tuple[str, ...]:
    return (row.target,) if isinstance(row.target, str) else tuple(row.target) or ("",)


def _ids(units: list[list[Example]]) -> tuple[str, ...]:
    return tuple(sorted(row.id for unit in units for row in unit))
