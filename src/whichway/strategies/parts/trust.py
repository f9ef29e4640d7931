"""How far a written or found answer is trusted, and below which trust 'I do not know' is the better one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whichway.core.task import Example, Prediction, Task, worth
from whichway.core.text import Text

STEPS = 60
FEWEST_UNKNOWN = 3  # rows without an answer from which a threshold is chosen


@dataclass(frozen=True)
class Trust:
    """Confidence is the logistic of `base + slope * evidence` (Platt scaling, 1999), or `plain` without evidence.

    Where rows without an answer are known, an answer below `threshold` becomes the empty one: 'I do not know'.
    """

    base: float = 0.0
    slope: float = 0.0
    plain: float = 0.5
    threshold: float = 0.0

    def apply(self, answers: Sequence[Prediction], evidence: Sequence[float | None]) -> list[Prediction]:
        """Return the answers with their confidences; those not parsed stay as they are."""
        return [self._one(*pair) for pair in zip(answers, evidence, strict=True)]

    def of(self, evidence: float | None) -> float:
        """Return the confidence that evidence gives."""
        if evidence is None:
            return self.plain
        return round(1 / (1 + math.exp(-max(-30.0, min(30.0, self.base + self.slope * evidence)))), 6)

    def as_json(self) -> dict[str, float]:
        return asdict(self)

    def _one(self, answer: Prediction, evidence: float | None) -> Prediction:
        if not answer.parsed:
            return replace(answer, confidence=0.0)
        sure = self.of(evidence)
        if sure < self.threshold and answer.value != "":
            return replace(answer, value="", confidence=round(1 - sure, 6), sources=(), passages=())
        return replace(answer, confidence=sure)


AS_SAID = Trust(slope=1.0, plain=1.0)  # log-odds as evidence become the probability that they say


def trust_from(kept: Mapping[str, Any] | float) -> Trust:
    """Undo `Trust.as_json`; a number is what earlier versions kept of labels behind an endpoint."""
    return Trust(**kept) if isinstance(kept, Mapping) else replace(AS_SAID, plain=kept)


def fit_odds(right: Sequence[bool], evidence: Sequence[float | None]) -> Trust:
    """Fit confidences to whether answers with these log-odds are right, on labelled rows; held to what the odds say.

    Right and wrong count a little less than wholly (Platt 1999, section 2.2), so that a few rows that are all right make nothing
    certain. `plain` is the share of right answers by the rule of succession.
    """
    plain = round((sum(right) + 1) / (len(right) + 2), 4)
    known = [(said, hit) for said, hit in zip(evidence, right, strict=True) if said is not None]
    hits = sum(hit for _, hit in known)
    high, low = (hits + 1) / (hits + 2), 1 / (len(known) - hits + 2)
    pairs = [(said, high if hit else low) for said, hit in known]
    return Trust(*_newton(pairs, 1.0), plain) if pairs else replace(AS_SAID, plain=plain)


def rows_to_check(task: Task, rows: Sequence[Example], most: int, most_unknown: int) -> list[Example]:
    """Return rows by which trust is learned: the first `most` of them.

    Of texts where some have no answer, `most_unknown`, with the share without an answer that all rows have, and no fewer than
    a threshold asks for: by chance alone a dozen rows often hold none.
    """
    unknown = [row.id for row in rows if row.target == ""]
    if not isinstance(task.output, Text) or len(unknown) < FEWEST_UNKNOWN:
        return list(rows[:most])
    size = min(len(rows), most_unknown)
    count = max(FEWEST_UNKNOWN, round(size * len(unknown) / len(rows)))
    known = [row.id for row in rows if row.target != ""]
    taken = {*unknown[:count], *known[: max(0, size - count)]}
    return [row for row in rows if row.id in taken]


def fit_trust(
    task: Task, rows: Sequence[Example], answers: Sequence[Prediction], evidence: Sequence[float | None]
) -> Trust:
    """Fit confidences to the metric's score of answers to labelled rows that nothing was learned from."""
    good = [goodness(task, row, one) for row, one in zip(rows, answers, strict=True)]
    plain = round((sum(good) + 0.5) / (len(good) + 1), 4)
    pairs = [
        (said, value)
        for said, value, one in zip(evidence, good, answers, strict=True)
        if said is not None and one.parsed
    ]
    trust = Trust(*_logistic(pairs), plain) if pairs else Trust(plain=plain)
    return _with_threshold(trust, task, rows, answers, evidence)


def goodness(task: Task, row: Example, answer: Prediction) -> float:
    """Return the metric's score of one answer, put between 0 and 1."""
    low, high = task.metric.bounds
    score = worth(task.metric, task.metric.score_example(row, answer), answer.parsed)
    return min(1.0, max(0.0, (score - low) / (high - low)))


def _with_threshold(
    trust: Trust, task: Task, rows: Sequence[Example], answers: Sequence[Prediction], evidence: Sequence[float | None]
) -> Trust:
    """Choose the threshold with the best score, where enough of the rows have no answer."""
    unknown = sum(row.target == "" for row in rows)
    if not isinstance(task.output, Text) or unknown < FEWEST_UNKNOWN:
        return trust
    levels: list[float] = sorted({trust.of(one) for one in evidence})
    middles: list[float] = [0.0, *((a + b) / 2 for a, b in zip(levels, levels[1:], strict=False))]

    def score(threshold: float) -> float:
        said = replace(trust, threshold=threshold).apply(answers, evidence)
        return sum(goodness(task, row, one) for row, one in zip(rows, said, strict=True))

    return replace(trust, threshold=round(float(max(middles, key=score)), 6))


def _logistic(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return base and slope of a logistic of soft targets; of few, the base alone."""
    if len(pairs) < 8:
        mean = (sum(g for _, g in pairs) + 0.5) / (len(pairs) + 1)
        return round(math.log(mean / (1 - mean)), 6), 0.0
    return _newton(pairs)


def _newton(pairs: Sequence[tuple[float, float]], start: float = 0.0) -> tuple[float, float]:
    """Fit base and slope by Newton's method; a little ridge around the slope `start` keeps few rows tame."""
    import numpy as np

    table = np.array(pairs)
    centre, spread = table[:, 0].mean(), table[:, 0].std() or 1.0
    x = np.stack([np.ones(len(table)), (table[:, 0] - centre) / spread], axis=1)
    held, ridge = np.array([0.0, start * spread]), np.diag([1e-3, 0.5])
    weights = held
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        slope = x.T @ (table[:, 1] - p) - ridge @ (weights - held)
        weights = weights + np.linalg.solve((x * (p * (1 - p) + 1e-9)[:, None]).T @ x + ridge, slope)
    steep = max(0.0, float(weights[1])) / spread  # more evidence never means less trust
    return round(float(weights[0]) - steep * float(centre), 6), round(steep, 6)
