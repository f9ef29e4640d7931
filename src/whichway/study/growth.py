"""How the trained strategies grow with labels: measured on nested parts of the train rows, foretold beyond them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from whichway.core.output import Labels
from whichway.core.strategy import Progress
from whichway.errors import BudgetReached, WhichwayError
from whichway.study.bench import Bench, fit_seconds, fitted, predict_blocks, rows_of_rung
from whichway.study.curves import HORIZON, Curve, Rung, break_even, fit_curve, gain
from whichway.study.evidence import score_interval
from whichway.study.lines import Line

LEARNING = (
    "classic",
    "probe",
    "encoder",
    "finetune",
    "raft",
    "extractive",
)  # what grows with the rows it is trained on
PARTS = (8, 4, 2)  # of the train rows, one in so many; all of them are measured anyway
FEWEST = 16  # rows of the smallest rung
MOST_S = 30.0  # that the rungs of one strategy may take
KEPT_S = 15.0  # left for what comes after
GAINS = (0.5, 1.0, 3.0)  # more labels, as shares of those at hand


def measure_growth(bench: Bench, lines: Sequence[Line]) -> None:
    """Fit and measure the lower rungs of finished strategies, the quickest first, while there is time; nothing is done twice."""
    if bench.metric.bounds != (0.0, 1.0):  # curves lie between 0 and 1: money, say, has no such ends
        return
    able = [line for line in lines if line.way in LEARNING and line.is_local and _is_done(bench, line)]
    for line in sorted(able, key=lambda line: _seconds(bench, line)):
        seconds = _seconds(bench, line)
        if seconds > MOST_S or time.monotonic() + seconds + KEPT_S > bench.deadline:
            continue
        try:
            for labels in rungs_of(bench):
                measure_rung(bench, line, labels, KEPT_S)
        except BudgetReached:
            return
        except Exception as error:  # too few rows of a label, say: the strategy itself is measured, and stays so
            bench.ledger.decide("growth not measured", {"strategy": line.name, "reason": str(error)[:200]})
            if bench.ledger.noted("debug") and not isinstance(error, WhichwayError):
                raise


def rungs_of(bench: Bench) -> list[int]:
    """Return the numbers of labels below all of them at which strategies are measured."""
    whole = _labels(bench)
    return [whole // part for part in PARTS if whole // part >= FEWEST]


def measure_rung(bench: Bench, line: Line, labels: int, spare_s: float, rows: int | None = None) -> None:
    """Fit a line on the first so many of its rows, which are nested between rungs, and answer the first validation rows."""
    train, dev = rows_of_rung(bench, labels)
    bench.meter.trial, bench.meter.phase = line.name, "rung"
    bench.say(line.name, Progress(f"on {labels} labels"))
    solution = fitted(bench, line, f"rung-{labels}", train, dev, spare_s)
    asked = [bench.rows[id_] for id_ in _validation(bench)[:rows]]
    predict_blocks(bench, line, solution, asked, f"labels-{labels}", spare_s)


def growth_report(bench: Bench, lines: Sequence[Line], chosen: str | None) -> list[dict[str, Any]]:
    """Return per measured strategy its rungs, a band up to four times the labels, break-even labels, and gains of more."""
    found = []
    for line in lines:
        points = _rungs(bench, line.name)
        if len(points) < 3:
            continue
        curve = fit_curve(points, _chance(bench), bench.split.seed)
        whole = curve.largest
        grid = sorted({*(one.labels for one in points), *(round(whole * step) for step in (1.4, 2, 2.8, HORIZON))})
        band = curve.band(grid)
        found.append(
            {
                "strategy": line.name,
                "rungs": [_shown(bench, line.name, one.labels) for one in points],
                "band": [
                    {"labels": n, **{key: _back(bench, x) for key, x in zip(("value", "low", "high"), at, strict=True)}}
                    for n, at in zip(grid, band.T, strict=True)
                ],
                "gains": [_gain(bench, curve, round(whole * share)) for share in GAINS],
                "break_even": _break_even(bench, lines, line, curve, chosen),
            }
        )
    return found


def _gain(bench: Bench, curve: Curve, more: int) -> dict[str, Any]:
    low, high = bench.metric.bounds
    value, least, most = (round(one * (high - low), 4) for one in gain(curve, more))
    return {"more": more, "value": value, "low": least, "high": most}


def _break_even(bench: Bench, lines: Sequence[Line], line: Line, curve: Curve, chosen: str | None) -> Any:
    """Compare with the recommended strategy as it is; the recommended one itself with the best that learns from no rows."""
    if chosen == line.name:
        others = [one for one in lines if one.way not in LEARNING and _is_done(bench, one)]
        scores = {one.name: _mean(bench, one.name, "validation")[0] for one in others if one.name != line.name}
        against = max(scores, key=lambda name: scores[name], default=None)
    else:
        against = chosen
    if against is None:
        return None
    import numpy as np

    value, error = _mean(bench, against, "validation")
    reference = np.random.default_rng(bench.split.seed).normal(value, error, 1000)
    return {"against": against, **asdict(break_even(curve, reference, curve.largest))}


def _rungs(bench: Bench, name: str) -> list[Rung]:
    found = []
    for labels in rungs_of(bench):
        value, error = _mean(bench, name, f"labels-{labels}")
        if error == error:  # not a number where nothing was answered
            found.append(Rung(labels, value, error))
    value, error = _mean(bench, name, "validation")
    return [*found, Rung(_labels(bench), value, error)] if error == error else []


def _mean(bench: Bench, name: str, part: str) -> tuple[float, float]:
    """Return a score between 0 and 1 and its standard error on the first fold's validation rows; not a number without all."""
    score = _interval(bench, name, part)
    if score is None:
        return float("nan"), float("nan")
    low, high = bench.metric.bounds
    return (score.value - low) / (high - low), max(0.005, (score.high - score.low) / (2 * 1.96 * (high - low)))


def _interval(bench: Bench, name: str, part: str) -> Any:
    known, ids = bench.ledger.predictions(name, part), _validation(bench)
    if not ids or any(id_ not in known for id_ in ids):
        return None
    return score_interval(bench.metric, [known[id_][1] for id_ in ids], seed=bench.split.seed)


def _shown(bench: Bench, name: str, labels: int) -> dict[str, Any]:
    part = "validation" if labels == _labels(bench) else f"labels-{labels}"
    return {"labels": labels, **_interval(bench, name, part).as_json()}


def _back(bench: Bench, share: float) -> float:
    low, high = bench.metric.bounds
    return round(low + float(share) * (high - low), 4)


def _chance(bench: Bench) -> float:
    output = bench.task.output
    plain = isinstance(output, Labels) and not output.multi and bench.metric.name == "accuracy"
    return 1 / len(output.names) if plain and isinstance(output, Labels) else 0.0


def _seconds(bench: Bench, line: Line) -> float:
    """Estimate what the lower rungs take, from what the strategy itself took; fixed costs of a fit count at every rung."""
    fits, answers = fit_seconds(bench, line.name), bench.ledger.call_seconds(line.name, "validation")
    count = len(rungs_of(bench))
    return count * (0.5 * max(fits, default=0.0) + sum(answers) / len(bench.split.folds))


def _is_done(bench: Bench, line: Line) -> bool:
    state = bench.ledger.trial(line.name)
    return bool(state and state[0] == "done")


def _labels(bench: Bench) -> int:
    return len(bench.split.folds[0].train) + len(bench.split.folds[0].dev)


def _validation(bench: Bench) -> list[str]:
    mine = set(bench.split.folds[0].validation)
    return [id_ for id_ in bench.split.validation if id_ in mine]
