"""Which strategy, and how sure: joint samples of score, latency and cost against what was asked (methods.md §5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from whichway.core.task import Constraints, Objective
from whichway.study.cost import AS_CHEAP, Cost, Needs, total_cost

FEASIBLE = 0.90
LEAST_PARSED = 0.95  # of answers that can be read: one in twenty that cannot is not a service
LEAST_CHANCE = 0.05  # of being chosen in the end, below which a third strategy is not worth its test rows
TIED = 0.80
DECIDED, LEANING = 0.90, 0.60
CLEARLY_BETTER = 0.975  # the 95 % interval of the difference to the runner-up lies above zero


class Asked(Protocol):
    """What a decision is made under; a task is one."""

    @property
    def constraints(self) -> Constraints: ...
    @property
    def objective(self) -> Objective: ...


@dataclass(frozen=True)
class Candidate:
    """All that the decision looks at of one strategy.

    `samples` are joint posterior samples of its score; where their spread was measured, `p95_samples` are those of its
    latency, `pace` of the time or money that an answer takes and `build` of the time of a fit, relative to what was measured.
    """

    name: str
    samples: Any
    cost: Cost
    p95_ms: float | None = None
    memory_mb: float | None = None
    consistency: float | None = None
    parsed: float | None = None
    order: int = 0
    needs: Needs | None = None
    build_days: float = 0.0
    p95_samples: Any = None
    pace: Any = None
    build: Any = None


@dataclass(frozen=True)
class Verdict:
    """The decision in names and probabilities. `tied` are those within the smallest difference of the best.

    `sure` is about those compared; `missed` is the believed chance that a way left aside by the race is better.
    """

    chosen: str | None
    best: str | None
    tied: tuple[str, ...]
    runner_up: str | None
    sure: float
    level: str
    p_feasible: Mapping[str, float]
    p_best: Mapping[str, float]
    closest: str | None
    missed: float = 0.0


@dataclass(frozen=True)
class Aside:
    """What was not run to its end: `missed` is the believed chance that a way which the race left aside is better, by the way
    that it would have to be better than ('' for any other); `unreached` are ways that the budget stopped, of which no chance
    is known.
    """

    missed: Mapping[str, float] = field(default_factory=dict)
    unreached: tuple[str, ...] = ()

    def over(self, name: str) -> float:
        """Return the chance that something better than this way was left aside."""
        return self.missed.get(name, self.missed.get("", 0.0))


NOTHING = Aside()


def decide(task: Asked, candidates: Sequence[Candidate], aside: Aside = NOTHING) -> Verdict:
    """Choose among candidates.

    P(best and feasible) is taken over the joint samples of score, latency and cost. Of those feasible with probability 0.9
    the most probable best is taken; if others are within the smallest difference of interest of it with probability 0.8, the
    cheapest of them. The chance that a way which was left aside is better lowers how sure the word is; where the budget stopped
    a way, nothing is called decided.
    """
    if not candidates:
        return Verdict(None, None, (), None, 0.0, "undecided", {}, {}, None)
    feasible = {one.name: meets_all(task, one) for one in candidates}
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
    chosen = cheapest(tied, task.objective)
    top = np.max([one.samples for one in able], axis=0)
    sure = float(np.mean((chosen.samples >= top - gap) & feasible[chosen.name]))
    others = [one for one in able if one is not chosen]
    runner = max(others, key=lambda one: (float(np.mean(one.samples)), -one.order), default=None)
    missed = aside.over(chosen.name)
    level = _level(sure * (1 - missed), chosen, runner, alone=len(tied) == 1)
    if aside.unreached and level != "undecided":
        level = "leaning" if runner else "undecided"
    return Verdict(
        chosen.name,
        best.name,
        tuple(one.name for one in tied),
        runner.name if runner else None,
        sure,
        level,
        p_feasible,
        p_best,
        None,
        missed,
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


def cheapest(candidates: Iterable[Candidate], objective: Objective) -> Candidate:
    """Return the one with the least total cost over the horizon; of those about as cheap, the best."""
    totals = [(total_cost(one.cost, objective), one) for one in candidates]
    least = min(total for total, _ in totals)
    cheap = [one for total, one in totals if total <= AS_CHEAP * least]
    return min(cheap, key=lambda one: (-float(np.mean(one.samples)), one.order))


def pick_finalists(task: Asked, candidates: Sequence[Candidate], most: int = 3) -> list[str]:
    """Return at most three strategies worth a look at the sealed test part, judged on validation.

    The two best by expected score; a third only where it may yet be chosen: a cheaper one that could be within the smallest
    difference of the best, or a dearer one that could pass the best by more than that.
    """
    if not candidates:
        return []
    sure = [one for one in candidates if float(np.mean(meets_limits(task, one))) >= FEASIBLE]
    hard = sure or [one for one in candidates if not broken_limits(task, one)] or list(candidates)
    ranked = sorted(hard, key=lambda one: (-float(np.mean(one.samples)), one.order))
    best, gap = ranked[0], task.objective.smallest_difference
    close = [one for one in ranked if float(np.mean(best.samples - one.samples <= gap)) >= 0.2]
    thrifty = cheapest(close, task.objective)
    picked = ranked[:2] + [one for one in ranked[2:] if _may_be_chosen(task, one, best)]
    if thrifty not in picked[: most - 1]:
        return [one.name for one in picked[: most - 1]] + [thrifty.name]
    return [one.name for one in picked[:most]]


def _may_be_chosen(task: Asked, one: Candidate, best: Candidate) -> bool:
    """Tell whether one that is not the best on validation may be what is recommended in the end."""
    gap = task.objective.smallest_difference
    is_cheaper = total_cost(one.cost, task.objective) <= AS_CHEAP * total_cost(best.cost, task.objective)
    ahead = one.samples - best.samples
    return float(np.mean(ahead >= -gap if is_cheaper else ahead > gap)) >= LEAST_CHANCE


def _probability_of_best(candidates: Sequence[Candidate], feasible: Mapping[str, Any]) -> dict[str, float]:
    """Return per strategy the share of samples in which it is feasible and has the best score of the feasible ones."""
    table = np.stack([np.where(feasible[one.name], one.samples, -np.inf) for one in candidates])
    top = table.max(axis=0)
    winners = (table == top) & np.isfinite(table)
    share = winners / np.maximum(1, winners.sum(axis=0))
    return {one.name: float(share[i].mean()) for i, one in enumerate(candidates)}


def meets_all(task: Asked, one: Candidate) -> Any:
    """Return bool [samples]: whether it meets every requirement in a sample."""
    least = task.constraints.min_score
    limits = meets_limits(task, one)
    return limits if least is None else limits & (one.samples >= least)


def meets_limits(task: Asked, one: Candidate) -> Any:
    """Return bool [samples]: the same of all but the score. What has no measured spread is a point, the same in each."""
    limits, count = task.constraints, len(one.samples)
    met = np.full(count, not _broken(task, one, ("memory", "consistency", "parsed", "deadline")))
    for value, most in (
        (_cost_samples(task, one), limits.max_cost_per_1000_usd),
        (_upfront_samples(one), limits.max_upfront_usd),
        (one.p95_ms if one.p95_samples is None else one.p95_samples, limits.max_p95_ms),
    ):
        if most is not None and value is not None:
            met &= value <= most
    return met


def _cost_samples(task: Asked, one: Candidate) -> Any:
    running = one.cost.running_per_1000(task.objective.requests_per_month)
    if one.pace is None or one.cost.hosting_usd:
        return running  # a machine by the month costs the same however fast it answers, while it carries the requests
    return running * one.pace


def _upfront_samples(one: Candidate) -> Any:
    cost = one.cost
    return cost.upfront_usd if one.build is None else cost.upfront_usd + cost.machine_usd * (one.build - 1)


def broken_limits(task: Asked, one: Candidate) -> list[str]:
    """Name the limits that a strategy breaks, of those that need no probability; a value not measured breaks none."""
    return _broken(task, one, ("money", "time", "memory", "consistency", "parsed", "deadline"))


def unsure_limits(task: Asked, one: Candidate) -> list[str]:
    """Say how probably a strategy meets the limits beside the score, where that is too seldom."""
    met = float(np.mean(meets_limits(task, one)))
    return [f"meets the limits on time and money with probability {met:.2f} only"] if met < FEASIBLE else []


def _broken(task: Asked, one: Candidate, kinds: Sequence[str]) -> list[str]:
    limits, running = task.constraints, one.cost.running_per_1000(task.objective.requests_per_month)
    pairs = (
        ("money", "costs ${:.4g} per 1,000 answers, and {:.4g} is the limit", running, limits.max_cost_per_1000_usd),
        ("money", "costs ${:.4g} to build, and {:.4g} is the limit", one.cost.upfront_usd, limits.max_upfront_usd),
        ("time", "takes {:.4g} ms for 95 of 100 answers, and {:.4g} is the limit", one.p95_ms, limits.max_p95_ms),
        ("memory", "takes {:.4g} MB of memory, and {:.4g} is the limit", one.memory_mb, limits.max_memory_mb),
        ("deadline", "takes {:.3g} days to build, and {:.3g} is the deadline", one.build_days, limits.deadline_days),
    )
    found = [
        said.format(value, most)
        for kind, said, value, most in pairs
        if kind in kinds and value is not None and most is not None and value > most
    ]
    least = limits.min_consistency
    steady = None if "consistency" not in kinds else one.consistency
    if least is not None and steady is not None and steady < least:
        found.append(f"gives the same answer to reworded prompts in {steady:.0%}, and {least:.0%} is the limit")
    if "parsed" in kinds and one.parsed is not None and one.parsed < LEAST_PARSED:
        found.append(
            f"gave answers of which {1 - one.parsed:.1%} could not be read, and {1 - LEAST_PARSED:.0%} is the limit"
        )
    return found
