"""What was measured of a way besides its answers: what building it took, what an answer costs and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whichway.core.model import Spend
from whichway.models.pricing import Usage, price_of
from whichway.study.bench import STEP, Bench, first_fit
from whichway.study.cost import Cost, Needs, hourly_usd, priced
from whichway.study.evidence import latency_samples, mean_samples
from whichway.study.lines import Line

FEW_SHOTS = 8  # of a few-shot prompt whose number of examples is not set


def use_facts(bench: Bench, line: Line, answered: dict[str, Any]) -> dict[str, Any]:
    """Return what the decision needs beside the score: cost and latency with their spread, memory, consistency, time to build."""
    use, needs, objective = use_of(bench, line), needs_of(bench, line), bench.task.objective
    measured = bench.ledger.recall(f"{line.key(bench.fingerprint)}/use") or {}
    return {
        "cost": priced(needs, objective, hourly_price(bench)),
        "needs": needs,
        "build_days": needs.build_days(objective),
        "p95_ms": use["p95_ms"] if use else None,
        **_spread(bench, line),
        "memory_mb": measured.get("memory_mb"),
        "consistency": consistency_of(bench, line),
        "parsed": sum(one.parsed for one, _ in answered.values()) / len(answered) if answered else None,
    }


def needs_of(bench: Bench, line: Line) -> Needs:
    """Return what a way needs, whatever it is priced at."""
    fit, use = _fit_of(bench, line), use_of(bench, line)
    return Needs(
        line.name,
        line.way,
        line.is_local,
        fit.seconds / 3600,
        fit.usd,
        _labels_of(bench, line),
        use["rows_per_s"] if use and line.is_local else 0.0,
        use["usd_per_1000"] if use and not line.is_local else 0.0,
    )


def _labels_of(bench: Bench, line: Line) -> int:
    """Return how many labelled rows a way learns from: of a prompt that shows examples, those it shows."""
    form, shots = getattr(line.strategy, "form", ""), int(getattr(line.strategy, "shots", 0))
    fold = bench.split.folds[0]
    every = len(fold.train) + len(fold.dev)
    if line.way != "prompt" or form == "nearest":
        return every
    return 0 if form == "zero" else min(every, shots or FEW_SHOTS)


def _spread(bench: Bench, line: Line) -> dict[str, Any]:
    """Return samples of p95 latency, of the time or money per answer, and of the build, relative to what was measured.

    One resample of the rows that were timed gives the first two, so that they stay together; nothing where nothing was timed.
    """
    seed = bench.split.seed  # the same for all: ways were timed on the same rows in the same order
    singles_ms, usd = _timed_rows(bench, line)
    found: dict[str, Any] = {}
    if singles_ms:
        found["p95_samples"], pace = latency_samples(singles_ms, seed, usd if len(usd) == len(singles_ms) else ())
        found |= {"pace": pace} if line.is_local or len(usd) == len(singles_ms) else {}
    if usd and "pace" not in found:
        found["pace"] = mean_samples(usd, seed)
    fits = bench.ledger.call_seconds(line.name, "fit")
    if len(bench.split.folds) > 1 and len(fits) > 1:
        found["build"] = mean_samples(fits, seed)
    return found


def _timed_rows(bench: Bench, line: Line) -> tuple[list[float], list[float]]:
    """Return milliseconds of single answers, and dollars of answers by an endpoint; in the same order where as many."""
    if line.is_local:
        found = bench.ledger.recall(f"{line.key(bench.fingerprint)}/use")
        return (found["singles_ms"], []) if found else ([], [])
    # Many calls are under way at once, so their order says nothing of their rows; by price, long rows of one way are
    # resampled with long rows of another.
    calls = sorted(bench.ledger.calls(line.name, "validation:call"), key=lambda one: one.usd)
    usd = sorted(one.usd for one in (*calls, *bench.ledger.calls(line.name, "validation:batched")))
    timed = calls or bench.ledger.calls(line.name, "fit:call")
    return [1000 * one.seconds for one in timed], usd if any(usd) else []


def build_of(bench: Bench, line: Line) -> dict[str, Any]:
    """Return seconds, dollars (paid calls and this machine's time) and tokens of one fit; with folds, their mean."""
    one = _fit_of(bench, line)
    usd = one.usd + one.seconds * hourly_price(bench) / 3600
    return {"seconds": round(one.seconds, 3), "usd": round(usd, 6), "tokens": one.tokens_in + one.tokens_out}


def _fit_of(bench: Bench, line: Line) -> Spend:
    """Return one fit's spend, with folds their mean.

    Of what is paid for, the first fold's where that is more: what it asked (a teacher's answers, say) later folds found.
    """
    fits = [
        (phase, one)
        for trial, phase, _, one in bench.ledger.spends()
        if trial == line.name and phase.split(":")[0] in ("fit", STEP)
    ]
    folds = len(bench.split.folds)
    seconds = sum(one.seconds for phase, one in fits if ":" not in phase) / folds  # a fit's seconds hold its calls'
    tokens = sum(one.tokens_in + one.tokens_out for _, one in fits) // folds
    first = (bench.ledger.recall(first_fit(bench, line)) or {"usd": 0.0})["usd"]
    return Spend(seconds, max(first, sum(one.usd for _, one in fits) / folds), tokens)


def hourly_price(bench: Bench) -> float:
    """Return what an hour of the machine costs on which this study was measured."""
    gpu = any(bench.ledger.noted("gpu") or [])
    return hourly_usd(bench.task.objective, gpu)


def use_of(bench: Bench, line: Line) -> dict[str, float] | None:
    """Return dollars per 1,000, p50 and p95 in milliseconds, and rows per second; None where nothing was measured."""
    if line.is_local:
        found = bench.ledger.recall(f"{line.key(bench.fingerprint)}/use")
        if not found:
            return None
        singles, speed = found["singles_ms"], found["rows_per_s"]
        per_1000 = _local_cost(bench, line, speed).running_per_1000(bench.task.objective.requests_per_month)
    else:
        return _paid_use_of(bench, line)
    return _use(per_1000, singles, speed)


def running_cost(bench: Bench, line: Line) -> Cost | None:
    """Return what answers cost, use and a rented machine apart; None where nothing was measured."""
    if not line.is_local:
        used = _paid_use_of(bench, line)
        return Cost(0.0, used["usd_per_1000"]) if used else None
    found = bench.ledger.recall(f"{line.key(bench.fingerprint)}/use")
    return _local_cost(bench, line, found["rows_per_s"]) if found else None


def _local_cost(bench: Bench, line: Line, speed: float) -> Cost:
    return priced(Needs(line.name, line.way, rows_per_s=speed), bench.task.objective, hourly_price(bench))


def _paid_use_of(bench: Bench, line: Line) -> dict[str, float] | None:
    """Return the same of an endpoint; in use rows come one by one, so what a batch answered counts at the ordinary price."""
    single = bench.ledger.call_seconds(line.name, "validation:call")
    batched = bench.ledger.call_seconds(line.name, "validation:batched")
    count = len(single) + len(batched)
    if not count:
        return None
    spent: dict[str, Spend] = {}
    for trial, phase, _, one in bench.ledger.spends():
        if trial == line.name:
            spent[phase] = spent.get(phase, Spend()) + one
    usd, price = spent.get("validation:call", Spend()).usd, price_of(bench.shelf.endpoints[line.model])
    if batched and price:
        found = spent["validation:batched"]
        usd += price.plain.cost(Usage(found.tokens_in, found.tokens_out, found.cached_tokens), 0.0).usd
    timed = single or bench.ledger.call_seconds(line.name, "fit:call")
    speed = count / max(1e-6, sum(bench.ledger.call_seconds(line.name, "validation")))
    return _use(1000 * usd / count, [1000 * s for s in timed], speed)


def _use(per_1000: float, singles_ms: Sequence[float], rows_per_s: float) -> dict[str, float]:
    import numpy as np

    p50, p95 = (float(x) for x in np.quantile(singles_ms, [0.5, 0.95])) if singles_ms else (0.0, 0.0)
    return {"usd_per_1000": per_1000, "p50_ms": p50, "p95_ms": p95, "rows_per_s": rows_per_s}


def consistency_of(bench: Bench, line: Line) -> float | None:
    """Return the share of answers that stay the same under other forms of the prompt; 1 where there is no prompt.

    Answers drawn at a temperature are left out: what is served is drawn at none.
    """
    found = bench.ledger.recall(bench.steadiness_key(line))
    forms = found["forms"].items() if found else ()
    same = [one["same"] for kind, tried in forms if kind != "repeat" for one in tried]
    if found and same and found["rows"]:
        return float(sum(same) / (len(same) * found["rows"]))
    return 1.0 if line.model in ("", "embedder") and not forms else None
