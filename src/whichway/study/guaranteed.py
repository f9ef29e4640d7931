"""What this study guarantees and what it only estimates, as plain data: G1, G2 and G3 of methods.md §2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whichway.study.bench import Bench
from whichway.study.certify import level_of_each, opened
from whichway.study.evidence import LEVEL, is_exact
from whichway.study.guarantee import ALPHA
from whichway.study.lines import Line

RULED_OUT = "ruled out by "  # how the reason begins of a way that the e-process dropped


def guarantees(bench: Bench, lines: Sequence[Line], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return per tier what its sentence in the report rests on; `found` is the recommendation."""
    return {"g1": _elimination(bench, lines), "g2": _certificate(bench), "g3": _estimates(found)}


def not_exchangeable(bench: Bench) -> str:
    """Say why rows of this study are no coin tosses, so that the e-process of G1 does not hold; nothing where they are."""
    if not bench.metric.is_mean:
        return f"{bench.metric.name} is not a mean over rows"
    if len(bench.split.folds) > 1:
        return "few labels: ways were compared by cross-fitting, whose fits saw each other's rows"
    if any(row.group is not None for row in bench.rows.values()):
        return "rows come in groups, and those of one group hang together"
    return ""


def _elimination(bench: Bench, lines: Sequence[Line]) -> dict[str, Any]:
    """G1: who was ruled out by the anytime-valid test, who was dropped by estimate, or why the test was not used."""
    ends = [(line.name, bench.ledger.trial(line.name)) for line in lines]
    dropped = {name: end[1] for name, end in ends if end and end[0] == "dropped"}
    ruled_out = [name for name, reason in dropped.items() if reason.startswith(RULED_OUT)]
    raced = any(what == "race" for what, _ in bench.ledger.decisions())
    why_not = "" if raced else "no race was run, so nothing was ruled out"
    if raced and not ruled_out:
        why_not = not_exchangeable(bench) or _not_right_or_wrong(bench, lines)
    return {
        "used": not why_not,
        "why_not": why_not,
        "alpha": ALPHA,
        "ruled_out": ruled_out,
        "by_estimate": [name for name in dropped if name not in ruled_out],
    }


def _not_right_or_wrong(bench: Bench, lines: Sequence[Line]) -> str:
    for line in lines:
        if any(score not in (0.0, 1.0) for score in bench.ledger.scores(line.name, "validation").values()):
            return f"{bench.metric.name} scores rows between right and wrong"
    return ""


def _certificate(bench: Bench) -> dict[str, Any]:
    """G2: whose intervals on the sealed test part hold together, at which level each, and on how many rows."""
    tested = {name: bench.ledger.scores(name, "test") for name in opened(bench)}
    tested = {name: found for name, found in tested.items() if found}
    why_not = "" if tested else "no finalist has answered the sealed test part"
    if not bench.split.test:
        why_not = "fewer than 150 labelled rows, so no test part was sealed"
    scores = [score for found in tested.values() for score in found.values()]
    groups = [bench.test[id_].group for found in tested.values() for id_ in found]
    return {
        "why_not": why_not,
        "level": LEVEL,
        "level_of_each": round(level_of_each(len(opened(bench))), 6),
        "exact": bool(tested) and is_exact(bench.metric, scores, groups),
        "finalists": [{"strategy": name, "n": len(found)} for name, found in tested.items()],
    }


def _estimates(found: Mapping[str, Any]) -> dict[str, Any]:
    """G3: the probabilities of the verdict and the ways whose growth is foretold."""
    probabilities = {key: found.get(key) for key in ("p_best", "p_good_enough", "p_feasible", "p_missed")}
    return {**probabilities, "foretold": [one["strategy"] for one in found["labels_of"]]}
