"""At most three finalists, refitted on all labels outside the test part, once on the sealed test part (methods.md §1, G2)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from whichway.errors import BudgetReached, WhichwayError
from whichway.study.cost import Cost, hourly_usd, local_per_1000
from whichway.study.evidence import joint_samples
from whichway.study.lines import Line
from whichway.study.recommend import Candidate, pick_finalists
from whichway.study.split import DEV_SHARE
from whichway.study.trial import Bench, fitted, load_solution, predict_blocks

LEAST_TEST = 100  # fewer rows than this certify nothing


def finalists_of(bench: Bench) -> list[str]:
    """Return the finalists for whom the test part was opened, if it was: it is opened once."""
    for what, details in bench.ledger.decisions():
        if what == "test part opened":
            return list(details["finalists"])
    return []


def choose_finalists(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Choose finalists on validation, and write down that the test part is opened for them."""
    if not bench.split.test:
        return []
    names = pick_finalists(bench.task, candidates(bench, lines, "validation"))
    if names:
        bench.ledger.decide("test part opened", {"finalists": names, "rows": len(bench.split.test)})
    return names


def candidates(bench: Bench, lines: Sequence[Line], part: str) -> list[Candidate]:
    """Return what the decision looks at, over the rows that all of them have answered in this part."""
    answered = {}
    for line in lines:
        state = bench.ledger.trial(line.name)
        if state and state[0] == "done":
            found = bench.ledger.predictions(line.name, part)
            if found:
                answered[line.name] = found
    common = common_rows(bench, answered, part)
    if not common:
        return []
    scores = {name: [found[id_][1] for id_ in common] for name, found in answered.items()}
    rows = bench.test if part == "test" else bench.rows
    samples = joint_samples(bench.metric, scores, [rows[id_].group for id_ in common], bench.split.seed)
    order = {line.name: i for i, line in enumerate(lines)}
    by_name = {line.name: line for line in lines}
    return [
        Candidate(name, samples[name], order=order[name], **use_facts(bench, by_name[name], answered[name]))
        for name in answered
    ]


def common_rows(bench: Bench, answered: dict[str, Any], part: str) -> list[str]:
    """Return the ids that every strategy has answered, in the study's order."""
    order = bench.split.test if part == "test" else bench.split.validation
    return [id_ for id_ in order if all(id_ in found for found in answered.values())] if answered else []


def use_facts(bench: Bench, line: Line, answered: dict[str, Any]) -> dict[str, Any]:
    """Return cost, latency, consistency and share of parsed answers, as the decision needs them."""
    price = hourly_usd(bench.task.objective, has_gpu())
    use, consistency = use_of(bench, line), consistency_of(bench, line)
    build = [
        spend for trial, phase, _, spend in bench.ledger.spends() if trial == line.name and phase.startswith("fit")
    ]
    folds = len(bench.split.folds)
    upfront = sum(one.usd for one in build) + sum(one.seconds for one in build) / folds * price / 3600
    return {
        "cost": Cost(upfront, use["usd_per_1000"] if use else 0.0),
        "p95_ms": use["p95_ms"] if use else None,
        "consistency": consistency,
        "parsed": sum(one.parsed for one, _ in answered.values()) / len(answered) if answered else None,
    }


def use_of(bench: Bench, line: Line) -> dict[str, float] | None:
    """Return dollars per 1,000, p50 and p95 in milliseconds, and rows per second; None where nothing was measured."""
    import numpy as np

    if line.is_local:
        found = bench.ledger.recall(f"{line.key(bench.fingerprint)}/use")
        if not found:
            return None
        singles, speed = found["singles_ms"], found["rows_per_s"]
        per_1000 = local_per_1000(speed, hourly_usd(bench.task.objective, has_gpu()))
    else:
        singles = [1000 * s for s in bench.ledger.call_seconds(line.name, "validation:call")]
        if not singles:
            return None
        spent = [one for t, phase, _, one in bench.ledger.spends() if t == line.name and phase == "validation:call"]
        per_1000 = 1000 * sum(one.usd for one in spent) / len(singles)
        wall = sum(bench.ledger.call_seconds(line.name, "validation"))
        speed = len(singles) / max(wall, 1e-6)
    p50, p95 = (float(x) for x in np.quantile(singles, [0.5, 0.95])) if singles else (0.0, 0.0)
    return {"usd_per_1000": per_1000, "p50_ms": p50, "p95_ms": p95, "rows_per_s": speed}


def consistency_of(bench: Bench, line: Line) -> float | None:
    """Return the share of answers that stay the same under rewrites of the prompt; 1 where there is no prompt."""
    found = bench.ledger.recall(f"{line.key(bench.fingerprint)}/consistency")
    if found and found["rows"]:
        return float(sum(found["same"]) / (len(found["same"]) * found["rows"]))
    return 1.0 if line.model in ("", "embedder") and not found else None


def has_gpu() -> bool:
    """True when local models run on a GPU; asks torch only when it is already loaded."""
    import sys

    torch = sys.modules.get("torch")
    return bool(torch is not None and torch.cuda.is_available())


def certify(bench: Bench, line: Line) -> None:
    """Refit a finalist on train and validation, and answer the test part.

    When time does not allow a refit, the solution that was compared is certified as it is, and the report says so.
    """
    bench.meter.trial, bench.meter.phase = line.name, "refit"
    which = _which(bench, line)
    if which == "final":
        learning = [bench.rows[id_] for id_ in bench.split.learning]
        dev_ids = set(bench.split.folds[0].dev) or {row.id for row in learning[: round(DEV_SHARE * len(learning))]}
        train = [row for row in learning if row.id not in dev_ids]
        dev = [row for row in learning if row.id in dev_ids]
        try:
            fitted(bench, line, "final", train, dev, _test_seconds(bench, line))
        except BudgetReached:
            which = "fold-0"
        except WhichwayError as error:
            bench.ledger.decide("refit failed", {"strategy": line.name, "reason": error.problem})
            which = "fold-0"
    bench.ledger.decide("certified", {"strategy": line.name, "solution": which})
    bench.meter.phase = "test"
    rows = [bench.test[id_] for id_ in bench.split.test]
    predict_blocks(bench, line, load_solution(bench, line, which), rows, "test")


def certified_as(bench: Bench, name: str) -> str | None:
    """Return which solution of a finalist was certified: 'final' (refitted) or 'fold-0'."""
    for what, details in bench.ledger.decisions():
        if what == "certified" and details["strategy"] == name:
            return str(details["solution"])
    return None


def _which(bench: Bench, line: Line) -> str:
    """Say whether a refit fits into what is left, with the test of all finalists after it."""
    before = certified_as(bench, line.name)
    if before:
        return before
    fits = bench.ledger.call_seconds(line.name, "fit") or [0.0]
    grown = len(bench.split.learning) / max(1, len(bench.split.folds[0].train) + len(bench.split.folds[0].dev))
    needed = 1.2 * grown * max(fits) + sum(_test_seconds(bench, one) for one in _finalist_lines(bench, line))
    return "final" if time.monotonic() + needed < bench.deadline else "fold-0"


def _finalist_lines(bench: Bench, line: Line) -> list[Line]:
    """Stand-ins for the finalists whose test is still to come: they are timed by their own validation blocks."""
    from dataclasses import replace

    left = [name for name in finalists_of(bench) if not bench.ledger.predictions(name, "test")]
    return [replace(line, name=name) for name in left]


def _test_seconds(bench: Bench, line: Line) -> float:
    blocks = bench.ledger.call_seconds(line.name, "validation")
    rows = len(bench.ledger.predictions(line.name, "validation"))
    return sum(blocks) / max(1, rows) * len(bench.split.test)
