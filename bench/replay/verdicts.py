"""Whole studies replayed on the measured matrix: race, drop, finalists, sealed test, verdict. How often is 'decided' right?"""

# Rows of a data set are its population. Each study draws its validation and its test rows from it with replacement, so that
# what is true of the population is known. Race, rules and verdict are the program's own functions.

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from arena import Measured, Replay
from replay import beliefs_without, by_set

from whichway import registry
from whichway.core.output import Labels
from whichway.core.task import Field, Objective, Task
from whichway.report.plots.svg import drawing, line, linear, tag, text
from whichway.study.beliefs import Averaged, learnt_beliefs, plain_beliefs
from whichway.study.cost import Cost
from whichway.study.evidence import calibration, clopper_pearson, joint_samples
from whichway.study.pursuit import SECOND, any_of, passing, screen, standing
from whichway.study.race import gradient
from whichway.study.recommend import NOTHING, Aside, Candidate, Verdict, decide, pick_finalists

HERE = Path(__file__).parent
VALIDATION, TEST = 200, 400
TRIED = (1, 3)  # rungs of a line that a real race fits: a quarter of the labels, and all of them
USD_PER_S = 0.1 / 3600


@dataclass(frozen=True)
class Outcome:
    """One study: its verdict, the true score of what was chosen, of the best way there was, and of those compared."""

    verdict: Verdict
    truth: dict[str, float]
    spent: float  # share of what running everything would have cost, finishing included

    def regret(self) -> float:
        """Points by which the best way of all passes the chosen one."""
        return max(self.truth.values()) - self.truth[self.verdict.chosen or ""]


def main() -> None:
    """Print how often verdicts were right, by word and budget, and write the reliability diagram."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--studies", type=int, default=60, help="per data set and budget")
    asked.add_argument("--gap", type=float, default=0.01, help="the smallest difference of interest")
    asked.add_argument("--budgets", default="0.10,0.25,0.50,1")
    said = asked.parse_args()
    sets, lines, pairs = by_set(), ["# Verdicts in replayed studies", ""], []
    lines += [
        f"{said.studies} studies of each of {len(sets)} data sets; right: within {said.gap:g} of the best way.",
        "",
    ]
    lines += ["| race's share | spent in all | regret | verdict | studies | right |", "|---|---|---|---|---|---|"]
    for share in map(float, said.budgets.split(",")):
        found = [
            _study(arms, _prior(sets, name), share, said.gap, i)
            for name, arms in sets.items()
            for i in range(said.studies)
        ]
        lines += _rows(share, found, said.gap)
        pairs += _pairs(found)
        print("\n".join(lines[-3:]), flush=True)
    error, bins = calibration([p for p, _ in pairs], [hit for _, hit in pairs])
    lines += [
        "",
        f"P(best) of every finalist against how often it was the best of them: calibration error {error:.3f} (n = {len(pairs)}).",
        "",
    ]
    lines += [
        "| said | found | n |",
        "|---|---|---|",
        *(f"| {one['confidence']:.2f} | {one['accuracy']:.2f} | {one['n']} |" for one in bins),
    ]
    (HERE / "verdicts.md").write_text("\n".join(lines) + "\n")
    (HERE / "reliability.svg").write_text(_plot(bins))
    print("\n".join(lines[-len(bins) - 4 :]))


def _prior(sets: dict[str, list[Measured]], name: str) -> Any:
    return beliefs_without(sets, name)


def _study(arms: list[Measured], prior: Any, share: float, gap: float, seed: int) -> Outcome:
    """Run one study; `share` is what the race may spend of the cost of running everything, 1 leaves the race out."""
    rng = np.random.default_rng(1000 + seed)
    arms = [one for one in arms if one.rungs == 1 or one.rung in TRIED]
    size = len(arms[0].scores)
    validation, test = rng.integers(0, size, VALIDATION), rng.integers(0, size, TEST)
    tops = {one.line: one for one in arms if one.rung == one.rungs - 1}
    whole = sum(one.fit_s + VALIDATION * one.row_s for one in tops.values())
    kept, spent, aside = list(tops), whole, NOTHING
    if share < 1:
        kept, spent, aside = _raced(
            [replace(one, scores=one.scores[validation]) for one in arms], tops, prior, share * whole, gap, seed
        )
    task = _task(gap)
    picked = pick_finalists(task, _candidates(tops, kept, validation, seed))
    verdict = decide(task, _candidates(tops, picked, test, seed), aside)
    return Outcome(verdict, {name: float(one.scores.mean()) for name, one in tops.items()}, spent / whole)


def _raced(
    arms: list[Measured], tops: dict[str, Measured], prior: Any, budget: float, gap: float, seed: int
) -> tuple[list[str], float, Aside]:
    """Return the lines that a race keeps, the seconds of it and of finishing those, and the chances of having missed a better."""
    arena = Replay(arms, VALIDATION, 1.0, seed, whole=True)
    arena.budget = budget
    beliefs = Averaged((learnt_beliefs(arena.arms, *prior), plain_beliefs(arena.arms)))
    screen(arena)
    gradient(arena, beliefs, second=SECOND)
    found = standing(arena, beliefs, gap)
    if found is None:
        return list(tops)[:1], arena.spent, Aside({"": 1.0})
    kept = [name for name in found.ranked if name not in found.behind and name in tops]
    over = {name: any_of(passing(arena, beliefs, found, gap, name)) for name in kept}
    aside = Aside({"": any_of(passing(arena, beliefs, found, gap)), **over})
    arena.budget = float("inf")
    for name in kept:
        arena.read(found.last[name], VALIDATION)
    return kept, arena.spent, aside


def _candidates(tops: dict[str, Measured], names: list[str], rows: Any, seed: int) -> list[Candidate]:
    scores = {name: tops[name].scores[rows].tolist() for name in names}
    samples = joint_samples(registry.get("metric", "accuracy")(), scores, (), seed)
    costs = {name: Cost(tops[name].fit_s * USD_PER_S, 1000 * tops[name].row_s * USD_PER_S) for name in names}
    return [Candidate(name, samples[name], costs[name], order=i) for i, name in enumerate(names)]


def _task(gap: float) -> Task:
    metric = registry.get("metric", "accuracy")()
    return Task("replay", "", (Field("x"),), Labels(("a", "b")), metric, objective=Objective(smallest_difference=gap))


def _rows(share: float, found: list[Outcome], gap: float) -> list[str]:
    lines, regret = [], 100 * np.mean([one.regret() for one in found])
    spent = np.mean([one.spent for one in found])
    for level in ("decided", "leaning", "undecided"):
        some = [one.regret() <= gap for one in found if one.verdict.level == level]
        low, high = clopper_pearson(sum(some), len(some)) if some else (0.0, 1.0)
        right = f"{100 * np.mean(some):.1f} % ({100 * low:.1f} to {100 * high:.1f})" if some else "-"
        race = "none: all ways run" if share >= 1 else f"{100 * share:.0f} %"
        lines.append(f"| {race} | {100 * spent:.0f} % | {regret:.2f} | {level} | {len(some)} | {right} |")
    return lines


def _pairs(found: list[Outcome]) -> list[tuple[float, float]]:
    """Return (P(best), 1 if it truly is the best of those compared) of every finalist; equals share the point."""
    pairs = []
    for one in found:
        true = {name: one.truth[name] for name in one.verdict.p_best}
        best = [name for name, value in true.items() if value == max(true.values())]
        pairs += [(p, (name in best) / len(best)) for name, p in one.verdict.p_best.items()]
    return pairs


def _plot(bins: list[dict[str, Any]]) -> str:
    """Return the reliability diagram as an SVG; the size of a dot is its share of the studies."""
    side, left, bottom, top = 420.0, 60.0, 370.0, 30.0
    across, up = linear(0, 1, left, side - 20), linear(0, 1, bottom, top)
    parts = [text(left, 18, "P(best) as said, against how often it was the best")]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<g stroke="#ddd">{line(left, up(tick), side - 20, up(tick), "")}</g>')
        parts += [text(left - 36, up(tick) + 4, f"{tick:g}"), text(across(tick) - 8, bottom + 18, f"{tick:g}")]
    parts.append(f'<g stroke="#999" stroke-dasharray="5 4">{line(across(0), up(0), across(1), up(1), "")}</g>')
    most = max(one["n"] for one in bins)
    for one in bins:
        size = 3 + 9 * (one["n"] / most) ** 0.5
        parts.append(
            tag(
                "circle", cx=across(one["confidence"]), cy=up(one["accuracy"]), r=size, fill="#d55e00", fill_opacity=0.7
            )
        )
    parts.append(text(left + 110, side - 8, "P(best) said by the verdict"))
    svg = drawing((side, side), "reliability", ("Reliability of P(best)", "see verdicts.md"), *parts)
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="13" ', 1)


if __name__ == "__main__":
    main()
