"""Which strategy, how sure, why, at what cost, and what would change it (methods.md §5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whichway.core.task import Task
from whichway.study.cost import Cost, cheapness, horizon_requests

FEASIBLE = 0.90
LEAST_PARSED = 0.95  # of answers that can be read: one in twenty that cannot is not a service
LEAST_CHANCE = 0.05  # of tying with the best, below which a third strategy is not worth its test rows
TIED = 0.80
DECIDED, LEANING = 0.90, 0.60
CLEARLY_BETTER = 0.975  # the 95 % interval of the difference to the runner-up lies above zero


@dataclass(frozen=True)
class Candidate:
    """All that the decision looks at of one strategy; `samples` are joint posterior samples of its score."""

    name: str
    samples: Any
    cost: Cost
    p95_ms: float | None = None
    memory_mb: float | None = None
    consistency: float | None = None
    parsed: float | None = None
    order: int = 0


@dataclass(frozen=True)
class Verdict:
    """The decision in names and probabilities. `tied` are those within the smallest difference of the best."""

    chosen: str | None
    best: str | None
    tied: tuple[str, ...]
    runner_up: str | None
    sure: float
    level: str
    p_feasible: Mapping[str, float]
    p_best: Mapping[str, float]
    closest: str | None


def decide(task: Task, candidates: Sequence[Candidate]) -> Verdict:
    """Choose among candidates.

    P(best and feasible) is taken over the joint samples. Of those feasible with probability 0.9 the most probable best
    is taken; if others are within the smallest difference of interest of it with probability 0.8, the cheapest of them.
    """
    if not candidates:
        return Verdict(None, None, (), None, 0.0, "undecided", {}, {}, None)
    limits = {one.name: _meets_limits(task, one) for one in candidates}
    feasible = {one.name: limits[one.name] & _scores_enough(task, one.samples) for one in candidates}
    p_feasible = {name: float(np.mean(rows)) for name, rows in feasible.items()}
    p_best = _probability_of_best(candidates, feasible)
    able = [one for one in candidates if p_feasible[one.name] >= FEASIBLE]
    if not able:
        closest = max(candidates, key=lambda one: (p_feasible[one.name], float(np.mean(one.samples)), -one.order))
        return Verdict(
            None, None, (), None, 1 - p_feasible[closest.name], "undecided", p_feasible, p_best, closest.name
        )
    best = max(able, key=lambda one: (p_best[one.name], float(np.mean(one.samples)), -one.order))
    gap = task.objective.smallest_difference
    tied = [one for one in able if one is best or float(np.mean(best.samples - one.samples <= gap)) >= TIED]
    chosen = min(tied, key=lambda one: (cheapness(one.cost, task.objective), -float(np.mean(one.samples)), one.order))
    top = np.max([one.samples for one in able], axis=0)
    sure = float(np.mean((chosen.samples >= top - gap) & feasible[chosen.name]))
    others = [one for one in able if one is not chosen]
    runner = max(others, key=lambda one: (float(np.mean(one.samples)), -one.order), default=None)
    return Verdict(
        chosen.name,
        best.name,
        tuple(one.name for one in tied),
        runner.name if runner else None,
        sure,
        _level(sure, chosen, runner, alone=len(tied) == 1),
        p_feasible,
        p_best,
        None,
    )


def _level(sure: float, chosen: Candidate, runner: Candidate | None, alone: bool) -> str:
    """Return the word for how sure this is.

    Of several that tie, it is enough that the chosen one is within the gap of the best. One that is chosen for being
    better must also be better: else two equal strategies would be called decided in half of all studies (measured).
    """
    better = runner is None or float(np.mean(chosen.samples > runner.samples)) >= CLEARLY_BETTER
    if sure >= DECIDED and (better or not alone):
        return "decided"
    return "leaning" if sure >= LEANING else "undecided"


def pick_finalists(task: Task, candidates: Sequence[Candidate], most: int = 3) -> list[str]:
    """Return at most three strategies worth a look at the sealed test part, judged on validation.

    The two best by expected score; a third only where it could still be within the smallest difference of the best, and
    then the cheapest of those that could.
    """
    if not candidates:
        return []
    hard = [one for one in candidates if _meets_limits(task, one)] or list(candidates)
    ranked = sorted(hard, key=lambda one: (-float(np.mean(one.samples)), one.order))
    best = ranked[0]
    gap = task.objective.smallest_difference
    chances = {one.name: float(np.mean(best.samples - one.samples <= gap)) for one in ranked}
    close = [one for one in ranked if chances[one.name] >= 0.2]
    cheapest = min(close, key=lambda one: (cheapness(one.cost, task.objective), one.order))
    picked = ranked[:2] + [one for one in ranked[2:] if chances[one.name] >= LEAST_CHANCE]
    if cheapest not in picked[: most - 1]:
        return [one.name for one in picked[: most - 1]] + [cheapest.name]
    return [one.name for one in picked[:most]]


def changes(task: Task, verdict: Verdict, candidates: Sequence[Candidate]) -> list[str]:
    """Return what would change the answer, each with the number at which it flips."""
    by_name = {one.name: one for one in candidates}
    if verdict.chosen is None or verdict.best is None:
        return _ways_to_feasible(task, verdict, by_name)
    chosen, found = by_name[verdict.chosen], []
    if verdict.best != verdict.chosen:
        best = by_name[verdict.best]
        gain = float(np.mean(best.samples - chosen.samples))
        extra = best.cost.total(horizon_requests(task.objective)) - chosen.cost.total(horizon_requests(task.objective))
        found.append(
            f"If a gain of {max(gain, 0.0):.3f} is worth ${extra:,.2f} over {task.objective.horizon_months:g} months to you "
            f"(smallest_difference below {max(gain, 0.001):.3f}), take {best.name}."
        )
    found += _score_flips(task, verdict, chosen, by_name)
    found += _speed_flips(task, chosen, [by_name[name] for name in verdict.tied])
    if verdict.runner_up and verdict.level != "decided":
        found.append(
            f"More test rows: {verdict.chosen} and {verdict.runner_up} cannot be told apart well at this number."
        )
    return found


def _score_flips(task: Task, verdict: Verdict, chosen: Candidate, by_name: Mapping[str, Candidate]) -> list[str]:
    """Say from which required score on the chosen one no longer meets it with probability 0.9."""
    reach = float(np.quantile(chosen.samples, 1 - FEASIBLE))
    better = [one for one in by_name.values() if float(np.quantile(one.samples, 1 - FEASIBLE)) > reach + 1e-9]
    if not better:
        return [f"If you require more than {reach:.3f}, nothing measured here meets it with probability 0.9."]
    rival = max(better, key=lambda one: float(np.quantile(one.samples, 1 - FEASIBLE)))
    top = float(np.quantile(rival.samples, 1 - FEASIBLE))
    return [f"If you require more than {reach:.3f} (min_score), {rival.name} takes its place, up to {top:.3f}."]


def _speed_flips(task: Task, chosen: Candidate, tied: Sequence[Candidate]) -> list[str]:
    fast = [one for one in tied if one.p95_ms is not None]
    if not fast or chosen.p95_ms is None:
        return []
    quickest = min(fast, key=lambda one: one.p95_ms or 0.0)
    if quickest is chosen or (quickest.p95_ms or 0) > 0.7 * chosen.p95_ms:
        return []
    return [
        f"If an answer must come within {chosen.p95_ms:.0f} ms (p95), take {quickest.name}: it is as good and faster."
    ]


def _ways_to_feasible(task: Task, verdict: Verdict, by_name: Mapping[str, Candidate]) -> list[str]:
    if verdict.closest is None:
        return ["At least one strategy must end with a measurement."]
    one, limit = by_name[verdict.closest], task.constraints.min_score
    found = []
    if limit is not None:
        reach = float(np.quantile(one.samples, 1 - FEASIBLE))
        found.append(f"Lower min_score from {limit:.3f} to {reach:.3f}: {one.name} meets that with probability 0.9.")
        found.append(
            f"Add labels or a stronger model (models.endpoints, models.causal): {one.name} is the closest so far."
        )
    else:
        found.append(f"Loosen the limits on cost, latency or memory: {one.name} is the closest so far.")
    return found


def _probability_of_best(candidates: Sequence[Candidate], feasible: Mapping[str, Any]) -> dict[str, float]:
    """Return per strategy the share of samples in which it is feasible and has the best score of the feasible ones."""
    table = np.stack([np.where(feasible[one.name], one.samples, -np.inf) for one in candidates])
    top = table.max(axis=0)
    winners = (table == top) & np.isfinite(table)
    share = winners / np.maximum(1, winners.sum(axis=0))
    return {one.name: float(share[i].mean()) for i, one in enumerate(candidates)}


def _scores_enough(task: Task, samples: Any) -> Any:
    limit = task.constraints.min_score
    return np.ones(len(samples), dtype=bool) if limit is None else samples >= limit


def _meets_limits(task: Task, one: Candidate) -> bool:
    return not broken_limits(task, one)


def broken_limits(task: Task, one: Candidate) -> list[str]:
    """Name the limits that a strategy breaks, of those that need no probability; a value not measured breaks none."""
    limits = task.constraints
    pairs = (
        (
            "costs ${:.4g} per 1,000 answers, and {:.4g} is the limit",
            one.cost.per_1000_usd,
            limits.max_cost_per_1000_usd,
        ),
        ("costs ${:.4g} to build, and {:.4g} is the limit", one.cost.upfront_usd, limits.max_upfront_usd),
        ("takes {:.4g} ms for 95 of 100 answers, and {:.4g} is the limit", one.p95_ms, limits.max_p95_ms),
        ("takes {:.4g} MB of memory, and {:.4g} is the limit", one.memory_mb, limits.max_memory_mb),
    )
    found = [said.format(value, most) for said, value, most in pairs if None not in (value, most) and value > most]  # type: ignore[operator]
    least = limits.min_consistency
    if least is not None and one.consistency is not None and one.consistency < least:
        found.append(
            f"gives the same answer to reworded prompts in {one.consistency:.0%}, and {least:.0%} is the limit"
        )
    if one.parsed is not None and one.parsed < LEAST_PARSED:
        found.append(
            f"gave answers of which {1 - one.parsed:.1%} could not be read, and {1 - LEAST_PARSED:.0%} is the limit"
        )
    return found
