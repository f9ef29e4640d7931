"""Ways to spend a budget that whichway's race is compared with: what people do, and what the literature offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from arena import Replay

from whichway.study.beliefs import Averaged, learnt_beliefs, plain_beliefs
from whichway.study.race import UPPER, gradient, halving, leader

FINE = tuple(8 * 2**i for i in range(8))  # rows after which halving looks
Policy = Callable[[Replay, Any, int], "int | None"]  # arena, prior (table, names), seed


def uniform(arena: Replay, prior: Any, seed: int) -> int | None:
    """Open arms in the order of their cost, every one on all rows, until the money is gone."""
    order = sorted(range(len(arena.arms)), key=lambda i: arena.cost(i, arena.rows))
    return _read_all(arena, order)


def random_search(arena: Replay, prior: Any, seed: int) -> int | None:
    """Open arms in random order, every one on all rows."""
    return _read_all(arena, np.random.default_rng(seed).permutation(len(arena.arms)).tolist())


def plain_halving(arena: Replay, prior: Any, seed: int) -> int | None:
    """Successive halving without the rule for late bloomers."""
    return halving(arena, late_bloomers=False)


def fine_halving(arena: Replay, prior: Any, seed: int) -> int | None:
    """The same, that looks after 8 rows first: a study commits 32 at a time, a rival need not."""
    return halving(arena, late_bloomers=False, blocks=FINE)


def race_halving(arena: Replay, prior: Any, seed: int) -> int | None:
    """Successive halving with it."""
    return halving(arena, late_bloomers=True)


def asha(arena: Replay, prior: Any, seed: int) -> int | None:
    """ASHA (Li et al. 2020) over rungs of labels, and of rows where a line has one rung: promote the best third.

    It is written for ever new arms; where there are no more, the best that can still be promoted goes on.
    """
    lines: dict[str, list[int]] = {}
    for i in np.random.default_rng(seed).permutation(len(arena.arms)).tolist():
        lines.setdefault(arena.arms[i].line, []).append(i)
    ladders = {}
    for name, own in lines.items():
        own = sorted(own, key=lambda i: arena.arms[i].rung)
        rows = [25, 50, 100, arena.rows]
        ladders[name] = [(i, arena.rows) for i in own] if len(own) > 1 else [(own[0], n) for n in rows]
    done: dict[str, int] = {}
    waiting = list(ladders)
    while True:
        name = _promotable(arena, ladders, done, 3) or (waiting.pop(0) if waiting else None)
        name = name or _promotable(arena, ladders, done, 1)
        if name is None:
            return leader(arena, plain_beliefs(arena.arms))
        step = ladders[name][done.get(name, -1) + 1]
        done[name] = done.get(name, -1) + 1
        if UPPER * arena.cost(*step) <= arena.left():
            arena.read(*step)
        else:
            done[name] = len(ladders[name])  # cannot be paid


def _promotable(arena: Replay, ladders: dict[str, Any], done: dict[str, int], share: int) -> str | None:
    """Return the best line that is among the best one in `share` of its rung and has not gone on, at the highest rung first."""
    for rung in (2, 1, 0):
        here = {n: d for n, d in done.items() if rung <= d < len(ladders[n])}
        score = {n: arena.scores(ladders[n][rung][0]) for n in here}
        ranked = sorted((n for n in here if len(score[n])), key=lambda n: -score[n].mean())
        for name in ranked[: len(here) // share]:
            if done[name] == rung and rung + 1 < len(ladders[name]):
                return name
    return None


def prompt_first(arena: Replay, prior: Any, seed: int, target: float = 0.8) -> int | None:
    """The usual advice: try prompts, the cheapest first; fine-tune where the best stays below the target."""
    prompts = _of(arena, "prompt")
    best = _read_all(arena, sorted(prompts, key=lambda i: arena.cost(i, arena.rows)))
    if best is not None and arena.scores(best).mean() >= target:
        return best
    return _read_all(arena, sorted(_of(arena, "finetune"), key=lambda i: -arena.arms[i].labels))


def always(way: str) -> Policy:
    """Take the one way, with all labels, as far as the money goes."""

    def policy(arena: Replay, prior: Any, seed: int) -> int | None:
        return _read_all(arena, sorted(_of(arena, way), key=lambda i: -arena.arms[i].labels))

    return policy


def kg_plain(arena: Replay, prior: Any, seed: int) -> int | None:
    """Knowledge gradient that knows nothing of other data sets."""
    return gradient(arena, plain_beliefs(arena.arms))


def kg_averaged(arena: Replay, prior: Any, seed: int) -> int | None:
    """Knowledge gradient that believes other data sets as far as what it reads bears them out; what a study does."""
    return gradient(arena, Averaged((learnt_beliefs(arena.arms, *prior), plain_beliefs(arena.arms))))


def read_all(arena: Replay, prior: Any, seed: int) -> int | None:
    """Read every row of every arm, whatever that costs, and take the best mean: what the rows can tell at all."""
    return int(arena.table.mean(axis=1).argmax())


def kg_learnt(arena: Replay, prior: Any, seed: int) -> int | None:
    """Knowledge gradient with beliefs from all other data sets."""
    return gradient(arena, learnt_beliefs(arena.arms, *prior))


def _of(arena: Replay, way: str) -> list[int]:
    return [i for i, one in enumerate(arena.arms) if one.line.startswith(way)]


def _read_all(arena: Replay, order: list[int]) -> int | None:
    for i in order:
        if UPPER * arena.cost(i, arena.rows) <= arena.left():
            arena.read(i, arena.rows)
    return leader(arena, plain_beliefs(arena.arms))


POLICIES: dict[str, Policy] = {
    "race (knowledge gradient, averaged beliefs)": kg_averaged,
    "knowledge gradient, learnt beliefs": kg_learnt,
    "knowledge gradient, plain beliefs": kg_plain,
    "successive halving, late bloomers": race_halving,
    "successive halving": plain_halving,
    "successive halving, a first look after 8 rows": fine_halving,
    "ASHA": asha,
    "uniform, cheapest first": uniform,
    "random search": random_search,
    "prompt first, fine-tune below .8": prompt_first,
    "always fine-tune": always("finetune"),
    "always prompt": always("prompt"),
    "always embed": always("probe"),
    "no budget: every row of every arm read, best mean": read_all,
}
