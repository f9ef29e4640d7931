"""Replay B: policies on the measured matrix at shares of the exhaustive cost; regret by data set, paired. `make replay`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from arena import Measured, Replay, load_matrix
from policies import POLICIES
from scipy.stats import t as student

from whichway.report.plots.svg import drawing, line, linear, text

HERE = Path(__file__).parent
ROWS = 200
LEAST_ARMS = 20
OURS = "race (knowledge gradient, averaged beliefs)"
RIVALS = (
    "successive halving",
    "successive halving, a first look after 8 rows",
    "successive halving, late bloomers",
)
COLOURS = (
    "#d55e00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#999999",
    "#bbbbbb",
    "#000000",
    "#8c510a",
    "#e69f00",
    "#5e3c99",
    "#762a83",
    "#7fbc41",
    "#4d4d4d",
)

Regrets = dict[str, dict[str, Any]]  # by policy and data set


def main() -> None:
    """Print and write bench/replay/results.md and results.svg."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--replays", type=int, default=100, help="per data set and budget")
    asked.add_argument("--budgets", default="0.05,0.10,0.25,0.50")
    said = asked.parse_args()
    sets, found = by_set(), {}
    for budget in map(float, said.budgets.split(",")):
        began = time.perf_counter()
        found[budget] = {
            name: {one: _regrets(arms, sets, one, policy, budget, said.replays) for one, arms in sets.items()}
            for name, policy in POLICIES.items()
        }
        print("\n".join(_table(budget, found[budget])), f"\n({time.perf_counter() - began:.0f} s)\n", flush=True)
    lines = [f"# Replay B: {len(sets)} data sets, {said.replays} replays each", ""]
    lines += ["Mean regret in points of score, on rows that no policy read; `make replay`.", ""]
    for budget, policies in found.items():
        lines += [*_table(budget, policies), ""]
    (HERE / "results.md").write_text("\n".join(lines))
    (HERE / "results.svg").write_text(_plot(found))


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


def _table(budget: float, policies: Regrets) -> list[str]:
    sets = list(next(iter(policies.values())))
    lines = [f"**{100 * budget:.0f} % of the exhaustive cost**", ""]
    lines += ["| policy | regret | within a point | " + " | ".join(sets) + " |", "|---" * (3 + len(sets)) + "|"]
    for name, by_name in policies.items():
        means = [100 * by_name[one].mean() for one in sets]
        near = np.mean([np.mean(by_name[one] <= 0.01) for one in sets])
        cells = " | ".join(f"{mean:.1f}" for mean in means)
        lines.append(f"| {name} | {np.mean(means):.2f} | {near:.2f} | {cells} |")
    return [*lines, "", *(_against(policies, rival) for rival in RIVALS)]


def _against(policies: Regrets, rival: str) -> str:
    """Say by how much ours is better, with an interval over data sets, each of which counts as one."""
    gaps = np.array([100 * (policies[rival][one] - policies[OURS][one]).mean() for one in policies[OURS]])
    half = student.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    wins = int((gaps > 0).sum())
    ends = f"95 % over data sets {gaps.mean() - half:+.2f} to {gaps.mean() + half:+.2f}"
    return f"Below {rival} by {gaps.mean():.2f} points ({ends}; better on {wins} of {len(gaps)}).\n"


def _plot(found: dict[float, Regrets]) -> str:
    """Return mean regret against the budget, one line per policy, as an SVG."""
    wide, high, left, right = 960.0, 460.0, 60.0, 640.0
    budgets, names = sorted(found), list(next(iter(found.values())))
    values = {n: [100 * float(np.mean([r.mean() for r in found[b][n].values()])) for b in budgets] for n in names}
    across = linear(np.log(budgets[0]), np.log(budgets[-1]), left, right)
    up = linear(0, max(map(max, values.values())), high - 50, 30)
    parts = [text(left, 16, "mean regret (points) by share of the exhaustive cost")]
    for tick in range(0, int(max(map(max, values.values()))) + 1, 5):
        parts += [
            f'<g stroke="#ddd">{line(left, up(tick), right, up(tick), "")}</g>',
            text(left - 30, up(tick) + 4, f"{tick}"),
        ]
    parts += [text(across(np.log(b)) - 10, high - 28, f"{100 * b:.0f} %") for b in budgets]
    last = sorted(names, key=lambda n: values[n][-1])
    place = {name: 40 + 34 * i for i, name in enumerate(last)}
    for name, colour in zip(names, COLOURS, strict=True):
        points = " ".join(f"{across(np.log(b)):.1f},{up(v):.1f}" for b, v in zip(budgets, values[name], strict=True))
        stroke = 4 if name == OURS else 2
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{stroke}"/>')
        y = high - 40 - place[name]
        parts.append(
            f'<g stroke="{colour}" stroke-width="{stroke}">{line(right + 20, y - 4, right + 40, y - 4, "")}</g>'
        )
        parts.append(text(right + 48, y, name))
    svg = drawing((wide, high), "replay", ("Regret by budget", "see results.md"), *parts)
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="13" ', 1)


if __name__ == "__main__":
    main()
