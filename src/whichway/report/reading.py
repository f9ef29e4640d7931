"""How a report is read: any part of it may be missing, and none may stop the rest from being shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from whichway.report.words import number

Report = Mapping[str, Any]
Row = Mapping[str, Any]


def at(report: Any, *path: str) -> Any:
    """Return what lies at the path, or None."""
    for key in path:
        if not isinstance(report, Mapping):
            return None
        report = report.get(key)
    return report


def mapping(report: Any, *path: str) -> Row:
    """Return the mapping at the path, or an empty one."""
    found = at(report, *path)
    return found if isinstance(found, Mapping) else {}


def rows(report: Any, *path: str) -> list[Row]:
    """Return the mappings of the list at the path, or an empty list."""
    return [one for one in things(report, *path) if isinstance(one, Mapping)]


def things(report: Any, *path: str) -> list[Any]:
    """Return the list at the path, or an empty one."""
    found = at(report, *path)
    return list(found) if isinstance(found, Sequence) and not isinstance(found, str) else []


def metric(report: Report) -> Row:
    """Return the metric of the task."""
    return mapping(report, "task", "metric")


def metric_name(report: Report) -> str:
    """Return the name of the metric in words."""
    return str(metric(report).get("name") or "score").replace("_", " ")


def winner_name(report: Report) -> str | None:
    """Return the name of the recommended strategy, or None."""
    found = at(report, "recommendation", "strategy")
    return str(found) if found else None


def winner(report: Report) -> Row | None:
    """Return the trial of the recommended strategy, or None."""
    name = winner_name(report)
    return next((one for one in rows(report, "trials") if name and one.get("strategy") == name), None)


def measured(report: Report) -> list[Row]:
    """Return the trials that have a score, the highest first."""
    found = [one for one in rows(report, "trials") if best_estimate(one) is not None]
    return sorted(found, key=_rank, reverse=True)


def unmeasured(report: Report) -> list[Row]:
    """Return the trials that have no score, in the order in which they were tried."""
    return [one for one in rows(report, "trials") if best_estimate(one) is None]


def best_estimate(trial: Row | None) -> tuple[str, Row] | None:
    """Return ('test', estimate), or ('validation', estimate) where the test part was not used, or None."""
    for part in ("test", "validation"):
        found = mapping(trial, part)
        if number(found.get("value")) is not None:
            return part, found
    return None


def common_part(report: Report) -> str:
    """Return the part on which every measured trial has a score: what a fair comparison of all can stand on."""
    found = measured(report)
    everywhere = bool(found) and all(number(at(one, "test", "value")) is not None for one in found)
    return "test" if everywhere else "validation"


def front(report: Report) -> list[Row]:
    """Return the trials of which none is both better and cheaper, the cheapest first (on the common part)."""
    part = common_part(report)
    whole = [one for one in measured(report) if one.get("state") != "dropped"]  # first rows are no fair comparison
    points = [(cost_of(one), number(at(one, part, "value")), one) for one in whole]
    known = [(cost, value, one) for cost, value, one in points if cost is not None and value is not None]
    kept, best = [], -math.inf
    for _, value, one in sorted(known, key=lambda point: (point[0], -point[1])):
        if value > best:
            kept.append(one)
            best = value
    return kept


def cost_of(trial: Row) -> float | None:
    """Return the price of 1,000 requests in US dollars, or None."""
    found = number(at(trial, "use", "usd_per_1000"))
    return None if found is None else max(0.0, found)


def tidy(value: Any) -> Any:
    """Return plain JSON data: no NaN, no infinity, no half of a surrogate pair, keys as text, order kept."""
    if isinstance(value, Mapping):
        return {_plain(str(key)): tidy(part) for key, part in value.items()}
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, (list, tuple)):
        return [tidy(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return sorted((tidy(part) for part in value), key=str)
    return _tidy_scalar(value)


def _tidy_scalar(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return tidy(value.tolist())
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _plain(str(value))


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8") if any("\ud800" <= one <= "\udfff" for one in text) else text


def _rank(trial: Row) -> tuple[float, float]:
    """Order by validation, which all have, then by test; a score that is missing comes last."""
    validation, test = (number(at(trial, part, "value")) for part in ("validation", "test"))
    low = -math.inf
    first = validation if validation is not None else test
    return (low if first is None else first, low if test is None else test)
