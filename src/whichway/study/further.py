"""What else the answers tell that a study has bought: further metrics, and scores of rows about documents never learned from."""

from __future__ import annotations

from typing import Any

from whichway.study.bench import Bench, scored
from whichway.study.evidence import score_interval


def further_scores(bench: Bench, name: str) -> dict[str, Any]:
    """Return {metric: {"validation": interval, "test": interval or None}} of a strategy's stored answers."""
    found: dict[str, Any] = {}
    for metric in bench.task.further:
        found[metric.name] = {}
        for part, ids in (("validation", bench.split.validation), ("test", bench.split.test)):
            rows = bench.test if part == "test" else bench.rows
            answered = bench.ledger.predictions(name, part)
            some = [rows[id_] for id_ in ids if id_ in answered]
            values = [answered[row.id][0] for row in some]
            scores = [score for _, score in scored(metric, some, values)]
            interval = score_interval(metric, scores, [row.group for row in some], seed=bench.split.seed)
            found[metric.name][part] = interval.as_json() if some else None
    return found


def by_familiarity(bench: Bench, name: str) -> dict[str, Any]:
    """Return {"part", "seen": interval, "unseen": interval}: apart for rows about documents that a learning row is about, too.

    What a model has learned by heart serves the first, looking up serves both. {} where one of the two has no rows.
    """
    part = "test" if bench.ledger.predictions(name, "test") else "validation"
    rows = bench.test if part == "test" else bench.rows
    answered = bench.ledger.predictions(name, part)
    first = bench.split.folds[0]
    learned = (
        (*first.train, *first.dev) if part == "validation" and len(bench.split.folds) == 1 else bench.split.learning
    )
    known = {document for id_ in learned for document in bench.rows[id_].gold_documents}
    apart: dict[str, list[str]] = {"seen": [], "unseen": []}
    for id_ in getattr(bench.split, part):
        if id_ in answered and rows[id_].gold_documents:
            apart["seen" if known.intersection(rows[id_].gold_documents) else "unseen"].append(id_)
    if not all(apart.values()):
        return {}
    found: dict[str, Any] = {"part": part}
    for which, ids in apart.items():
        scores, groups = [answered[id_][1] for id_ in ids], [rows[id_].group for id_ in ids]
        found[which] = score_interval(bench.metric, scores, groups, seed=bench.split.seed).as_json()
    return found
