"""Metrics for JSON answers: whole records, fields and entities, with numbers and dates compared by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from whichway.core.task import Example, Prediction
from whichway.metrics.resampling import means, once, ratios
from whichway.metrics.values import Sameness, is_list, states
from whichway.registry import register

# Paths name fields with dots and lists with [], as in "items[].price". What states nothing (None, "", []) is not counted, and
# an answer that does not parse states nothing. `case_sensitive` and `day_first` are those of metrics/values.py.
Pairs = dict[str, list[Any]]


@register("metric", "exact_record")
@dataclass(frozen=True)
class ExactRecord:
    """Share of rows whose whole record is right: the same fields with the same values, lists in any order."""

    case_sensitive: bool = True
    day_first: bool = False
    name: ClassVar[str] = "exact_record"
    is_mean: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("fields",)

    def score_example(self, example: Example, prediction: Prediction) -> float:
        rule = Sameness(self.case_sensitive, self.day_first)
        return float(prediction.parsed and rule.same(example.target or {}, prediction.value or {}))

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return means(scores, index)


@register("metric", "field_f1")
@dataclass(frozen=True)
class FieldF1:
    """Mean over top-level fields of the micro F1 of each field's values over all rows.

    A value that is a list of objects counts by its leaves, so that a line with one wrong price is partly right. A field that a
    resample neither holds nor is said to hold is left out of its mean, as in macro_f1.
    """

    case_sensitive: bool = True
    day_first: bool = False
    name: ClassVar[str] = "field_f1"
    is_mean: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("fields",)

    def score_example(self, example: Example, prediction: Prediction) -> dict[str, list[int]]:
        """Return hits and wanted + said of each field."""
        rule = Sameness(self.case_sensitive, self.day_first)
        found: dict[str, list[int]] = {}
        wanted, said = _record(example.target), _record(prediction.value if prediction.parsed else None)
        for name in sorted({*wanted, *said}):
            hits, gold, given = _counts(rule, leaves({name: wanted.get(name)}), leaves({name: said.get(name)}))
            if gold + given:
                found[name] = [hits, gold + given]
        return found

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        total, count = np.zeros(len(index)), np.zeros(len(index))
        for name in sorted({name for row in scores for name in row}):
            rows = np.array([row.get(name, (0, 0)) for row in scores], dtype=np.float64)
            total += ratios(rows, index, 2.0)
            count += rows[:, 1][index].sum(axis=1) > 0
        return np.divide(total, count, out=np.zeros(len(index)), where=count > 0)


@register("metric", "entity_f1")
@dataclass(frozen=True)
class EntityF1:
    """Micro F1 over (path, value) pairs of all rows as multisets: exact span and type, as in CoNLL 2003.

    Each element of a list is one entity, an object with all it holds: {"type": "party", "text": "ACME"} is right as a whole.
    """

    case_sensitive: bool = True
    day_first: bool = False
    name: ClassVar[str] = "entity_f1"
    is_mean: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("fields",)

    def score_example(self, example: Example, prediction: Prediction) -> list[int]:
        said = entities(_record(prediction.value if prediction.parsed else None))
        rule = Sameness(self.case_sensitive, self.day_first)
        hits, gold, given = _counts(rule, entities(_record(example.target)), said)
        return [hits, gold + given]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return ratios(scores, index, 2.0)


def per_field(
    examples: Sequence[Example], predictions: Sequence[Prediction], case_sensitive: bool = True, day_first: bool = False
) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and n (values in the targets) of every path, in order of its first appearance."""
    rule = Sameness(case_sensitive, day_first)
    sums: dict[str, Any] = {}
    for row, answer in zip(examples, predictions, strict=True):
        wanted = leaves(_record(row.target))
        said = leaves(_record(answer.value if answer.parsed else None))
        for path in dict.fromkeys([*wanted, *said]):
            gold, given = wanted.get(path, []), said.get(path, [])
            so_far = sums.setdefault(path, np.zeros(3))
            so_far += [rule.shared(gold, given), len(gold), len(given)]
    return {path: _shares(*(float(one) for one in counts)) for path, counts in sums.items()}


def leaves(record: Mapping[str, Any]) -> Pairs:
    """Return the scalars of a record by path; elements of a list share one path."""
    return _collected(_walk(record, "", True))


def entities(record: Mapping[str, Any]) -> Pairs:
    """Return the scalars and the whole list elements of a record by path."""
    return _collected(_walk(record, "", False))


def _walk(value: Any, path: str, into_lists: bool) -> Iterator[tuple[str, Any]]:
    if not states(value):
        return
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _walk(one, f"{path}.{name}" if path else str(name), into_lists)
    elif is_list(value):
        for one in value:
            if into_lists:
                yield from _walk(one, f"{path}[]", into_lists)
            elif states(one):
                yield f"{path}[]", one
    else:
        yield path, value


def _collected(pairs: Iterator[tuple[str, Any]]) -> Pairs:
    found: Pairs = {}
    for path, value in pairs:
        found.setdefault(path, []).append(value)
    return found


def _counts(rule: Sameness, wanted: Pairs, said: Pairs) -> tuple[int, int, int]:
    """Return pairs on both sides, wanted ones and said ones."""
    hits = sum(rule.shared(values, said[path]) for path, values in wanted.items() if path in said)
    return hits, sum(map(len, wanted.values())), sum(map(len, said.values()))


def _record(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _shares(hits: float, gold: float, given: float) -> dict[str, float]:
    return {
        "precision": hits / given if given else 0.0,
        "recall": hits / gold if gold else 0.0,
        "f1": 2.0 * hits / (gold + given) if gold + given else 0.0,
        "n": gold,
    }
