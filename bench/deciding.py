"""How long deciding takes: one action of the race, one recommendation, and the search for what would flip it."""

# 30 arms and 2,000 rows, as a study of every way with its rungs would have; wall clock, one process, one thread. The target is
# 50 ms per action: a race makes one decision for each block of answers, which themselves take a second or more.

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from whichway.core.model import Spend
from whichway.core.task import Constraints, Objective, Prediction
from whichway.metrics.labels import Accuracy
from whichway.study.arena import LiveArena
from whichway.study.beliefs import Arm, Averaged, learnt_beliefs, plain_beliefs
from whichway.study.conditions import Case
from whichway.study.cost import Needs, priced
from whichway.study.evidence import joint_samples, latency_samples
from whichway.study.flips import flips
from whichway.study.ledger import Ledger
from whichway.study.pursuit import matrix
from whichway.study.race import gradient
from whichway.study.recommend import Candidate

WANTED_MS = 50.0


class Timed:
    """An arena of right-or-wrong rows that notes when it is asked for more: what lies between is deciding."""

    def __init__(self, arms: int, rows: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.arms = [Arm(f"way-{i}", f"line-{i // 3}", 100 * 2 ** (i % 3), 1.0, 0.01, i % 3, 3) for i in range(arms)]
        self.rows = rows
        self.table = (rng.random((arms, rows)) < rng.uniform(0.6, 0.75, (arms, 1))).astype(float)
        self.seen, self.ms, self.began = [0] * arms, [], time.perf_counter()

    def left(self) -> float:
        return 1e9

    def cost(self, arm: int, upto: int) -> float:
        return 1.0 + 0.01 * upto

    def read(self, arm: int, upto: int) -> bool:
        self.ms.append(1000 * (time.perf_counter() - self.began))
        self.seen[arm] = upto
        self.began = time.perf_counter()
        return True

    def scores(self, arm: int) -> np.ndarray:
        return self.table[arm, : self.seen[arm]]


class Kept(LiveArena):
    """The arena of a running study, over a ledger that holds every answer; only the answering itself is left out."""

    def __init__(self, arms: int, rows: int, folder: Path, seed: int = 0) -> None:
        rng, labels = np.random.default_rng(seed), tuple(f"label-{i}" for i in range(10))
        ids = [f"row-{i}" for i in range(rows)]
        self.arms = [Arm(f"way-{i}", f"way-{i}", 400, 1.0, 0.01) for i in range(arms)]
        self.lines = [SimpleNamespace(name=one.line, way="prompt") for one in self.arms]
        self.ledger, self.order, self.rows = Ledger(folder), ids, rows
        self.bench = SimpleNamespace(metric=Accuracy(), ledger=self.ledger)
        self.ended, self._scores, self._stale, self.seen, self.ms = set(), {}, set(), [0] * arms, []
        for one in self.arms:
            said = {name: 0.1 for name in labels}
            hits = rng.random(rows) < rng.uniform(0.6, 0.75)
            found = [(id_, Prediction(labels[0], 0.5, said), float(hit)) for id_, hit in zip(ids, hits, strict=True)]
            ticket = self.ledger.reserve(one.name, one.line, "validation", Spend())
            self.ledger.commit_block(ticket, Spend(), one.line, "validation", found)
        self.began = time.perf_counter()

    left, cost = Timed.left, Timed.cost

    def read(self, arm: int, upto: int) -> bool:
        self.ms.append(1000 * (time.perf_counter() - self.began))
        self.seen[arm] = upto
        self._stale.add(arm)
        self.began = time.perf_counter()
        return True

    def scores(self, arm: int) -> np.ndarray:
        return super().scores(arm)[: self.seen[arm]] if self.seen[arm] else np.zeros(0)


def repeated(work: Callable[[], object], times: int) -> list[float]:
    """Return milliseconds of each of so many calls, after one that warms up."""
    work()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - began))
    return found


def make_case(arms: int, rows: int) -> tuple[Case, dict[str, list[float]]]:
    """Return candidates of every kind of cost, and their scores row by row."""
    rng = np.random.default_rng(1)
    scores = {f"way-{i}": [float(x) for x in rng.random(rows) < 0.6 + 0.01 * (i % 20)] for i in range(arms)}
    samples = joint_samples(Accuracy(), scores)
    found, goal = [], Objective(hourly_usd=50, hours={"classic": 2}, refresh_months=6)
    for i, (name, drawn) in enumerate(samples.items()):
        p95, pace = latency_samples(list(rng.lognormal(3, 0.4, 40)), i)
        local = i % 3 > 0
        price = {"rows_per_s": 5.0 + i} if local else {"paid_usd": 1.0, "calls_usd": 0.3}
        needs = Needs(name, "classic", local, machine_hours=0.1 * i, labels=500, **price)
        more = {"p95_ms": float(np.quantile(p95, 0.5)), "p95_samples": p95, "pace": pace, "needs": needs}
        found.append(Candidate(name, drawn, priced(needs, goal, 0.1), order=i, **more))
    limits = Constraints(min_score=0.6, max_p95_ms=60, max_cost_per_1000_usd=1)
    return Case(tuple(found), limits, goal, 0.1), scores


def main() -> None:
    """Print one line per figure, and with --out write them as JSON."""
    about = argparse.ArgumentParser(description=__doc__)
    about.add_argument("--arms", type=int, default=30)
    about.add_argument("--rows", type=int, default=2000)
    about.add_argument("--out", default="")
    asked = about.parse_args()
    arena = Timed(asked.arms, asked.rows)
    gradient(arena, plain_beliefs(arena.arms))
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(asked.arms, asked.rows, Path(folder))
        table, names = matrix()
        beliefs = Averaged((learnt_beliefs(kept.arms, table, names), plain_beliefs(kept.arms)))
        kept.began = time.perf_counter()
        gradient(kept, beliefs)
        kept.ledger.close()
    case, scores = make_case(asked.arms, asked.rows)
    verdict = case.verdict()
    found = {
        "an action of a running race": kept.ms,
        "an action of the race (gradient)": arena.ms,
        "a recommendation (decide)": repeated(case.verdict, 50),
        "posterior samples of all scores": repeated(lambda: joint_samples(Accuracy(), scores), 3),
        "what would flip it (flips)": repeated(lambda: flips(case, verdict), 3),
    }
    said = {}
    for name, ms in found.items():
        worst = max(ms)
        said[name] = {"median_ms": round(statistics.median(ms), 3), "worst_ms": round(worst, 3), "n": len(ms)}
        print(f"{name:36} median {statistics.median(ms):8.2f} ms, worst {worst:8.2f} ms, n = {len(ms)}")
    met = all(said[name]["worst_ms"] < WANTED_MS for name in list(found)[:3])
    spent = sum(kept.ms) / 1000
    print(f"a race of {len(kept.ms)} actions: {spent:.2f} s of deciding, 2 % of a study of {50 * spent:.0f} s")
    print(f"{asked.arms} arms, {asked.rows} rows: under {WANTED_MS:g} ms per action {'met' if met else 'MISSED'}")
    if asked.out:
        with open(asked.out, "w", encoding="utf-8") as file:
            json.dump({"arms": asked.arms, "rows": asked.rows, "figures": said}, file, indent=1)


if __name__ == "__main__":
    main()
