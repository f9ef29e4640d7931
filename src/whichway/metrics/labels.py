"""Metrics for labels: each scores a row once, and aggregates any number of resamples of those scores at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from whichway.core.output import as_labels
from whichway.core.task import Example, Prediction
from whichway.errors import TaskFileError
from whichway.registry import register

# Every class also has `resample(scores, index)`: index is int [resamples, rows]; returns float64 [resamples].


@register("metric", "accuracy")
@dataclass(frozen=True)
class Accuracy:
    """Share of rows answered exactly right (for several labels: the whole set)."""

    name: ClassVar[str] = "accuracy"
    is_mean: ClassVar[bool] = True
    by_value: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("labels",)

    def score_example(self, example: Example, prediction: Prediction) -> float:
        return float(prediction.parsed and prediction.value == example.target)

    def aggregate(self, scores: Sequence[Any]) -> float:
        return _once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return np.asarray(scores, dtype=np.float64)[index].mean(axis=1)


@register("metric", "macro_f1")
@dataclass(frozen=True)
class MacroF1:
    """Mean over labels of F1; a label that neither occurs nor is predicted in a resample is left out of its mean."""

    name: ClassVar[str] = "macro_f1"
    is_mean: ClassVar[bool] = False
    by_value: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("labels",)

    def score_example(self, example: Example, prediction: Prediction) -> list[list[str]]:
        return [list(as_labels(example.target)), list(_answered(prediction))]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return _once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        names = sorted({label for gold, said in scores for label in (*gold, *said)})
        total, count = np.zeros(len(index)), np.zeros(len(index))
        for name in names:
            gold = np.array([name in row[0] for row in scores])
            said = np.array([name in row[1] for row in scores])
            hit, sizes = (gold & said)[index].sum(1), (gold.astype(int) + said)[index].sum(1)
            total += np.divide(2.0 * hit, sizes, out=np.zeros(len(index)), where=sizes > 0)
            count += sizes > 0
        return np.divide(total, count, out=np.zeros(len(index)), where=count > 0)


@register("metric", "micro_f1")
@dataclass(frozen=True)
class MicroF1:
    """F1 over all labels of all rows together; for a single label it equals accuracy."""

    name: ClassVar[str] = "micro_f1"
    is_mean: ClassVar[bool] = False
    by_value: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("labels",)

    def score_example(self, example: Example, prediction: Prediction) -> list[int]:
        gold, said = set(as_labels(example.target)), set(_answered(prediction))
        return [len(gold & said), len(gold) + len(said)]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return _once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return _f1(np.asarray(scores, dtype=np.float64), index)


@register("metric", "f1")
@dataclass(frozen=True)
class F1:
    """F1 of one positive label."""

    positive: str
    name: ClassVar[str] = "f1"
    is_mean: ClassVar[bool] = False
    by_value: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("labels",)

    def score_example(self, example: Example, prediction: Prediction) -> list[int]:
        gold, said = self.positive in as_labels(example.target), self.positive in _answered(prediction)
        return [int(gold and said), int(gold) + int(said)]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return _once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return _f1(np.asarray(scores, dtype=np.float64), index)


@register("metric", "average_precision")
@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of one positive label: rows ranked by its score, ties taken together (as scikit-learn does)."""

    positive: str
    name: ClassVar[str] = "average_precision"
    is_mean: ClassVar[bool] = False
    ranks_scores: ClassVar[bool] = True  # of an answer, however improbable
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("labels",)

    def score_example(self, example: Example, prediction: Prediction) -> list[float]:
        return [float(self.positive in as_labels(example.target)), _score_of(prediction, self.positive)]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return _once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        hits, seen, gain = _ranked(np.asarray(scores, dtype=np.float64), index)
        precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
        positives = hits[:, -1]
        return np.divide((precision * gain).sum(1), positives, out=np.zeros(len(index)), where=positives > 0)


@register("metric", "recall_at_precision")
@dataclass(frozen=True)
class RecallAtPrecision:
    """The largest share of positive rows found while at least `precision` of the alarms are right."""

    positive: str
    precision: float = 0.9
    name: ClassVar[str] = "recall_at_precision"
    is_mean: ClassVar[bool] = False
    ranks_scores: ClassVar[bool] = True  # of an answer, however improbable
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("labels",)

    def score_example(self, example: Example, prediction: Prediction) -> list[float]:
        return [float(self.positive in as_labels(example.target)), _score_of(prediction, self.positive)]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return _once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        hits, seen, _ = _ranked(np.asarray(scores, dtype=np.float64), index)
        precise = (hits >= self.precision * seen - 1e-12) & (seen > 0)
        positives = hits[:, -1:]
        recall = np.divide(hits, positives, out=np.zeros_like(hits), where=positives > 0)
        return np.where(precise, recall, 0.0).max(axis=1)


@register("metric", "cost_matrix")
@dataclass(frozen=True)
class CostMatrix:
    """Mean money per row, negative: `costs[true][answered]` is what that answer costs; what is not named costs `other`.

    A right answer costs nothing unless the matrix says so; an answer that does not parse costs the dearest mistake of its row.
    """

    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    other: float = 1.0
    name: ClassVar[str] = "cost_matrix"
    is_mean: ClassVar[bool] = True
    by_value: ClassVar[bool] = True
    shapes: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        bad = [1 for row in self.costs.values() for cost in row.values() if not np.isfinite(cost)]
        if bad or not np.isfinite(self.other):
            raise TaskFileError(
                "The metric cost_matrix has a cost that is not a finite number.", "Write plain numbers."
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """Between the dearest and the cheapest answer."""
        every = [0.0, self.other, *(cost for row in self.costs.values() for cost in row.values())]
        return -max(every), -min(every)

    def score_example(self, example: Example, prediction: Prediction) -> float:
        row = self.costs.get(str(example.target), {})
        if not prediction.parsed:
            return -max([self.other, *row.values()])
        right = prediction.value == example.target
        return -float(row.get(str(prediction.value), 0.0 if right else self.other))

    def aggregate(self, scores: Sequence[Any]) -> float:
        return _once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return np.asarray(scores, dtype=np.float64)[index].mean(axis=1)


def _once(metric: Any, scores: Sequence[Any]) -> float:
    if not scores:
        return float("nan")
    return float(metric.resample(scores, np.arange(len(scores))[None])[0])


def _answered(prediction: Prediction) -> tuple[str, ...]:
    return as_labels(prediction.value) if prediction.parsed else ()


def _score_of(prediction: Prediction, label: str) -> float:
    if not prediction.parsed:
        return 0.0
    if prediction.scores is not None:
        return float(prediction.scores.get(label, 0.0))
    return prediction.confidence if label in as_labels(prediction.value) else 1.0 - prediction.confidence


def _f1(counts: Any, index: Any) -> Any:
    """F1 from rows of (hits, gold + said): 2·hits / sizes; no positive anywhere counts as 0."""
    sums = counts[index].sum(axis=1)
    return np.divide(2.0 * sums[:, 0], sums[:, 1], out=np.zeros(len(index)), where=sums[:, 1] > 0)


def _ranked(rows: Any, index: Any) -> tuple[Any, Any, Any]:
    """Return per distinct score, from high to low: positives found so far, rows seen so far, positives gained here."""
    counts = np.stack([np.bincount(one, minlength=len(rows)) for one in index]).astype(np.float64)
    order = np.argsort(-rows[:, 1], kind="stable")
    ends = np.append(np.flatnonzero(np.diff(rows[order, 1])), len(rows) - 1)
    hits = np.cumsum(counts[:, order] * rows[order, 0], axis=1)[:, ends]
    seen = np.cumsum(counts[:, order], axis=1)[:, ends]
    return hits, seen, np.diff(hits, axis=1, prepend=0.0)
