"""The verdict in words: which strategy, how sure, the decisive numbers, the runner-up; for every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from whichway.report import words
from whichway.report.reading import (
    Report,
    Row,
    at,
    best_estimate,
    mapping,
    measured,
    metric,
    metric_name,
    rows,
    things,
    winner,
    winner_name,
)

LEVELS = {
    "decided": "The evidence settles it",
    "leaning": "Likely, not certain",
    "undecided": "The evidence does not settle it",
}
SURE = 0.9  # from which a verdict is decided, unless its lead may be chance
STATES = {
    "budget": "The budget was reached before the study ended: what follows is what had been measured by then.",
    "interrupted": "The study was interrupted: what follows is what had been measured by then. "
    "The same command continues it.",
}


@dataclass(frozen=True)
class Tile:
    """One decisive number: what it is, the number, its interval and n, and what it is held against."""

    label: str
    value: str
    small: str = ""
    limit: str = ""
    is_met: bool | None = None


def headline(report: Report) -> str:
    """Return the sentence that answers the question."""
    said = at(report, "recommendation", "sentence")
    if said:
        return words.cut(said, 600)
    name = winner_name(report)
    return f"Use {words.visible(name)}." if name else "No strategy can be recommended."


def level(report: Report) -> str:
    """Return 'decided', 'leaning' or 'undecided'; an unknown word counts as undecided."""
    found = at(report, "recommendation", "level")
    return str(found) if found in LEVELS else "undecided"


def certainty(report: Report) -> str:
    """Return how sure the recommendation is, in one sentence or two; the level itself is not repeated."""
    said, sure = f"{LEVELS[level(report)]}.", certainty_share(report)
    if sure is None:
        return said
    if words.number(at(report, "recommendation", "p_good_enough")) is None:
        return f"{said} Probability (estimate) that it is the best and meets every requirement: {words.percent(sure)}."
    least = words.number(at(report, "task", "objective", "smallest_difference")) or 0.0
    other = "other way that was run to its end" if things(report, "recommendation", "not_reached") else "other way"
    apart = f"better by more than {words.three(least)}" if least else "better"
    found = f"{said} Probability (estimate) that it meets every requirement and no {other} is {apart}: {words.percent(sure)}."
    second = at(report, "recommendation", "runner_up")
    if level(report) == "decided" or sure < SURE or not second or other != "other way":
        return found
    return f"{found} But its lead over {words.visible(second)} may be chance."  # else it would be called decided


def certainty_share(report: Report) -> float | None:
    """Return the probability on which the level rests: good enough among those judged, and nothing better left aside.

    Of a report without it, that of being the best; None where nothing is recommended.
    """
    if winner_name(report) is None:
        return None
    enough = words.number(at(report, "recommendation", "p_good_enough"))
    if enough is None:
        return words.number(at(report, "recommendation", "p_best"))
    return enough * (1 - (words.number(at(report, "recommendation", "p_missed")) or 0.0))


def stopped(report: Report) -> str:
    """Return why the study ended early, or nothing."""
    return STATES.get(str(at(report, "state")), "")


def tiles(report: Report) -> tuple[Tile, ...]:
    """Return the four numbers on which a decision hangs; without a recommendation, what the study found at all."""
    trial = winner(report)
    if trial is None:
        return _tiles_without_winner(report)
    return (
        _score_tile(report, trial),
        _cost_tile(report, trial),
        _speed_tile(report, trial),
        _build_tile(report, trial),
    )


def runner_up(report: Report, set_number: Callable[[str], str] = str) -> str:
    """Return who came second, and by how much, with the interval of the paired difference; names stay untouched."""
    name, second = winner_name(report), at(report, "recommendation", "runner_up")
    if not name or not second:
        return ""
    apart = mapping(report, "recommendation", "difference")
    shown = words.difference(apart, metric(report))
    if shown == words.MISSING:
        return f"Runner-up: {words.visible(second)}."
    part, size = (words.visible(apart.get("part") or "the same part"), words.sample(apart))
    first, last = words.visible(name), words.visible(second)
    number = set_number(f"{shown}, {size}" if size else shown)
    return f"Runner-up: {last}. {first} minus {last}, on the same rows of {part}: {number}. {reading(apart, report)}"


def fragile(report: Report) -> str:
    """Return how far the winner's score moves with the form of its prompt, where that is more than matters or two rows make."""
    found = mapping(winner(report) or {}, "sensitivity")
    low, high, some = (words.number(found.get(name)) for name in ("low", "high", "rows"))
    least = words.number(at(report, "task", "objective", "smallest_difference")) or 0.0
    if low is None or high is None or not some or high - low <= max(least, 2 / some):
        return ""
    ends = " and ".join(words.score(one, metric(report)) for one in (low, high))
    return (
        f"Its prompt is fragile: the same {words.plural(int(some), 'row')} score between {ends} "
        "as it is worded, laid out or ordered anew."
    )


def reading(apart: Row, report: Report) -> str:
    """Return what the interval of a paired difference means, against the smallest difference that matters."""
    low, high = words.number(apart.get("low")), words.number(apart.get("high"))
    if low is None or high is None:
        return ""
    least = words.number(at(report, "task", "objective", "smallest_difference")) or 0.0
    if low > 0 or high < 0:
        real = "The difference is real"
        return (
            f"{real}, but smaller than the {words.three(least)} that matters."
            if max(-low, high) < least
            else f"{real}."
        )
    if max(-low, high) < least:
        return f"They are tied: a difference of {words.three(least)} or more is excluded."
    return "These rows cannot tell the two apart."


def reasons(report: Report) -> list[str]:
    """Return why, one sentence each; the break-even sentence comes last."""
    said = [words.cut(one, 600) for one in things(report, "recommendation", "reasons") if one]
    even = at(report, "recommendation", "break_even", "sentence")
    return [*said, words.cut(even, 600)] if even and words.cut(even, 600) not in said else said


def study_line(report: Report) -> str:
    """Return on what the verdict rests: rows, parts, metric, how many ways."""
    parts = [f"{words.count(at(report, 'split', part))} {part}" for part in ("train", "validation", "test")
             if words.number(at(report, "split", part)) is not None]  # fmt: skip
    total = words.number(at(report, "data", "rows"))
    data = f"{words.plural(int(total), 'row')}: " if total is not None else ""
    tried, scored = len(rows(report, "trials")), len(measured(report))
    said = [data + ", ".join(parts) if parts or data else "", f"measured by {metric_name(report)}"]
    said.append(f"{scored} of {words.plural(tried, 'way')} measured")
    return " · ".join(one.removesuffix(": ") for one in said if one)


def _score_tile(report: Report, trial: Row) -> Tile:
    found = best_estimate(trial)
    part, value = found if found else ("", {})
    around, size = words.interval(value, metric(report)), words.sample(value)
    small = ", ".join(one for one in (around if around != words.MISSING else "", size) if one)
    limit, is_met = _limit("at least", at(report, "task", "constraints", "min_score"), value.get("value"), report)
    return Tile(f"{metric_name(report)} on {part}" if part else metric_name(report),
                words.score(value.get("value"), metric(report)), small, limit, is_met)  # fmt: skip


def _cost_tile(report: Report, trial: Row) -> Tile:
    cost = words.number(at(trial, "use", "usd_per_1000"))
    monthly = words.number(at(report, "task", "objective", "requests_per_month"))
    small = ""
    if cost is not None and monthly is not None:
        small = f"{words.money(cost * monthly / 1000)} a month at {words.count(monthly)} requests"
    most = words.number(at(report, "task", "constraints", "max_cost_per_1000_usd"))
    limit = f"at most {words.money(most)}" if most is not None else ""
    return Tile("per 1,000 requests", words.money(cost), small, limit, _within(cost, most))


def _speed_tile(report: Report, trial: Row) -> Tile:
    slow, usual = words.number(at(trial, "use", "p95_ms")), at(trial, "use", "p50_ms")
    most = words.number(at(report, "task", "constraints", "max_p95_ms"))
    small = f"half within {words.latency(usual)}" if words.number(usual) is not None else ""
    limit = f"at most {words.latency(most)}" if most is not None else ""
    return Tile("for 95% of answers (p95)", words.latency(slow), small, limit, _within(slow, most))


def _build_tile(report: Report, trial: Row) -> Tile:
    usd, tokens = (_upfront(report, trial), words.number(at(trial, "build", "tokens")))
    most = words.number(at(report, "task", "constraints", "max_upfront_usd"))
    small = ", ".join(
        one
        for one in (words.money(usd) if usd is not None else "", f"{words.count(tokens)} tokens" if tokens else "")
        if one
    )
    limit = f"at most {words.money(most)}" if most is not None else ""
    return Tile("to build", words.duration(at(trial, "build", "seconds")), small, limit, _within(usd, most))


def _upfront(report: Report, trial: Row) -> float | None:
    """Return what the start costs in all; reports of earlier versions know of paid calls and this machine's time alone."""
    own = next((one for one in rows(report, "cost", "ways") if one.get("strategy") == trial.get("strategy")), {})
    found = words.number(at(own, "upfront_usd", "value"))
    return words.number(at(trial, "build", "usd")) if found is None else found


def _tiles_without_winner(report: Report) -> tuple[Tile, ...]:
    found = measured(report)
    tried = len(rows(report, "trials"))
    shown = [Tile("ways measured", f"{len(found)} of {tried}")]
    best = best_estimate(found[0]) if found else None
    if best:
        part, value = best
        around = ", ".join(one for one in (words.interval(value, metric(report)), words.sample(value)) if one)
        limit, met = _limit("at least", at(report, "task", "constraints", "min_score"), value.get("value"), report)
        name = words.visible(found[0].get("strategy"))
        shown.append(
            Tile(f"highest: {name}, on {part}", words.score(value.get("value"), metric(report)), around, limit, met)
        )
    spent = mapping(report, "spent")
    if spent:
        shown.append(Tile("spent on this study", words.money(spent.get("usd")), words.duration(spent.get("seconds"))))
    return tuple(shown)


def _limit(how: str, wanted: object, value: object, report: Report) -> tuple[str, bool | None]:
    least, known = words.number(wanted), words.number(value)
    if least is None:
        return "", None
    return (f"{how} {words.score(least, metric(report))}", None if known is None else known >= least)


def _within(value: float | None, most: float | None) -> bool | None:
    return None if value is None or most is None else value <= most
