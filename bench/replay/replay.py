"""Replay B: policies on the measured matrix at 10 % and 25 % of the exhaustive cost; regret by data set, paired."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from arena import Measured, Replay, load_matrix
from policies import POLICIES

HERE = Path(__file__).parent
ROWS = 200
LEAST_ARMS = 20


def main() -> None:
    """Print and write bench/replay/results.{json,md}."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--replays", type=int, default=100, help="per data set and budget")
    asked.add_argument("--budgets", default="0.10,0.25")
    asked.add_argument("--only", default="")
    said = asked.parse_args()
    sets = by_set()
    found: dict[str, Any] = {}
    for budget in map(float, said.budgets.split(",")):
        for name, policy in POLICIES.items():
            if said.only and said.only not in name:
                continue
            began = time.perf_counter()
            regrets = {one: _regrets(arms, sets, one, policy, budget, said.replays) for one, arms in sets.items()}
            found[f"{budget:.2f} {name}"] = {one: row.tolist() for one, row in regrets.items()}
            print(_line(budget, name, regrets), f"{time.perf_counter() - began:.0f} s", flush=True)
    if not said.only:
        (HERE / "results.json").write_text(
            json.dumps({k: {s: np.mean(r) for s, r in v.items()} for k, v in found.items()})
        )


def by_set() -> dict[str, list[Measured]]:
    """Return the arms of each data set that has enough of them, the first seed alone."""
    sets: dict[str, list[Measured]] = {}
    for one in load_matrix():
        if one.seed == 0:
            sets.setdefault(one.set, []).append(one)
    return {name: arms for name, arms in sorted(sets.items()) if len(arms) >= LEAST_ARMS}


def beliefs_without(sets: dict[str, list[Measured]], left_out: str) -> tuple[Any, list[tuple[str, int]]]:
    """Return the scores of all other data sets [data sets, arms], and the arms' names as (line, rung)."""
    related = {"banking10": "banking77", "banking77": "banking10"}  # rows of one source: never the one for the other
    others = [arms for name, arms in sets.items() if name not in (left_out, related.get(left_out))]
    names = sorted({(one.line, one.rung) for arms in others for one in arms})
    table = np.full((len(others), len(names)), np.nan)
    for row, arms in enumerate(others):
        for one in arms:
            table[row, names.index((one.line, one.rung))] = one.scores.mean()
    return table, names


def _regrets(arms: list[Measured], sets: Any, name: str, policy: Any, budget: float, count: int) -> Any:
    prior = beliefs_without(sets, name)
    found = []
    for seed in range(count):
        arena = Replay(arms, ROWS, budget, seed)
        found.append(arena.regret(policy(arena, prior, seed)))
    return np.array(found)


def _line(budget: float, name: str, regrets: dict[str, Any]) -> str:
    means = np.array([100 * row.mean() for row in regrets.values()])
    near = np.mean([np.mean(row <= 0.01) for row in regrets.values()])
    each = " ".join(f"{one[:6]} {mean:5.1f}" for one, mean in zip(regrets, means, strict=True))
    return f"{100 * budget:3.0f} % {name:42} regret {means.mean():5.2f}  within a point {near:.2f} | {each}"


if __name__ == "__main__":
    main()
