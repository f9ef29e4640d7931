"""Two ways asked about every row, their probabilities averaged: computed from answers that are already bought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whichway.core.output import Labels
from whichway.core.task import Prediction
from whichway.study.answers import answers_of, rows_of
from whichway.study.bench import Bench, scored
from whichway.study.cost import Cost, in_turn
from whichway.study.evidence import paired_differences
from whichway.study.facts import running_cost
from whichway.study.lines import Line


def blend(bench: Bench, lines: Sequence[Line], part: str) -> dict[str, Any] | None:
    """Return what the two ways of the best scores on validation reach together; None without two that tell probabilities.

    An equal mean of two posteriors (the sum rule, Kittler et al. 1998) has nothing to tune, and which two it is was known
    before the test part was opened. Beside the score of validation stands that of `part`, where both have answered there.
    """
    output = bench.task.output
    if not isinstance(output, Labels) or output.multi:
        return None
    known = {line.name: score for line in lines if (score := _score(bench, line.name)) is not None}
    names = sorted(known, key=lambda name: -known[name])[:2]
    before = _judged(bench, names, "validation") if len(names) == 2 else None
    if before is None:
        return None
    costs = [running_cost(bench, line) for name in names for line in lines if line.name == name]
    later = _judged(bench, names, part) if part != "validation" else None
    return {"of": names, **(later or before), "validation": before, "usd_per_1000": _usd(bench, costs)}


def _score(bench: Bench, name: str) -> float | None:
    """Return a way's score on validation; None where it is not done, or tells no probabilities."""
    state = bench.ledger.trial(name)
    ids, answered = answers_of(bench, [name], "validation")
    told = [answered[name][id_] for id_ in ids]
    if not state or state[0] != "done" or not told or not all(one.scores for one, _ in told):
        return None
    return float(bench.metric.aggregate([score for _, score in told]))


def _judged(bench: Bench, names: Sequence[str], part: str) -> dict[str, Any] | None:
    """Return the blend's score, its parts' scores and its difference to the better of them, on the rows of a part."""
    ids, answered = answers_of(bench, names, part)
    if not ids:
        return None
    rows = [rows_of(bench, part)[id_] for id_ in ids]
    mixed = [_mean([answered[name][id_][0] for name in names]) for id_ in ids]
    scores = {"blend": [score for _, score in scored(bench.metric, rows, mixed)]}
    scores |= {name: [answered[name][id_][1] for id_ in ids] for name in names}
    gaps = paired_differences(bench.metric, scores, [row.group for row in rows], bench.split.seed)
    reached = {name: round(bench.metric.aggregate(one), 6) for name, one in scores.items()}
    better = max(names, key=lambda name: reached[name])
    said = {"part": part, "n": len(ids), "score": reached.pop("blend"), "scores": reached, "better": better}
    return said | {"difference": gaps[("blend", better)].as_json()}


def _mean(answers: Sequence[Prediction]) -> Prediction:
    """Return the likeliest label by the mean of the answers' probabilities."""
    labels = dict.fromkeys(label for one in answers for label in one.scores or ())
    mean = {label: sum((one.scores or {}).get(label, 0.0) for one in answers) / len(answers) for label in labels}
    best = max(mean, key=lambda label: mean[label])
    return Prediction(best, mean[best], mean)


def _usd(bench: Bench, costs: Sequence[Cost | None]) -> float | None:
    """Return dollars per 1,000 answers of both; None where one has no price."""
    one, other = costs
    if one is None or other is None:
        return None
    return round(in_turn(one, other, 1.0).running_per_1000(bench.task.objective.requests_per_month), 6)
