"""The study as plain data: what report.json holds (schema 1), made from the ledger alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from whichway.core.model import Spend
from whichway.core.output import Labels, as_labels
from whichway.study import answers
from whichway.study.bench import Bench
from whichway.study.blend import blend
from whichway.study.cascade import cascades
from whichway.study.certify import (
    LEAST_TEST,
    candidates,
    certified_as,
    judged_on,
    level_of_each,
    opened,
)
from whichway.study.cost import endpoint_prices
from whichway.study.costing import costs
from whichway.study.described import split_of, task_of, timing
from whichway.study.evidence import LEVEL, paired_differences, score_interval
from whichway.study.facts import build_of, consistency_of, hourly_price, use_of
from whichway.study.further import by_familiarity, further_scores
from whichway.study.growth import labels_missing
from whichway.study.guaranteed import guarantees
from whichway.study.judging import judge_problem, judge_report
from whichway.study.lines import Line
from whichway.study.measuring import LOOKUP, TAUGHT
from whichway.study.prompts import searches, sensitivity, steps
from whichway.study.taken import shared_by, shared_sentence, taken_by, taken_sentence, taken_spend
from whichway.study.verdict import recommendation
from whichway.study.versions import version_of, versions

SCHEMA = 1


def summarise(bench: Bench, loaded: Any, lines: Sequence[Line], state: str, command: str) -> dict[str, Any]:
    """Return the whole report as plain data; everything but `timing`, seconds and costs is the same for the same ledger."""
    trials = [trial_report(bench, line) for line in lines]
    part, judged_lines = judged_on(bench, lines)
    judged = candidates(bench, judged_lines, part)
    shown = shown_in_detail(bench, lines)
    found = recommendation(bench, lines, judged, part)
    for one in trials:
        one["p_best"] = found["p_best_of"].get(one["strategy"])
        one["p_feasible"] = found["p_feasible_of"].get(one["strategy"])
    return {
        "schema": SCHEMA,
        "whichway": version_of("whichway"),
        "state": state,
        "task": task_of(bench, loaded),
        "split": split_of(bench),
        "data": {"rows": len(bench.rows), "findings": [_finding(one) for one in loaded.findings]},
        "trials": trials,
        "differences": _differences(bench, lines),
        "recommendation": {key: value for key, value in found.items() if not key.endswith("_of")},
        "guarantees": guarantees(bench, lines, found),
        "per_class": answers.per_class(bench, shown, part),
        "confusions": answers.confusions(bench, shown, part),
        "disagreements": answers.disagreements(bench, shown, part),
        "calibration": {name: answers.calibrated(bench, name, part)[1] for name in shown},
        "searches": searches(bench, lines),
        "labels": found["labels_of"],
        "labels_missing": labels_missing(bench, lines),
        "cost": costs(bench, lines, found["strategy"]),
        "steps": steps(bench, lines),
        "cascades": cascades(bench, lines, part),
        "blend": blend(bench, lines, part),
        "judge": judge_report(bench, loaded.settings.judge, shown),
        "judge_problem": judge_problem(bench, loaded.settings.judge),
        "abstention": {name: answers.abstention(bench, name, part) for name in shown},
        "prices": endpoint_prices(loaded.settings),
        "spent": _spent(bench),
        "spend_by": _spend_by(bench),
        "threats": _threats(bench, loaded, trials, part),
        "reproduce": {"command": command, "seed": bench.split.seed, "versions": versions()},
        "timing": timing(bench),
    }


def trial_report(bench: Bench, line: Line) -> dict[str, Any]:
    """Return one trial as the report shows it."""
    state, reason, facts = bench.ledger.trial(line.name) or ("stopped", "not begun", {})
    if state == "running":
        state, reason = "stopped", "interrupted; the same command continues it"
    use = use_of(bench, line)
    said = [one for one, _ in bench.ledger.predictions(line.name, "validation").values()]
    measured = bench.ledger.recall(f"{line.key(bench.fingerprint)}/use") or {}
    done = state == "done"
    return {
        "strategy": line.name,
        "way": line.way,
        "settings": line.settings,
        "state": state,
        "reason": reason,
        "finalist": line.name in opened(bench),
        "local": line.is_local,
        "validation": _score(bench, line.name, "validation"),
        "test": _tested(bench, line.name),
        "build": build_of(bench, line),
        "use": {key: _round(value) for key, value in use.items()} if use else None,
        "consistency": _round(consistency_of(bench, line)) if done else None,
        "sensitivity": sensitivity(bench, line) if done else None,
        "consistency_note": "" if line.model not in ("", "embedder") else "has no prompt to rewrite",
        "calibration_error": _round(answers.calibrated(bench, line.name, "validation")[0]) if said else None,
        "parsed": _round(sum(one.parsed for one in said) / len(said)) if said else None,
        "retrieval": answers.retrieval(bench, line),
        "lookup": facts.get(LOOKUP, {}),
        "taught": facts.get(TAUGHT, {}),
        "familiarity": by_familiarity(bench, line.name) if said else {},
        "further": further_scores(bench, line.name) if said else {},
        "memory_mb": measured.get("memory_mb"),
        "taken": taken_by(bench, line),
        "shared": shared_by(bench, line),
    }


def _score(bench: Bench, name: str, part: str) -> dict[str, Any] | None:
    found = bench.ledger.predictions(name, part)
    rows = bench.test if part == "test" else bench.rows
    ids = [id_ for id_ in (bench.split.test if part == "test" else bench.split.validation) if id_ in found]
    if not ids:
        return None
    level = level_of_each(len(opened(bench))) if part == "test" else LEVEL
    scores = [found[id_][1] for id_ in ids]
    return score_interval(bench.metric, scores, [rows[id_].group for id_ in ids], level, bench.split.seed).as_json()


def _tested(bench: Bench, name: str) -> dict[str, Any] | None:
    score = _score(bench, name, "test")
    return {**score, "refit": (certified_as(bench, name) or {}).get("solution") == "final"} if score else None


def _differences(bench: Bench, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return every pair's difference on its part's common rows: on the test part first, the better one of a pair first."""
    found = []
    for part in ("test", "validation"):
        names = [line.name for line in lines if _has(bench, line, part) and _is_done(bench, line)]
        ids, answered = answers.answers_of(bench, names, part)
        if not ids:
            continue
        scores = {name: [answered[name][id_][1] for id_ in ids] for name in names}
        names.sort(key=lambda name: -bench.metric.aggregate(scores[name]))
        rows = bench.test if part == "test" else bench.rows
        groups = [rows[id_].group for id_ in ids]
        pairs = paired_differences(bench.metric, {name: scores[name] for name in names}, groups, bench.split.seed)
        found += [{"a": a, "b": b, "part": part, **gap.as_json()} for (a, b), gap in pairs.items()]
    return found


def _is_done(bench: Bench, line: Line) -> bool:
    state = bench.ledger.trial(line.name)
    return bool(state and state[0] == "done")


def shown_in_detail(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Return the strategies of which details are shown: the finalists, else the best three on validation."""
    part, _ = judged_on(bench, lines)
    if part == "test":
        return [line.name for line in lines if _has(bench, line, "test")]
    scored = {line.name: validation_score(bench, line) for line in lines}
    known = {name: one for name, one in scored.items() if one is not None}
    return sorted(known, key=lambda name: -known[name])[:3]


def validation_score(bench: Bench, line: Line) -> float | None:
    """Return a strategy's score on validation; None where it was not measured to the end."""
    found = bench.ledger.predictions(line.name, "validation") if _is_done(bench, line) else {}
    return bench.metric.aggregate([score for _, score in found.values()]) if found else None


def _has(bench: Bench, line: Line, part: str) -> bool:
    return bool(bench.ledger.predictions(line.name, part))


def _threats(bench: Bench, loaded: Any, trials: Sequence[Mapping[str, Any]], part: str) -> list[str]:
    """Return what a careful reader should hold against this study."""
    found = []
    tests = len(bench.split.test)
    if not tests:
        found.append("Fewer than 150 labelled rows: there is no sealed test part, so nothing here is certified.")
    elif tests < LEAST_TEST:
        found.append(f"The test part has only {tests} rows: its intervals are wide, and rare labels are hardly in it.")
    if len(bench.split.folds) > 1:
        found.append("Few labels: strategies were compared by five-fold cross-fitting; the folds are not independent.")
    late = [one["strategy"] for one in trials if one["state"] == "done" and not one["finalist"]]
    if part == "validation" and any(one["finalist"] for one in trials):
        names = ", ".join(late) or "a finalist"
        found.append(
            "The verdict rests on validation: the best strategies are not all certified, because the test part was opened "
            f"before {names} had been measured, or because the budget ended during certification."
        )
    found += [
        f"{one['strategy']} was certified on {one['test']['n']} of {tests} test rows, as many as time allowed."
        for one in trials
        if one["test"] and one["test"]["n"] < tests
    ]
    if early := [one["strategy"] for one in trials if one["test"] and not one["test"]["refit"]]:
        found.append(
            f"Nothing of the budget was left to refit {', '.join(early)} on all labels: what was compared is what was certified."
        )
    rare = [name for name, n in _label_counts(bench).items() if n < 10]
    if rare:
        found.append(
            f"{len(rare)} label(s) have fewer than 10 rows, so their own scores mean little: {', '.join(rare[:5])}."
        )
    found += [
        f"Data: {one.message}"
        for one in loaded.findings
        if one.severity != "info" and one.code.startswith(("leak", "conflict"))
    ]
    if dropped := [one["strategy"] for one in trials if one["state"] == "dropped"]:
        found.append(
            f"Dropped by the race, so not among those compared (--exhaustive runs them): {', '.join(dropped)}."
        )
    if any(one["state"] in ("stopped", "failed") for one in trials):
        names = ", ".join(one["strategy"] for one in trials if one["state"] in ("stopped", "failed"))
        found.append(f"Not all strategies were measured to the end: {names}.")
    found += [*taken_sentence(trials), *shared_sentence(trials)]
    found.append("One split, one seed, one training run per strategy: the spread over seeds is not in the intervals.")
    found.append("The test part is a random part of the same data; next month's inputs may differ.")
    return found


def _label_counts(bench: Bench) -> Counter[str]:
    if not isinstance(bench.task.output, Labels):
        return Counter()
    return Counter(label for row in bench.rows.values() for label in as_labels(row.target))


def _spent(bench: Bench) -> dict[str, Any]:
    total = sum((spend for *_, spend in bench.ledger.spends()), Spend())
    elsewhere = sum(taken_spend(bench).values(), Spend())
    seconds = bench.ledger.session_seconds()
    compute = seconds * hourly_price(bench) / 3600
    return {
        "seconds": round(seconds, 3),
        "usd": round(total.usd, 6),
        "tokens": total.tokens_in + total.tokens_out - elsewhere.tokens_in - elsewhere.tokens_out,
        "compute_usd": round(compute, 6),
        "lost_units": bench.ledger.lost(),
        "planned": bench.ledger.noted("planned"),
    }


def _spend_by(bench: Bench) -> list[dict[str, Any]]:
    """Return what this run has spent, by trial and phase; not what others had spent on what it took over."""
    sums: dict[tuple[str, str], Spend] = {}
    elsewhere = taken_spend(bench)
    for trial, phase, _, spend in bench.ledger.spends():
        key = (trial, phase.split(":")[0])
        # A block's seconds already hold those of the calls within it.
        sums[key] = sums.get(key, Spend()) + (
            Spend(0.0, spend.usd, spend.tokens_in, spend.tokens_out) if ":" in phase else spend
        )
    return [
        {
            "strategy": t,
            "phase": p,
            "seconds": round(max(0.0, s.seconds - elsewhere.get((t, p), Spend()).seconds), 3),
            "usd": round(s.usd, 6),
            "tokens": s.tokens_in + s.tokens_out - elsewhere.get((t, p), Spend()).tokens_in,
        }
        for (t, p), s in sums.items()
    ]


def _round(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 6)


def _finding(one: Any) -> dict[str, Any]:
    return {"code": one.code, "severity": one.severity, "message": one.message}
