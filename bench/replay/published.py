"""Replay A: published per-item outcomes of prompting arms; regret of policies, and how often the guarantees G1 and G2 err."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from arena import EVIDENCE, Measured, Replay
from scipy.special import betainc, betaln
from scipy.stats import beta

from whichway.study.beliefs import Averaged, learnt_beliefs, plain_beliefs
from whichway.study.evidence import clopper_pearson
from whichway.study.guarantee import log_evidence, threshold
from whichway.study.race import gradient, halving

ARMS, ROWS = 30, 250
OPENED = 16
LOOK = 5  # rows between two looks


def main() -> None:
    """Print regret at 10 % of the cost, G1's violations in replays and between equals, and G2's coverage."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--replays", type=int, default=200, help="per data set")
    said = asked.parse_args()
    sets = outcomes()
    policies = {
        "successive halving": lambda arena, prior: halving(arena),
        "successive halving, looks from 5 rows on": lambda arena, prior: halving(arena, blocks=(5, 10, 20, 40, 80)),
        "knowledge gradient, plain beliefs": lambda arena, prior: gradient(arena, plain_beliefs(arena.arms)),
        "knowledge gradient, averaged beliefs": _informed,
        "uniform": lambda arena, prior: _uniform(arena),
    }
    named = arm_names()
    priors = {name: _beliefs_without(sets, named, name) for name in sets}
    for name, policy in policies.items():
        known = named if policy is _informed else {one: list(map(str, range(len(arms)))) for one, arms in sets.items()}
        regret = {one: _mean_regret(sets[one], known[one], priors[one], policy, said.replays) for one in sets}
        mean, by_set = np.mean(list(regret.values())), ", ".join(f"{one} {value:.2f}" for one, value in regret.items())
        print(f"10 %: {name:36} mean regret {mean:.2f} points over {len(sets)} data sets ({by_set})", flush=True)
    wrong = [_violated(table, i) for table in sets.values() for i in range(said.replays * 2)]
    print(f"G1 in replays: {_rate(wrong)}")
    print(f"G1 between equals: {_rate([_equals_violated(i) for i in range(1000)])}")
    print(f"G2, three finalists together: {_rate([_covered(table, i) for table in sets.values() for i in range(400)])}")


def outcomes() -> dict[str, Any]:
    """Return right or wrong, uint8 [arms, 250], of each published data set."""
    with np.load(EVIDENCE / "longctx_icl_correct.npz", allow_pickle=False) as kept:
        names = [name.removesuffix("__correct") for name in kept.files if name.endswith("__correct")]
        sizes = {name: len(kept[f"{name}__ids"]) for name in names}
        return {name: np.unpackbits(kept[f"{name}__correct"], axis=1)[:, : sizes[name]] for name in names}


def arm_names() -> dict[str, list[str]]:
    """Return for each data set and arm its language model, how examples were chosen, and their number; seeds are alike."""
    with np.load(EVIDENCE / "longctx_icl_correct.npz", allow_pickle=False) as kept:
        found = {name.removesuffix("__arms"): kept[name] for name in kept.files if name.endswith("__arms")}
        return {name: ["|".join(str(one).split("|")[:3]) for one in arms] for name, arms in found.items()}


def _beliefs_without(sets: dict[str, Any], named: dict[str, list[str]], left_out: str) -> Any:
    """Return mean scores of all other data sets [data sets, kinds of arm] and the kinds as (name, rung)."""
    related = {"trec": "trecfine", "trecfine": "trec"}  # the same questions with other labels
    others = [name for name in sets if name not in (left_out, related.get(left_out))]
    kinds = sorted({kind for name in others for kind in named[name]})
    place, sums, counts = {kind: i for i, kind in enumerate(kinds)}, *np.zeros((2, len(others), len(kinds)))
    for row, name in enumerate(others):
        for kind, score in zip(named[name], sets[name].mean(axis=1), strict=True):
            sums[row, place[kind]] += score
            counts[row, place[kind]] += 1
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), [(kind, 0) for kind in kinds]


def _informed(arena: Replay, prior: Any) -> int | None:
    return gradient(arena, Averaged((learnt_beliefs(arena.arms, *prior), plain_beliefs(arena.arms))))


def _mean_regret(table: Any, names: list[str], prior: Any, policy: Any, replays: int) -> float:
    return 100 * float(np.mean([_regret(table, names, prior, policy, i) for i in range(replays)]))


def _regret(table: Any, names: list[str], prior: Any, policy: Any, seed: int) -> float:
    rng = np.random.default_rng(seed)
    some = rng.choice(len(table), ARMS, replace=False)
    measured = [Measured("", 0, names[i], 1, 1, 0, 0.0, 1.0, table[i].astype(float)) for i in some]
    arena = Replay(measured, ROWS, 0.10, seed, whole=True)
    return arena.regret(policy(arena, prior))


def _uniform(arena: Replay) -> int:
    each = int(arena.budget / len(arena.arms))
    for i in range(len(arena.arms)):
        arena.read(i, each)
    return int(np.argmax([arena.scores(i).mean() if len(arena.scores(i)) else 0.0 for i in range(len(arena.arms))]))


def _violated(table: Any, seed: int) -> bool:
    """Deal rows of a published data set with replacement, look after every few, and say whether the best arm was dropped."""
    rng = np.random.default_rng(seed)
    some = table[rng.choice(len(table), OPENED, replace=False)].astype(int)
    best = int(some.mean(axis=1).argmax())
    return _dropped(some[:, rng.integers(0, some.shape[1], 600)], best)


def _equals_violated(seed: int) -> bool:
    """Sixteen arms that are right on half of the rows each, independently: is the first one dropped?"""
    return _dropped(np.random.default_rng(seed).integers(0, 2, (OPENED, 600)), 0)


def _dropped(rows: Any, arm: int) -> bool:
    """Say whether any other arm's e-process against this one ever passes the threshold."""
    wins = np.cumsum((rows > rows[arm]), axis=1)[:, LOOK - 1 :: LOOK]
    losses = np.cumsum((rows < rows[arm]), axis=1)[:, LOOK - 1 :: LOOK]
    total = wins + losses
    above = np.log(np.maximum(betainc(0.5 + losses, 0.5 + wins, 0.5), 1e-300))
    found = above + betaln(0.5 + wins, 0.5 + losses) - betaln(0.5, 0.5) + (total + 1) * np.log(2)
    assert abs(found[-1, -1] - log_evidence(int(wins[-1, -1]), int(losses[-1, -1]))) < 1e-6 or total[-1, -1] == 0
    return bool((found >= threshold(OPENED)).any())


def _covered(table: Any, seed: int) -> bool:
    """Choose three finalists on some rows, certify them on others at one third of 5 % each: are all three inside?"""
    rng = np.random.default_rng(seed)
    some = table[rng.choice(len(table), OPENED, replace=False)].astype(int)
    validation, test = rng.integers(0, some.shape[1], (2, 200))
    finalists = np.argsort(-some[:, validation].mean(axis=1))[:3]
    ends = [clopper_pearson(int(some[i, test].sum()), len(test), 1 - 0.05 / 3) for i in finalists]
    return all(low <= some[i].mean() <= high for i, (low, high) in zip(finalists, ends, strict=True))


def _rate(found: list[bool]) -> str:
    hits, n = sum(found), len(found)
    low, high = beta.ppf(0.025, max(hits, 1e-9), n - hits + 1), beta.ppf(0.975, hits + 1, max(n - hits, 1e-9))
    return f"{hits / n:.4f} ({low:.4f} to {high:.4f}, n={n})"


if __name__ == "__main__":
    main()
