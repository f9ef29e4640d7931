"""How the trained strategies grow with labels: measured on nested parts of the train rows, foretold beyond them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from whichway.core.output import Labels
from whichway.core.strategy import Progress
from whichway.errors import BudgetReached, WhichwayError
from whichway.study.bench import Bench, fit_seconds, fitted, predict_blocks, rows_of_rung
from whichway.study.curves import HORIZON, LEAST_ERROR, Curve, break_even, priced_gain, told_curve
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
LEAST_RUNGS = 2  # below all labels: a curve through fewer than three points says nothing
MOST_S = 30.0  # that the rungs of one strategy may take
KEPT_S = 15.0  # left for what comes after
GAINS = (0.5, 1.0, 3.0)  # more labels, as shares of those at hand
NOTED = "no label curve"  # under which the ledger keeps why a line that could be measured was not


def measure_growth(bench: Bench, lines: Sequence[Line], thorough: bool = False) -> None:
    """Fit and measure the lower rungs of finished strategies, the quickest first, while there is time; nothing is done twice.

    A strategy whose rungs take longer than MOST_S is left out, unless this is `thorough`; the ledger then keeps why.
    """
    left_out: dict[str, str] = {}
    bench.ledger.note(NOTED, left_out)  # what an earlier pass said holds no longer, even if this one is interrupted
    able = [line for line in lines if not _why_never(bench, line) and _is_done(bench, line)]
    for line in sorted(able, key=lambda line: _seconds(bench, line)):
        seconds, left = _seconds(bench, line), bench.deadline - time.monotonic() - KEPT_S
        about = f"its smaller fits would take about {math.ceil(seconds)} s"
        if not _open_rungs(bench, line):
            continue
        if seconds > MOST_S and not thorough:
            left_out[line.name] = f"{about} (limit {MOST_S:.0f} s; --exhaustive measures them)"
        elif seconds > left:
            left_out[line.name] = f"{about}, and the time budget leaves {max(0.0, left):.0f} s: raise budget.minutes"
        else:
            _measure_rungs(bench, line, left_out)
    bench.ledger.note(NOTED, left_out)


def _measure_rungs(bench: Bench, line: Line, left_out: dict[str, str]) -> None:
    try:
        for labels in _open_rungs(bench, line):
            measure_rung(bench, line, labels, KEPT_S)
    except BudgetReached:
        left_out[line.name] = "the time budget ended during its smaller fits: raise budget.minutes"
    except Exception as error:  # too few rows of a label, say: the strategy itself is measured, and stays so
        left_out[line.name] = f"its smaller fits failed: {str(error)[:200]}"
        bench.ledger.decide("growth not measured", {"strategy": line.name, "reason": str(error)[:200]})
        if bench.ledger.noted("debug") and not isinstance(error, WhichwayError):
            raise


def labels_missing(bench: Bench, lines: Sequence[Line]) -> list[dict[str, str]]:
    """Return which strategies that learn from rows have no label curve, and why; those skipped took no part at all."""
    found = []
    for line in lines:
        state = bench.ledger.trial(line.name)
        is_learner = line.way in LEARNING or line.strategy.trains
        if line.excluded or not is_learner or (state and state[0] == "skipped") or has_curve(bench, line):
            continue
        known = bench.ledger.noted(NOTED) or {}
        reason = _why_never(bench, line) or known.get(line.name, "not measured yet, the same command goes on")
        if not _is_done(bench, line):
            reason = (
                "dropped by the race (--exhaustive runs it)"
                if state and state[0] == "dropped"
                else "not run to its end"
            )
        found.append({"strategy": line.name, "reason": reason})
    return found


def _why_never(bench: Bench, line: Line) -> str:
    """Say why no curve of this line can be measured in this study, or nothing."""
    if bench.metric.bounds != (0.0, 1.0):
        return f"curves lie between 0 and 1, and {bench.metric.name} does not"
    if len(rungs_of(bench)) < LEAST_RUNGS:
        return f"too few rows: {_labels(bench)} to learn from, and a curve takes {PARTS[-LEAST_RUNGS] * FEWEST}"
    if line.way not in LEARNING:
        return "no curve is measured of ways of this kind"
    return "" if line.is_local else "it is trained behind an endpoint, where every smaller fit is paid for"


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
    predict_blocks(bench, line, solution, asked, f"labels-{labels}", spare_s, f"rung-{labels}")


def growth_report(bench: Bench, lines: Sequence[Line], chosen: str | None) -> list[dict[str, Any]]:
    """Return per measured strategy its rungs, a band up to four times the labels, break-even labels, and priced gains of more.

    `chance` and `seed` are what its curve is fitted with: whoever reads the report can fit the same (curves.told_curve).
    """
    found: list[dict[str, Any]] = []
    for line in lines:
        if not has_curve(bench, line):
            continue
        sizes = [one for one in [*rungs_of(bench), _labels(bench)] if _interval(bench, line.name, _part(bench, one))]
        rungs = [_shown(bench, line.name, size) for size in sizes]
        said = {"strategy": line.name, "rungs": rungs, "chance": _chance(bench), "seed": bench.split.seed}
        curve = told_curve(said)
        whole, each = curve.largest, bench.task.objective.label_usd
        grid = sorted({*sizes, *(round(whole * step) for step in (1.4, 2, 2.8, HORIZON))})
        band = curve.band(grid)
        said["band"] = [
            {"labels": n, **{key: round(float(x), 4) for key, x in zip(("value", "low", "high"), at, strict=True)}}
            for n, at in zip(grid, band.T, strict=True)
        ]
        said["gains"] = [priced_gain(curve, round(whole * share), each) for share in GAINS]
        found.append({**said, "break_even": _break_even(bench, lines, line, curve, chosen)})
    return found


def has_curve(bench: Bench, line: Line) -> bool:
    """Tell whether a line was measured on all of its labels and on two parts of them at least."""
    if not _interval(bench, line.name, "validation"):
        return False
    return sum(_is_answered(bench, line, labels) for labels in rungs_of(bench)) >= LEAST_RUNGS


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


def _is_answered(bench: Bench, line: Line, labels: int) -> bool:
    known = bench.ledger.scores(line.name, f"labels-{labels}")
    return all(id_ in known for id_ in _validation(bench))


def _mean(bench: Bench, name: str, part: str) -> tuple[float, float]:
    """Return a score and its standard error on the first fold's validation rows; not a number without all."""
    score = _interval(bench, name, part)
    if score is None:
        return float("nan"), float("nan")
    return score.value, max(LEAST_ERROR, (score.high - score.low) / (2 * 1.96))


def _interval(bench: Bench, name: str, part: str) -> Any:
    known, ids = bench.ledger.scores(name, part), _validation(bench)
    if not ids or any(id_ not in known for id_ in ids):
        return None
    return score_interval(bench.metric, [known[id_] for id_ in ids], seed=bench.split.seed)


def _shown(bench: Bench, name: str, labels: int) -> dict[str, Any]:
    return {"labels": labels, **_interval(bench, name, _part(bench, labels)).as_json()}


def _part(bench: Bench, labels: int) -> str:
    return "validation" if labels == _labels(bench) else f"labels-{labels}"


def _chance(bench: Bench) -> float:
    output = bench.task.output
    plain = isinstance(output, Labels) and not output.multi and bench.metric.name == "accuracy"
    return 1 / len(output.names) if plain and isinstance(output, Labels) else 0.0


def _seconds(bench: Bench, line: Line) -> float:
    """Estimate what is open of the lower rungs, from what the strategy itself took; fixed costs of a fit count at every rung."""
    fits, count = fit_seconds(bench, line.name), len(_open_rungs(bench, line))
    known = [labels for labels in rungs_of(bench) if _is_answered(bench, line, labels)]
    if known:  # they are asked for answers alone, which may take less
        answers = sum(bench.ledger.call_seconds(line.name, _part(bench, known[-1])))
    else:
        answers = sum(bench.ledger.call_seconds(line.name, "validation")) / len(bench.split.folds)
    return count * (0.5 * max(fits, default=0.0) + answers)


def _open_rungs(bench: Bench, line: Line) -> list[int]:
    """Return the lower rungs that are not answered yet; the race may have answered one."""
    return [labels for labels in rungs_of(bench) if not _is_answered(bench, line, labels)]


def _is_done(bench: Bench, line: Line) -> bool:
    state = bench.ledger.trial(line.name)
    return bool(state and state[0] == "done")


def _labels(bench: Bench) -> int:
    return len(bench.split.folds[0].train) + len(bench.split.folds[0].dev)


def _validation(bench: Bench) -> list[str]:
    mine = set(bench.split.folds[0].validation)
    return [id_ for id_ in bench.split.validation if id_ in mine]
