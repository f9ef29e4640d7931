"""A cheap way first and a dear one only where the cheap one is unsure: computed from answers that are already bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichway.study.answers import answers_of, rows_of
from whichway.study.bench import Bench
from whichway.study.evidence import paired_differences
from whichway.study.facts import use_of
from whichway.study.lines import Line

STEPS = 40  # thresholds tried, at quantiles of the cheap way's confidence
LEAST_SAVED = 0.1  # of the dear way's price: less is not worth two systems
MOST = 3


@dataclass(frozen=True)
class Pair:
    """Two ways with their dollars per 1,000 answers."""

    cheap: Line
    dear: Line
    cheap_usd: float
    dear_usd: float


def cascades(bench: Bench, lines: Sequence[Line], part: str) -> list[dict[str, Any]]:
    """Return the cascades worth knowing, the best first: about as good as the dear way, or better, for less money.

    The threshold is chosen on validation. Scores are those of `part`, on the rows that both ways have answered; on
    validation itself they are a little too good, and `part` says so.
    """
    priced = [(line, use["usd_per_1000"]) for line in lines if _is_done(bench, line) and (use := use_of(bench, line))]
    found = []
    for cheap, low in priced:
        for dear, high in priced:
            if cheap.name != dear.name and low < high:
                one = _judged(bench, Pair(cheap, dear, low, high), part)
                found += [one] if one and _is_worth(bench, one, high) else []
    found.sort(key=lambda one: (-round(one["score"], 3), one["usd_per_1000"]))
    return found[:MOST]


def _judged(bench: Bench, pair: Pair, part: str) -> dict[str, Any] | None:
    """Return one cascade with its threshold, share passed on, score, price and difference to the dear way."""
    threshold = _threshold(bench, pair)
    if threshold is None:
        return None
    names = [pair.cheap.name, pair.dear.name]
    ids, answered = answers_of(bench, names, part)
    if not ids:
        part = "validation"
        ids, answered = answers_of(bench, names, part)
    cheap, dear = (answered[name] for name in names)
    passed = {id_ for id_ in ids if cheap[id_][0].confidence < threshold}
    mixed = [(dear if id_ in passed else cheap)[id_][1] for id_ in ids]
    alone = [dear[id_][1] for id_ in ids]
    groups = [rows_of(bench, part)[id_].group for id_ in ids]
    gap = paired_differences(bench.metric, {"cascade": mixed, "dear": alone}, groups, bench.split.seed)
    share = len(passed) / len(ids)
    return {
        "cheap": pair.cheap.name,
        "dear": pair.dear.name,
        "threshold": round(threshold, 6),
        "part": part,
        "n": len(ids),
        "passed_on": round(share, 6),
        "score": round(bench.metric.aggregate(mixed), 6),
        "cheap_score": round(bench.metric.aggregate([cheap[id_][1] for id_ in ids]), 6),
        "dear_score": round(bench.metric.aggregate(alone), 6),
        "usd_per_1000": round(pair.cheap_usd + share * pair.dear_usd, 6),
        "dear_usd_per_1000": round(pair.dear_usd, 6),
        "difference": gap[("cascade", "dear")].as_json(),
    }


def _threshold(bench: Bench, pair: Pair) -> float | None:
    """Return the lowest threshold whose score on validation is near the best that any threshold reaches."""
    names = [pair.cheap.name, pair.dear.name]
    ids, answered = answers_of(bench, names, "validation")
    if not ids:
        return None
    cheap, dear = (answered[name] for name in names)
    sure = sorted(cheap[id_][0].confidence for id_ in ids)
    tried = [0.0, *dict.fromkeys(sure[len(sure) * i // STEPS] for i in range(1, STEPS)), 1.01]
    scores = [_score(bench, ids, cheap, dear, one) for one in tried]
    enough = max(scores) - bench.task.objective.smallest_difference / 2
    return float(next(one for one, score in zip(tried, scores, strict=True) if score >= enough))


def _score(bench: Bench, ids: Sequence[str], cheap: Mapping[str, Any], dear: Mapping[str, Any], at: float) -> float:
    return bench.metric.aggregate([(dear if cheap[id_][0].confidence < at else cheap)[id_][1] for id_ in ids])


def _is_worth(bench: Bench, one: Mapping[str, Any], dear_usd: float) -> bool:
    near = one["score"] >= one["dear_score"] - bench.task.objective.smallest_difference
    better = one["score"] > one["cheap_score"] + bench.task.objective.smallest_difference
    return bool(near and better and 0 < one["passed_on"] < 1 and one["usd_per_1000"] <= (1 - LEAST_SAVED) * dear_usd)


def _is_done(bench: Bench, line: Line) -> bool:
    state = bench.ledger.trial(line.name)
    return bool(state and state[0] == "done")
