"""Which lines of a study are worth running to the end: a race on their first rows decides, and says why it drops the others."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from whichway.core.output import Labels
from whichway.study.arena import LiveArena
from whichway.study.beliefs import Arena, Averaged, Belief, learnt_beliefs, plain_beliefs
from whichway.study.bench import Bench
from whichway.study.guarantee import log_evidence, paired_wins, threshold
from whichway.study.lines import Line
from whichway.study.plan import estimate
from whichway.study.race import PROMISE, gradient, halving
from whichway.study.recommend import Aside

SECOND = 0.002 / 60  # what a second of this machine must be worth in score: two tenths of a point per minute
RACE_FROM_S = 60.0  # a study whose lines take less than this in all runs every line
LEAST_KEPT = 2  # lines run to the end, so that there is something to compare and to certify
SCREENED = 32  # rows that every way answers first
SCREENING = 0.05  # of the time that is left: a way whose first rows cost more is judged by what it reached elsewhere
NOT_BY_ROW = (
    "f1",
    "average_precision",
    "recall_at_precision",
    "distinctness",
)  # metrics of which single rows tell nothing
ALIKE = {"prompt-few": "prompt-few-16", "prompt-nearest": "prompt-nearest-8"}  # how the matrix calls what the study has


def worth_racing(bench: Bench, lines: Sequence[Line], loaded: Any) -> bool:
    """Tell whether a race can decide and has enough to save: three lines or more, that would take over a minute in all.

    Limits on latency, cost, memory or consistency can make a slightly worse way the only one to use, and some metrics are not
    made of single rows (average precision): then every line is run to its end.
    """
    limits = bench.task.constraints
    named = ("max_cost_per_1000_usd", "max_upfront_usd", "max_p95_ms", "max_memory_mb", "min_consistency")
    if bench.metric.name in NOT_BY_ROW or any(getattr(limits, name) is not None for name in named):
        return False
    open_ = raceable(lines, loaded)
    seconds = sum(estimate(bench.task, loaded.examples, bench.split, one, loaded.settings).seconds for one in open_)
    return len(open_) > LEAST_KEPT and seconds > RACE_FROM_S


def raceable(lines: Sequence[Line], loaded: Any) -> list[Line]:
    """Return the lines that can answer a few rows first: an endpoint asked in batches answers all at once, hours later."""
    endpoints = loaded.settings.models.endpoints
    return [one for one in lines if not one.excluded and not getattr(endpoints.get(one.model), "batch", False)]


@dataclass(frozen=True)
class Raced:
    """What a race left: why lines are dropped, by name, and which ended early by themselves."""

    dropped: dict[str, str]
    ended: frozenset[str]
    order: tuple[str, ...] = ()  # the most promising first


def raced(
    bench: Bench, lines: Sequence[Line], loaded: Any, spare_s: Callable[[], float], allocation: str = "kg"
) -> Raced:
    """Race lines on validation rows, and drop those that are not worth more.

    What was fitted and answered is in the ledger: lines that are kept go on from there. `allocation` is 'kg' (knowledge
    gradient) or 'halving' (cost-rationed successive halving).
    """
    arena = LiveArena(bench, raceable(lines, loaded), loaded, spare_s)
    beliefs = beliefs_about(arena, isinstance(bench.task.output, Labels))
    screen(arena)
    if allocation == "halving":
        halving(arena)
    else:
        gradient(arena, beliefs, second=SECOND)
    gap = bench.task.objective.smallest_difference / arena.span
    found = standing(arena, beliefs, gap, frozenset(arena.ended))
    if found is None:
        return Raced({}, frozenset(arena.ended))
    mean, spread = beliefs.after(arena)
    dropped = {name: _why(arena, found.last[name], found.best, mean, spread) for name in found.behind}
    kept = [name for name in found.ranked if name not in found.behind]
    decided: dict[str, Any] = {
        "leader": arena.lines[found.best].name,
        "order": found.ranked,
        "minutes": bench.ledger.noted("minutes"),
        "dropped": dropped,
        "read": _read(arena),
        "chances": _rounded(passing(arena, beliefs, found, gap)),
        "chances_over": {name: _rounded(passing(arena, beliefs, found, gap, name)) for name in kept},
    }
    decided |= {"actions": arena.actions, "slowness": round(arena.slowness, 3)}
    bench.ledger.decide("race", decided)
    return Raced(dropped, frozenset(arena.ended), found.ranked)


@dataclass(frozen=True)
class Standing:
    """Where a race has come to: lines by promise, the `last` arm of each, the `best` arm, and the lines left `behind`."""

    ranked: tuple[str, ...]
    last: dict[str, int]
    best: int
    behind: tuple[str, ...]


def standing(arena: Arena, beliefs: Belief, gap: float, ended: frozenset[str] = frozenset()) -> Standing | None:
    """Say which lines are not worth more; None where nothing was read.

    A line is left behind when its 90 % quantile is more than `gap` below the leader, or when nothing was read of it; never
    one of the two best, nor one that has answered every row.
    """
    mean, spread = beliefs.after(arena)
    last = {one.line: i for i, one in enumerate(arena.arms)}  # a line's arms stand in the order of their rungs
    ranked = [one for one in sorted(last, key=lambda name: -mean[last[name]]) if one not in ended]
    read = [one for one in ranked if len(arena.scores(last[one]))]
    if not read:
        return None
    best, behind = last[read[0]], []
    for name in ranked:
        i, answered = last[name], len(arena.scores(last[name]))
        is_behind = mean[i] + PROMISE * spread[i] < mean[best] - gap
        if name not in read[:LEAST_KEPT] and answered < arena.rows and (is_behind or not answered):
            behind.append(name)
    return Standing(tuple(ranked), last, best, tuple(behind))


def passing(arena: Arena, beliefs: Belief, found: Standing, gap: float, over: str | None = None) -> dict[str, float]:
    """Return for each line left behind the believed chance that it would pass another by more than `gap` (an estimate).

    `over` names the other one (None: the leader).
    """
    mean, covariance = beliefs.jointly_after(arena)
    chances, best = {}, found.best if over is None else found.last[over]
    for name in found.behind:
        i = found.last[name]
        spread = math.sqrt(max(1e-9, covariance[i, i] + covariance[best, best] - 2 * covariance[i, best]))
        chances[name] = 0.5 * math.erfc((mean[best] + gap - mean[i]) / (math.sqrt(2) * spread))
    return chances


def left_aside(bench: Bench, lines: Sequence[Line], over: str | None = None) -> dict[str, float]:
    """Return for each line that the race dropped, and that nothing has run since, the chance that `passing` gave it.

    `over` names the way that it would have to pass (None, or one that was not in the race: its leader).
    """
    chances: dict[str, float] = {}
    for what, details in bench.ledger.decisions():
        if what == "race":
            chances = {**details.get("chances", {}), **details.get("chances_over", {}).get(over, {})}
    states = {line.name: bench.ledger.trial(line.name) for line in lines}
    return {
        name: chances[name] for name, found in states.items() if found and found[0] == "dropped" and name in chances
    }


def not_run(bench: Bench, lines: Sequence[Line], judged: Sequence[str]) -> Aside:
    """Return what the verdict about the ways in `judged` has to reckon with: what was left aside, what was not reached."""
    ended = ("done", "dropped", "skipped", "failed")
    states = {line.name: bench.ledger.trial(line.name) for line in lines if not line.excluded}
    unreached = tuple(name for name, found in states.items() if not found or found[0] not in ended)
    over = {name: any_of(left_aside(bench, lines, name)) for name in judged}
    return Aside({"": any_of(left_aside(bench, lines)), **over}, unreached)


def _rounded(chances: Mapping[str, float]) -> dict[str, float]:
    return {name: round(p, 4) for name, p in chances.items()}


def any_of(chances: Mapping[str, float]) -> float:
    """Return the chance that at least one comes true, taken as if each stood for itself."""
    return 1.0 - math.prod(1.0 - one for one in chances.values())


def screen(arena: Arena) -> None:
    """Let every line answer its first rows, the cheapest first, so that none is dropped untried unless trying it is dear."""
    first: dict[str, int] = {}
    for i, one in enumerate(arena.arms):
        first.setdefault(one.line, i)
    for i in sorted(first.values(), key=lambda i: arena.cost(i, SCREENED)):
        if not len(arena.scores(i)) and arena.cost(i, SCREENED) <= SCREENING * arena.left():
            arena.read(i, SCREENED)


def beliefs_about(arena: LiveArena, labels: bool) -> Belief:
    """Return what the race believes before it begins: of labelling tasks, what arms reached on the matrix's data sets."""
    if not labels:
        return plain_beliefs(arena.arms)
    table, names = matrix()
    return Averaged((learnt_beliefs(arena.arms, table, names), plain_beliefs(arena.arms)))


@functools.cache
def matrix() -> tuple[Any, list[tuple[str, int]]]:
    """Return the scores of arms on other data sets [data sets, arms], and the arms as (line, rung)."""
    import numpy as np

    kept = json.loads((files("whichway.study") / "beliefs.json").read_text(encoding="utf-8"))
    names = [(line, rung) for line, rung in kept["arms"]]
    table = np.array(kept["scores"], dtype=float)  # None becomes NaN
    place = {name: i for i, name in enumerate(names)}
    same = [
        i for i, (line, _) in enumerate(names) if line != "hybrid"
    ]  # there it is fine-tuning with examples looked up
    more = [(ours, place[theirs, 0]) for ours, theirs in ALIKE.items()]
    kept_names = [names[i] for i in same] + [(ours, 0) for ours, _ in more]
    return table[:, same + [at for _, at in more]], kept_names


def _why(arena: LiveArena, arm: int, best: int, mean: Any, spread: Any) -> str:
    """Say in words why an arm is not worth more: by the e-process where that holds, else by what was to be expected."""
    scores, leader = arena.scores(arm), arena.lines[best].name
    chance = 0.5 * math.erfc(
        (mean[best] - mean[arm]) / (math.sqrt(2) * max(1e-9, math.hypot(spread[arm], spread[best])))
    )
    if len(scores) and arena.is_exchangeable and set(scores) | set(arena.scores(best)) <= {0.0, 1.0}:
        wins = paired_wins(list(arena.scores(best)), list(scores))
        if log_evidence(*wins) >= threshold(len(arena.arms)):
            return (
                f"ruled out by {leader}: it alone is right on {wins[0]} of their shared rows, this one alone on {wins[1]} "
                "(anytime-valid test over all arms, 5 %)"
            )
    seen = f"{scores.mean():.3f} on {len(scores)} rows" if len(scores) else _before(arena, arm)
    if not len(scores) and chance > 0.1:
        seen += f" (about {arena.cost(arm, arena.rows):.0f} s, more than what it may bring is worth)"
    return (
        f"not pursued: {seen}, {leader} has {arena.scores(best).mean():.3f} on {len(arena.scores(best))}; "
        f"chance of passing it {max(chance, 0.0):.0%} (estimate; --exhaustive runs it to the end)"
    )


def _before(arena: LiveArena, arm: int) -> str:
    """Say what is known of an arm that has answered nothing: its lower rung, or other data sets."""
    for i in range(arm - 1, -1, -1):
        if arena.lines[i].name == arena.lines[arm].name and len(arena.scores(i)):
            return f"trained on {arena.arms[i].labels} labels it has {arena.scores(i).mean():.3f}"
    return "not tried, judged by what it reached elsewhere and what it costs"


def _read(arena: LiveArena) -> dict[str, int]:
    return {arena.arms[i].name: len(arena.scores(i)) for i in range(len(arena.arms)) if len(arena.scores(i))}
