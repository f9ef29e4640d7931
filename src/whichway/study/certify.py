"""At most three finalists, refitted on all labels outside the test part, once on the sealed test part (methods.md §1, G2)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from whichway.core.model import Spend
from whichway.errors import BudgetReached
from whichway.models.pricing import Usage, price_of
from whichway.study.bench import Bench, first_fit, fitted, load_solution, predict_blocks
from whichway.study.cost import Cost, hourly_usd, local_per_1000
from whichway.study.evidence import joint_samples
from whichway.study.lines import Line
from whichway.study.measuring import measure_retrieval
from whichway.study.recommend import Candidate, pick_finalists
from whichway.study.split import DEV_SHARE, ENOUGH_TEST

LEAST_TEST = 100  # fewer rows than this certify nothing
MOST_FINALISTS = 3
LARGE_TEST = 1000  # rows that are enough of a slow strategy: an interval of five points
SLOW_TEST_S = 60.0
SAFE = 0.85  # of the time that is left: speeds were measured on few rows


def opened(bench: Bench) -> dict[str, str]:
    """Return for whom the test part was opened: name -> key of the trial as it was then."""
    found: dict[str, str] = {}
    for what, details in bench.ledger.decisions():
        if what == "test part opened":
            found.update(details["finalists"])
    return found


def finalists_of(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Return the finalists that still are what the test part was opened for."""
    keys = opened(bench)
    return [line.name for line in lines if keys.get(line.name) == line.key(bench.fingerprint)]


def choose_finalists(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Choose finalists on validation; write down that the test part is opened for them.

    It is opened for at most three trials in the life of a study, each once: a strategy that is edited and run again
    after it was certified is not certified again.
    """
    keys = opened(bench)
    if not bench.split.test:
        return []
    by_name = {line.name: line.key(bench.fingerprint) for line in lines}
    picks = [name for name in wanted(bench, lines) if name not in keys][: MOST_FINALISTS - len(keys)]
    if picks:
        chosen = {name: by_name[name] for name in picks}
        bench.ledger.decide("test part opened", {"finalists": chosen, "rows": len(bench.split.test)})
    return sorted(finalists_of(bench, lines), key=lambda name: test_seconds(bench, name))


def wanted(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Return whom validation alone would send to the test part now, the best first."""
    return pick_finalists(bench.task, candidates(bench, lines, "validation"))


def certified(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Return the finalists that have answered all the test rows that they were to answer."""
    found = []
    for name in finalists_of(bench, lines):
        how = certified_as(bench, name)
        if how and len(bench.ledger.predictions(name, "test")) >= how["rows"]:
            found.append(name)
    return found


def judged_on(bench: Bench, lines: Sequence[Line]) -> tuple[str, list[Line]]:
    """Return the part that the verdict rests on, and the strategies judged on it.

    The test part decides only when the best of validation, and someone to compare it with, are certified to the end;
    else the verdict rests on validation and carries no certificate.
    """
    done, names = wanted(bench, lines), certified(bench, lines)
    if done and done[0] in names and (len(names) > 1 or len(done) == 1):
        return "test", [line for line in lines if line.name in names]
    return "validation", list(lines)


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
    """Return cost, latency, memory, consistency and share of parsed answers, as the decision needs them."""
    use, build = use_of(bench, line), build_of(bench, line)
    measured = bench.ledger.recall(f"{line.key(bench.fingerprint)}/use") or {}
    return {
        "cost": Cost(build["usd"], use["usd_per_1000"] if use else 0.0),
        "p95_ms": use["p95_ms"] if use else None,
        "memory_mb": measured.get("memory_mb"),
        "consistency": consistency_of(bench, line),
        "parsed": sum(one.parsed for one, _ in answered.values()) / len(answered) if answered else None,
    }


def build_of(bench: Bench, line: Line) -> dict[str, Any]:
    """Return seconds, dollars (paid calls and this machine's time) and tokens of one fit; with folds, their mean.

    Of what is paid for, the first fold's where that is more: what it asked (a teacher's answers, say) later folds found.
    """
    spends = [(phase, one) for trial, phase, _, one in bench.ledger.spends() if trial == line.name]
    fits = [(phase, one) for phase, one in spends if phase.split(":")[0] == "fit"]
    folds = len(bench.split.folds)
    seconds = sum(one.seconds for phase, one in fits if ":" not in phase) / folds  # a fit's seconds hold its calls'
    first = (bench.ledger.recall(first_fit(bench, line)) or {"usd": 0.0})["usd"]
    usd = max(first, sum(one.usd for _, one in fits) / folds) + seconds * hourly_price(bench) / 3600
    tokens = sum(one.tokens_in + one.tokens_out for _, one in fits) // folds
    return {"seconds": round(seconds, 3), "usd": round(usd, 6), "tokens": tokens}


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
        per_1000 = local_per_1000(speed, hourly_price(bench))
    else:
        return _paid_use_of(bench, line)
    return _use(per_1000, singles, speed)


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
    found = bench.ledger.recall(f"{line.key(bench.fingerprint)}/consistency")
    forms = found["forms"].items() if found else ()
    same = [one["same"] for kind, tried in forms if kind != "repeat" for one in tried]
    if found and same and found["rows"]:
        return float(sum(same) / (len(same) * found["rows"]))
    return 1.0 if line.model in ("", "embedder") and not found else None


def certify(bench: Bench, line: Line) -> None:
    """Refit a finalist on train and validation, and answer the test part.

    When time does not allow a refit, the solution that was compared is certified as it is; when it does not allow all
    test rows, the first ones of their random order are answered. The report says so.
    """
    bench.meter.trial, bench.meter.phase = line.name, "refit"
    how = certified_as(bench, line.name)
    which = how["solution"] if how else _which(bench, line)
    if which == "final":
        learning = [bench.rows[id_] for id_ in bench.split.learning]
        dev_ids = set(bench.split.folds[0].dev) or {row.id for row in learning[: round(DEV_SHARE * len(learning))]}
        train = [row for row in learning if row.id not in dev_ids]
        dev = [row for row in learning if row.id in dev_ids]
        try:
            fitted(bench, line, "final", train, dev, test_seconds(bench, line.name))
        except BudgetReached:
            which = "fold-0"
    count = how["rows"] if how and how["solution"] == which else _affordable(bench, line)
    bench.ledger.decide("certified", {"strategy": line.name, "solution": which, "rows": count})
    bench.meter.phase = "test"
    rows = [bench.test[id_] for id_ in bench.split.test[:count]]
    solution = load_solution(bench, line, which)
    predict_blocks(bench, line, solution, rows, "test")
    measure_retrieval(bench, line, solution, rows, "test")


def certified_as(bench: Bench, name: str) -> dict[str, Any] | None:
    """Return which solution of a finalist was certified ('final' is refitted, 'fold-0' is not) and on how many rows."""
    found = [one for what, one in bench.ledger.decisions() if what == "certified" and one["strategy"] == name]
    return found[-1] if found else None


def _affordable(bench: Bench, line: Line) -> int:
    """Return how many test rows fit into what is left, but never fewer than make a certificate worth having.

    A slow strategy is not asked for thousands: how many it answers follows from its speed alone, never from its answers.
    """
    size, needed = len(bench.split.test), test_seconds(bench, line.name)
    if needed > SLOW_TEST_S:
        most = min(size, max(LARGE_TEST, int(size * SLOW_TEST_S / needed)))
        size, needed = most, needed * most / size
    left = SAFE * (bench.deadline - time.monotonic())
    return size if needed <= left else min(size, max(ENOUGH_TEST, int(size * left / needed)))


def _which(bench: Bench, line: Line) -> str:
    """Say whether a refit fits into what is left, with a test of enough rows for every finalist after it."""
    fits = bench.ledger.call_seconds(line.name, "fit") or [0.0]
    grown = len(bench.split.learning) / max(1, len(bench.split.folds[0].train) + len(bench.split.folds[0].dev))
    left = [name for name in opened(bench) if not bench.ledger.predictions(name, "test")]
    share = min(1.0, ENOUGH_TEST / max(1, len(bench.split.test)))
    needed = 1.2 * grown * max(fits) + share * sum(test_seconds(bench, name) for name in left)
    return "final" if time.monotonic() + needed < bench.deadline else "fold-0"


def test_seconds(bench: Bench, name: str) -> float:
    """Estimate how long a strategy takes for the test part, from its validation blocks."""
    blocks = bench.ledger.call_seconds(name, "validation")
    rows = len(bench.ledger.predictions(name, "validation"))
    return sum(blocks) / max(1, rows) * len(bench.split.test)
