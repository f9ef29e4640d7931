"""A cheap way first and a dear one only where the cheap one is unsure: computed from answers that are already bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichway.study.answers import answers_of, rows_of
from whichway.study.bench import Bench
from whichway.study.cost import Cost, in_turn
from whichway.study.evidence import paired_differences
from whichway.study.facts import running_cost
from whichway.study.lines import Line

STEPS = 40  # thresholds tried, at quantiles of the cheap way's confidence
LEAST_SAVED = 0.1  # of the dear way's price: less is not worth two systems
MOST = 3


@dataclass(frozen=True)
class Pair:
    """Two ways with what running them costs, and how many requests a month there are."""

    cheap: Line
    dear: Line
    cheap_cost: Cost
    dear_cost: Cost
    requests: float

    def usd(self, share: float) -> float:
        """Return dollars per 1,000 answers where a share of them is passed on."""
        return in_turn(self.cheap_cost, self.dear_cost, share).running_per_1000(self.requests)

    @property
    def dear_usd(self) -> float:
        """Dollars per 1,000 answers of the dear way alone."""
        return self.dear_cost.running_per_1000(self.requests)


def cascades(bench: Bench, lines: Sequence[Line], part: str) -> list[dict[str, Any]]:
    """Return the cascades worth knowing, the best first: about as good as the dear way, or better, for less money.

    Which these are, their order and thresholds were known before the test part was opened: they are judged on validation, where
    a score is a little too good (`validation`). Beside it stand the scores of `part`, on the rows that both ways answered.
    """
    priced = [(line, cost) for line in lines if _is_done(bench, line) and (cost := running_cost(bench, line))]
    requests, found = bench.task.objective.requests_per_month, list[tuple[Pair, float, dict[str, Any]]]()
    for cheap, low in priced:
        for dear, high in priced:
            pair = Pair(cheap, dear, low, high, requests)
            if cheap.name == dear.name or low.running_per_1000(requests) >= pair.dear_usd:
                continue
            threshold = _threshold(bench, pair)
            known = None if threshold is None else _judged(bench, pair, threshold, "validation")
            if threshold is not None and known and _is_worth(bench, known, pair.dear_usd):
                found.append((pair, threshold, known))
    found.sort(key=lambda one: (-round(one[2]["score"], 3), one[2]["usd_per_1000"]))
    return [_told(bench, *one, part) for one in found[:MOST]]


def _told(bench: Bench, pair: Pair, threshold: float, known: dict[str, Any], part: str) -> dict[str, Any]:
    """Return one cascade as plain data: what `part` says of it, and what was known before."""
    return {
        "cheap": pair.cheap.name,
        "dear": pair.dear.name,
        "threshold": round(threshold, 6),
        **((_judged(bench, pair, threshold, part) if part != "validation" else None) or known),
        "dear_usd_per_1000": round(pair.dear_usd, 6),
        "validation": known,
    }


def _judged(bench: Bench, pair: Pair, threshold: float, part: str) -> dict[str, Any] | None:
    """Return share passed on, scores, price and difference to the dear way on the rows of a part; None without any."""
    ids, answered = answers_of(bench, [pair.cheap.name, pair.dear.name], part)
    if not ids:
        return None
    cheap, dear = (answered[name] for name in (pair.cheap.name, pair.dear.name))
    passed = {id_ for id_ in ids if cheap[id_][0].confidence < threshold}
    mixed = [(dear if id_ in passed else cheap)[id_][1] for id_ in ids]
    alone = [dear[id_][1] for id_ in ids]
    groups = [rows_of(bench, part)[id_].group for id_ in ids]
    gap = paired_differences(bench.metric, {"cascade": mixed, "dear": alone}, groups, bench.split.seed)
    share = len(passed) / len(ids)
    return {
        "part": part,
        "n": len(ids),
        "passed_on": round(share, 6),
        "score": round(bench.metric.aggregate(mixed), 6),
        "cheap_score": round(bench.metric.aggregate([cheap[id_][1] for id_ in ids]), 6),
        "dear_score": round(bench.metric.aggregate(alone), 6),
        "usd_per_1000": round(pair.usd(share), 6),
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
