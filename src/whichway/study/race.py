"""Where a small budget goes: which arm is opened, how many rows it answers, which line is trained on, and when to stop."""

# Two allocations over one arena (the real study, or a replay of measured outcomes). `halving` is cost-rationed successive
# halving in which a trainable line is judged by what it may yet become (methods.md §2.2). `gradient` spends where the expected
# gain of the final choice per second is largest (knowledge gradient over packages, Frazier & Powell 2010), under Gaussian
# beliefs about all arms. Which of them leads on replays stands in docs/method.md.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from whichway.study.beliefs import GROWTH, Arena, Belief, noise_of, plain_beliefs

BLOCKS = (32, 64, 128, 256, 512, 1024)  # rows up to which an arm answers, step by step
UPPER = 1.3  # times an estimated cost: an action that may cost more than is left is not begun
WORTH = 2e-4  # expected gain in score below which nothing more is bought
PROMISE = 1.28  # standard deviations to the 90 % quantile
THRIFT = 0.3  # power of the cost that an expected gain is divided by; 1 fritters a small budget away (docs/method.md)


def gradient(arena: Arena, beliefs: Belief, thrift: float = THRIFT, second: float = 0.0) -> int | None:
    """Spend by knowledge gradient over cost to the power `thrift`; return the arm to choose, None if none was read.

    An action must be worth `second` in score for each second that it takes; where none is, the race is over.
    """
    while True:
        mean, spread = beliefs.after(arena)
        action = _best_action(arena, mean, spread, thrift, second)
        if action is None or not arena.read(*action):
            return leader(arena, beliefs)


def leader(arena: Arena, beliefs: Belief) -> int | None:
    """Return the read arm with the highest expected score, None if none was read."""
    mean, _ = beliefs.after(arena)
    read = [i for i in range(len(arena.arms)) if len(arena.scores(i))]
    return max(read, key=lambda i: mean[i], default=None)


def _best_action(arena: Arena, mean: Any, spread: Any, thrift: float, second: float) -> tuple[int, int] | None:
    """Return the (arm, rows) worth most for its cost, of those that can be paid."""
    read = {i for i in range(len(arena.arms)) if len(arena.scores(i))}
    left, best, found = arena.left(), 0.0, None
    for i in range(len(arena.arms)):
        rival = max((mean[j] for j in read if j != i), default=None)
        done = len(arena.scores(i))
        for upto in _steps(done, arena.rows):
            cost = arena.cost(i, upto)
            if UPPER * cost > left:
                break
            noise = noise_of(mean[i], upto - done, arena.rows)
            moved = spread[i] ** 2 / math.sqrt(spread[i] ** 2 + noise)
            worth = _gain(mean[i], moved, rival, i in read)
            if worth > WORTH + second * cost and worth / (cost + 1e-3) ** thrift > best:
                best, found = worth / (cost + 1e-3) ** thrift, (i, upto)
    return found


def _gain(mean: float, moved: float, rival: float | None, is_read: bool) -> float:
    """Return the expected rise of the best choice when an arm's mean moves by a normal of this spread."""
    if rival is None:
        return 0.0 if is_read else 1.0  # the first arm: something to choose at all
    gap = -abs(mean - rival) if is_read else mean - rival
    z = gap / max(moved, 1e-9)
    density, below = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi), 0.5 * math.erfc(-z / math.sqrt(2))
    return moved * (density + z * below)


def halving(arena: Arena, late_bloomers: bool = True, blocks: Sequence[int] = BLOCKS) -> int | None:
    """Successive halving of lines, cheapest first, rationed so that each round has a share of what is left.

    `blocks` are the rows that a line has answered after each round; all of them after the last.

    A line begins at its lowest rung and goes up one with each round that it outlives. With `late_bloomers` a trainable line
    is judged by the 90 % quantile of what it may be at its highest affordable rung, never by what it is.
    """
    lines: dict[str, list[int]] = {}
    for i, one in enumerate(arena.arms):
        lines.setdefault(one.line, []).append(i)
    alive = {name: sorted(own, key=lambda i: arena.arms[i].rung) for name, own in lines.items()}
    at = dict.fromkeys(alive, 0)
    for rows in [*(n for n in blocks if n < arena.rows), arena.rows]:
        ration = arena.left() / (1 if len(alive) <= 2 else 2)
        _one_round(arena, alive, at, rows, arena.left() - ration)
        if len(alive) > 1:
            value = {name: _value(arena, own, at[name], late_bloomers) for name, own in alive.items()}
            kept = sorted(alive, key=lambda name: -value[name])[: math.ceil(len(alive) / 2)]
            alive = {name: alive[name] for name in kept}
        at = {name: min(at[name] + 1, len(own) - 1) for name, own in alive.items()}
    for name, own in alive.items():  # who is left goes to the highest rung that can be paid
        _climb(arena, own, at[name])
    return leader(arena, plain_beliefs(arena.arms))


def _one_round(arena: Arena, alive: dict[str, list[int]], at: dict[str, int], rows: int, floor: float) -> None:
    """Let each line, the cheapest first, answer its rows at its rung, as long as the round's ration lasts."""
    for name in sorted(alive, key=lambda name: arena.cost(alive[name][at[name]], rows)):
        arm = alive[name][at[name]]
        if UPPER * arena.cost(arm, rows) <= arena.left() - floor:
            arena.read(arm, rows)


def _climb(arena: Arena, own: list[int], start: int) -> None:
    for arm in reversed(own[start:]):
        if UPPER * arena.cost(arm, arena.rows) <= arena.left():
            arena.read(arm, arena.rows)
            return


def _value(arena: Arena, own: list[int], rung: int, late_bloomers: bool) -> float:
    """Return what a line is worth: its best score, or for a trainable one what it may become."""
    read = [(arena.arms[i], arena.scores(i)) for i in own if len(arena.scores(i))]
    if not read:
        return 0.5 if late_bloomers and len(own) > 1 else -1.0
    last, scores = read[-1]
    now = float(scores.mean())
    if not late_bloomers or len(own) == 1:
        return now
    highest = max((arena.arms[i].rung for i in own if UPPER * arena.cost(i, arena.rows) <= arena.left()), default=0)
    steps = max(0, highest - last.rung)
    growth = max(0.0, now - float(read[-2][1].mean())) if len(read) > 1 else GROWTH
    unsure = math.hypot(GROWTH * steps, math.sqrt(noise_of(now, len(scores), arena.rows)))
    return min(1.0, now + 0.8 * growth * steps) + PROMISE * unsure


def _steps(done: int, rows: int) -> list[int]:
    return [n for n in (*(b for b in BLOCKS if b < rows), rows) if n > done]
