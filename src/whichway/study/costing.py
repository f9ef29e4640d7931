"""What every measured way costs over the volume: totals and break-even volumes with their spread, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whichway.core.task import Objective
from whichway.study.bench import Bench
from whichway.study.cost import Cost, break_even, crossings, horizon_requests, refreshes, total_cost
from whichway.study.facts import use_facts
from whichway.study.lines import Line
from whichway.study.recommend import Candidate

DRAWS = 500  # samples of the costs that a break-even volume is computed for
LEVEL = 0.95
AS_DEAR = 0.01  # share of a start by which another one must be dearer to be called so


def costs(bench: Bench, lines: Sequence[Line], chosen: str | None) -> dict[str, Any]:
    """Return what each finished way costs, and from or up to which volume it is cheaper than the recommended one.

    Without a recommendation ways are held against the cheapest over the horizon.
    """
    goal = bench.task.objective
    done = [line for line in lines if (state := bench.ledger.trial(line.name)) and state[0] == "done"]
    ways = [Candidate(line.name, np.zeros(1), **use_facts(bench, line, {})) for line in done]
    ways = sorted((one for one in ways if one.p95_ms is not None), key=lambda one: total_cost(one.cost, goal))
    against = next((one for one in ways if one.name == chosen), ways[0] if ways else None)
    return {
        "against": against.name if against else None,
        "horizon_months": goal.horizon_months,
        "requests": horizon_requests(goal),
        "refreshes": refreshes(goal),
        "ways": [_way(one, against, goal) for one in ways],
        "notes": _notes(goal, ways),
    }


def break_even_sentence(pair: tuple[Candidate, Candidate], goal: Objective) -> dict[str, Any]:
    """Return the break-even volume of two ways in a number with its 95 % interval, and in words.

    `never` is the share of samples in which there is none.
    """
    volume = break_even(pair[0].cost, pair[1].cost, goal)
    words, spread = _words(pair, goal, volume), _spread(pair, goal, volume)
    if volume is not None and spread["low"] is not None:
        upto = f"{spread['high']:,.0f}" if spread["high"] is not None else "no upper end"
        words = f"{words[:-1]} (95 %: {spread['low']:,.0f} to {upto})."
    return {"requests": None if volume is None else math.ceil(volume), "sentence": words, **spread}


def cheaper_ranges(one: Cost, other: Cost, goal: Objective) -> list[tuple[float, float]]:
    """Return the ranges of volume in which the first costs less in all than the second; infinity where there is no end."""
    edges = [0.0, *crossings(one, other, goal), math.inf]
    found: list[tuple[float, float]] = []
    for low, high in zip(edges, edges[1:], strict=False):
        inside = 2 * low + 1 if high == math.inf else (low + high) / 2
        if total_cost(one, goal, inside) < total_cost(other, goal, inside):
            found = [*found[:-1], (found[-1][0], high)] if found and found[-1][1] == low else [*found, (low, high)]
    return found


def _words(pair: tuple[Candidate, Candidate], goal: Objective, volume: float | None) -> str:
    first, second = pair
    starts = {one.name: total_cost(one.cost, goal, 0.0) for one in pair}
    keeps = any(one.cost.hosting_usd or one.cost.refresh_usd for one in pair)
    start = "to build and to keep up" if keeps else "to build"
    if volume is not None:
        dear, other = (first, second) if starts[first.name] > starts[second.name] else (second, first)
        alike = starts[dear.name] - starts[other.name] <= AS_DEAR * starts[dear.name]
        more = f"costs about as much as {other.name}" if alike else "costs more"
        whom = "it" if alike else other.name
        return f"{dear.name} {more} {start} and less per request: it is cheaper than {whom} from {volume:,.0f} requests on."
    cheap, dear = sorted(pair, key=lambda one: (one.cost.per_1000_usd, starts[one.name]))
    comma = "," if keeps else ""
    return f"{dear.name} is never cheaper: {cheap.name} costs no more {start}{comma} and no more per request."


def _spread(pair: tuple[Candidate, Candidate], goal: Objective, volume: float | None) -> dict[str, Any]:
    """Return the interval of the break-even volume over joint samples; of ways whose cost has no measured spread none."""
    empty = {"low": None, "high": None, "never": None}
    if all(one.pace is None and one.build is None for one in pair):
        return empty
    drawn = [[_drawn(one, i) for i in range(DRAWS)] for one in pair]
    found = [_nearest(crossings(a, b, goal), volume) for a, b in zip(*drawn, strict=True)]
    never = sum(one == math.inf for one in found) / DRAWS
    if volume is None:
        return {**empty, "never": round(never, 4)}
    ranked, tail = sorted(found), (1 - LEVEL) / 2
    low, high = ranked[int(tail * DRAWS)], ranked[min(DRAWS - 1, math.ceil((1 - tail) * DRAWS))]
    ends = [None if one == math.inf else float(f"{one:.4g}") for one in (low, high)]
    return {"low": ends[0], "high": ends[1], "never": round(never, 4)}


def _nearest(volumes: Sequence[float], wanted: float | None) -> float:
    if not volumes or wanted is None:
        return volumes[0] if volumes else math.inf
    return min(volumes, key=lambda one: abs(math.log(one / wanted)))


def _drawn(one: Candidate, number: int) -> Cost:
    """Return the cost of a way in one joint sample."""
    cost, pace, build = one.cost, one.pace, one.build
    if pace is not None:
        slow = float(pace[number % len(pace)])
        cost = replace(cost, per_1000_usd=cost.per_1000_usd * slow, carries=cost.carries / max(slow, 1e-9))
    if build is not None and cost.machine_usd:
        more = cost.machine_usd * (float(build[number % len(build)]) - 1)
        again = more if cost.refresh_usd >= cost.machine_usd else 0.0
        cost = replace(cost, upfront_usd=cost.upfront_usd + more, refresh_usd=cost.refresh_usd + again)
    return cost


def _way(one: Candidate, against: Candidate | None, goal: Objective) -> dict[str, Any]:
    cost, needs = one.cost, one.needs
    drawn = [_drawn(one, i) for i in range(DRAWS)] if one.pace is not None or one.build is not None else []
    said: dict[str, Any] = {
        "strategy": one.name,
        "upfront_usd": _between(cost.upfront_usd, [each.upfront_usd for each in drawn]),
        "per_1000_usd": _between(cost.per_1000_usd, [each.per_1000_usd for each in drawn]),
        "hosting_usd_per_month": _digits(cost.hosting_usd),
        "carries_per_month": None if math.isinf(cost.carries) else round(cost.carries),
        "refresh_usd": _digits(cost.refresh_usd),
        "total_usd": _between(total_cost(cost, goal), [total_cost(each, goal) for each in drawn]),
        "build_days": round(one.build_days, 4),
    }
    if needs is not None:
        said["labels"], said["hours"] = needs.labels, needs.hours(goal.hours)
    if against is not None and against is not one:
        pair = one, against
        said["break_even"] = break_even_sentence(pair, goal)
        ranges = cheaper_ranges(one.cost, against.cost, goal)
        said["cheaper"] = [
            {"from": math.ceil(low), "to": None if high == math.inf else math.floor(high)} for low, high in ranges
        ]
    return said


def _between(value: float, drawn: Sequence[float]) -> dict[str, Any]:
    ends: list[float | None] = [None, None]
    if drawn and max(drawn) > min(drawn):
        ends = [_digits(float(x)) for x in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]
    return {"value": _digits(value), "low": ends[0], "high": ends[1]}


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def _notes(goal: Objective, ways: Sequence[Candidate]) -> list[str]:
    """Say what is counted, and what is not as nobody gave its price."""
    found = []
    if goal.hosting_usd_per_month is None:
        found.append("A way on this machine is paid for by use: the price per request holds an idle half of each hour.")
    else:
        found.append(
            f"A way on this machine is served on one rented by the month (${goal.hosting_usd_per_month:,.2f}), and on more of "
            "them where one cannot carry the requests; its requests have no price of their own then."
        )
    if goal.labels_owned is None:
        found.append("Labels are taken to be there already (objective.labels_owned, label_usd).")
    if not goal.hours and not goal.refresh_hours:
        found.append("People's hours are not counted (objective.hours, hourly_usd).")
    if goal.refresh_months is None:
        found.append("Nothing is refreshed within the horizon (objective.refresh_months).")
    if any(one.pace is not None for one in ways):
        found.append(
            "Intervals (95 %) hold how much single answers differ; a way was built once, so its start is a point."
        )
    return found
