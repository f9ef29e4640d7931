"""Further metrics of the answers that a study has bought: they stand beside the one that decides."""

from __future__ import annotations

from typing import Any

from whichway.study.evidence import score_interval
from whichway.study.trial import Bench


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
            scores = [metric.score_example(row, one) for row, one in zip(some, values, strict=True)]
            interval = score_interval(metric, scores, [row.group for row in some], seed=bench.split.seed)
            found[metric.name][part] = interval.as_json() if some else None
    return found
