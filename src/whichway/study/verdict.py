"""The recommendation as plain data and plain sentences, each traceable to a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whichway.core.task import Objective
from whichway.study.bench import Bench
from whichway.study.certify import candidates, certified_as, common_rows
from whichway.study.conditions import Case
from whichway.study.cost import AS_CHEAP, Cost, refreshes, total_cost, usd
from whichway.study.costing import break_even_sentence
from whichway.study.evidence import Interval, paired_difference
from whichway.study.facts import hourly_price
from whichway.study.flips import changes, flips
from whichway.study.growth import growth_report
from whichway.study.lines import Line
from whichway.study.plan import expectation
from whichway.study.pursuit import left_aside, not_run
from whichway.study.recommend import Candidate, Verdict, broken_limits, unsure_limits


def recommendation(bench: Bench, lines: Sequence[Line], judged: Sequence[Candidate], part: str) -> dict[str, Any]:
    """Return the recommendation of report.json; `p_best_of` and `p_feasible_of` go to the trials, `labels_of` to the report."""
    wanted = bench.task.constraints, bench.task.objective
    aside = not_run(bench, lines, [one.name for one in judged])
    case = Case(tuple(judged), *wanted, hourly_price(bench), aside=aside)
    verdict = case.verdict()
    found, labels = flips(case, verdict), growth_report(bench, lines, verdict.chosen)
    by_name = {one.name: one for one in judged}
    gap = difference(bench, verdict.chosen, verdict.runner_up, part) if verdict.chosen and verdict.runner_up else None
    chosen = by_name.get(verdict.chosen or "")
    pair = (verdict.chosen, verdict.runner_up)
    even = None
    if verdict.chosen and verdict.runner_up:
        even = break_even_sentence((by_name[verdict.chosen], by_name[verdict.runner_up]), bench.task.objective)
    return {
        "strategy": verdict.chosen,
        "level": verdict.level,
        "sentence": _sentence(bench, verdict, part),
        "reasons": [
            *_reasons(bench, verdict, by_name, part),
            *_as_compared(bench, verdict, part),
            *_missed(bench, verdict, left_aside(bench, lines, verdict.chosen)),
            *_unreached(aside.unreached, verdict),
            *_passed_over(bench, lines, verdict),
        ],
        "runner_up": verdict.runner_up,
        "difference": {**gap.as_json(), "part": part, "of": f"{pair[0]} minus {pair[1]}"} if gap else None,
        "break_even": even,
        "would_change": changes(case, verdict, found, labels),
        "flips": [one.as_json() for one in found],
        "not_tested": _not_tested(bench, lines),
        "expectation": expectation(bench.task, len(bench.split.learning), bench.shelf.settings),
        "p_best": round(verdict.p_best.get(chosen.name, 0.0), 4) if chosen else None,
        "p_feasible": round(verdict.p_feasible.get(chosen.name, 0.0), 4) if chosen else None,
        "p_good_enough": round(verdict.sure, 4) if chosen else None,
        "p_missed": round(verdict.missed, 4),
        "not_reached": list(aside.unreached),
        "closest": verdict.closest,
        "tied": list(verdict.tied),
        "labels_of": labels,
        "p_best_of": {name: round(p, 4) for name, p in verdict.p_best.items()},
        "p_feasible_of": {name: round(p, 4) for name, p in verdict.p_feasible.items()},
    }


def difference(bench: Bench, a: str, b: str, part: str) -> Interval:
    """Return score(a) - score(b) on the rows that both answered."""
    answered = {name: bench.ledger.predictions(name, part) for name in (a, b)}
    ids = common_rows(bench, answered, part)
    rows = bench.test if part == "test" else bench.rows
    ours, theirs = ([answered[name][id_][1] for id_ in ids] for name in (a, b))
    return paired_difference(bench.metric, ours, theirs, [rows[id_].group for id_ in ids], bench.split.seed)


def _sentence(bench: Bench, verdict: Verdict, part: str) -> str:
    certified = "on the sealed test part" if part == "test" else "on validation rows only, without a certificate"
    if verdict.chosen is None:
        if verdict.closest is None:
            return "No strategy was measured to the end, so none is recommended."
        return f"No strategy met the target; {verdict.closest} came closest ({certified})."
    words = {"decided": "Use", "leaning": "Lean towards", "undecided": "Undecided; if you must choose now, take"}
    tied = [name for name in verdict.tied if name != verdict.chosen]
    best = ", the best of those compared" if verdict.level == "decided" else ", which scored highest"
    why = f", the cheapest of {len(tied) + 1} that tie" if tied else best
    return f"{words[verdict.level]} {verdict.chosen}{why} ({certified})."


def _reasons(bench: Bench, verdict: Verdict, by_name: Mapping[str, Candidate], part: str) -> list[str]:
    if verdict.chosen is None:
        limit = bench.task.constraints.min_score
        return [
            f"{name}: meets all limits with probability {p:.2f}"
            + (f" (min_score {limit:g})" if limit is not None else "")
            + "."
            for name, p in sorted(verdict.p_feasible.items(), key=lambda item: -item[1])
        ]
    chosen, gap = by_name[verdict.chosen], bench.task.objective.smallest_difference
    found = [
        f"With probability {verdict.sure:.2f} (estimate) it is within {gap:g} of the best of the {len(by_name)} strategies "
        f"judged {'on the test part' if part == 'test' else 'on validation'}."
    ]
    if len(verdict.tied) > 1:
        found.append(
            f"Tied within {gap:g} (probability 0.8 or more): {', '.join(verdict.tied)}; the cheapest is taken, and of "
            f"those that cost up to {AS_CHEAP:g} times as much the best."
        )
    found.append(_cost_sentence(chosen.cost, bench.task.objective))
    if chosen.p95_ms is not None:
        found.append(f"95 of 100 single answers came within {chosen.p95_ms:.0f} ms on this machine.")
    if bench.task.constraints.min_score is not None:
        found.append(
            f"It meets min_score {bench.task.constraints.min_score:g} with probability {verdict.p_feasible[chosen.name]:.2f}."
        )
    return found


def _cost_sentence(cost: Cost, goal: Objective) -> str:
    said = [f"{usd(cost.upfront_usd)} to build", f"{usd(cost.per_1000_usd)} per 1,000 answers"]
    if cost.hosting_usd:
        said[1] = f"{usd(cost.hosting_usd)} a month for a machine that stays up"
    if cost.refresh_usd:
        said.append(f"{usd(cost.refresh_usd)} for each of {refreshes(goal)} refreshes")
    total = usd(total_cost(cost, goal))
    return (
        f"It costs about {', '.join(said[:-1])} and {said[-1]}: {total} in {goal.horizon_months:g} months at "
        f"{goal.requests_per_month:,.0f} requests a month."
    )


def _as_compared(bench: Bench, verdict: Verdict, part: str) -> list[str]:
    """Say where the solution that is certified, and served, has not learned from all labels, as no time was left."""
    how = certified_as(bench, verdict.chosen) if verdict.chosen and part == "test" else None
    if how is None or how["solution"] == "final":
        return []
    first, all_ = bench.split.folds[0], len(bench.split.learning)
    return [
        f"It was certified as it was compared, having learned from {len(first.train) + len(first.dev):,} of {all_:,} labelled "
        "rows: what was left of the budget did not do for a refit on all."
    ]


def _missed(bench: Bench, verdict: Verdict, aside: Mapping[str, float]) -> list[str]:
    """Say how likely it is that a way which the race did not run to the end is the better one."""
    if not aside or verdict.chosen is None:
        return []
    likeliest, count = max(aside, key=lambda name: aside[name]), len(aside)
    better = f"may be better by more than {bench.task.objective.smallest_difference:g} with probability"
    if count == 1:
        return [f"{likeliest}, left aside by the race, {better} {verdict.missed:.0%} (estimate; --exhaustive runs it)."]
    return [
        f"Of {count} ways left aside by the race one {better} {verdict.missed:.0%} "
        f"({likeliest} the likeliest with {aside[likeliest]:.0%}; estimate; --exhaustive runs them all)."
    ]


def _unreached(names: Sequence[str], verdict: Verdict) -> list[str]:
    """Say which ways the budget stopped: of them nothing is known, so nothing is decided."""
    if not names or verdict.chosen is None:
        return []
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    said = "was" if len(names) == 1 else "were"
    return [f"{shown} {said} not run to the end for want of budget and may be better: a larger one decides."]


def _passed_over(bench: Bench, lines: Sequence[Line], verdict: Verdict) -> list[str]:
    """Say of strategies that scored higher on validation than the chosen one which limit they break."""
    every = {one.name: one for one in candidates(bench, lines, "validation")}
    if verdict.chosen not in every:
        return []
    least = float(every[verdict.chosen].samples.mean())
    return [
        f"Passed over: {name} scored {float(one.samples.mean()):.3f} on validation, but {' and '.join(broken)}."
        for name, one in every.items()
        if float(one.samples.mean()) > least
        and (broken := broken_limits(bench.task, one) or unsure_limits(bench.task, one))
    ]


def _not_tested(bench: Bench, lines: Sequence[Line]) -> list[str]:
    """Return what this study is silent about."""
    found = []
    for line in lines:
        state = bench.ledger.trial(line.name)
        if state and state[0] != "done":
            found.append(f"{line.name}: {state[0]}, {state[1] or 'not run to its end'}.")
    if not bench.shelf.settings.models.endpoints:
        found.append("Stronger models by prompt: no endpoint was given (models.endpoints in the task file).")
    return found
