"""The matrix of measured arms, and an arena that hands out their outcomes at their cost."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichway.study.beliefs import Arm

HERE = Path(__file__).parent
EVIDENCE = Path(os.environ.get("WHICHWAY_EVIDENCE", HERE.parents[2] / "shared" / "evidence"))
NOISE = 0.3  # spread of the logarithm of an estimated cost around the true one


@dataclass(frozen=True)
class Measured:
    """One arm of one data set under one seed: outcomes of validation and test rows together, and real costs."""

    set: str
    seed: int
    line: str
    labels: int
    rungs: int  # of its line
    rung: int  # its place among them
    fit_s: float
    row_s: float
    scores: Any  # float64 [rows]


def load_matrix() -> list[Measured]:
    """Return every arm of bench/replay/matrix.npz."""
    with np.load(HERE / "matrix.npz", allow_pickle=False) as kept:
        arms, parts = json.loads(str(kept["arms"])), np.split(kept["outcomes"], np.cumsum(kept["sizes"])[:-1])
    count = Counter((one["set"], one["seed"], one["line"]) for one in arms)
    seen: Counter[tuple[str, int, str]] = Counter()
    found = []
    for one, scores in sorted(zip(arms, parts, strict=True), key=lambda pair: pair[0]["labels"]):
        key = (one["set"], one["seed"], one["line"])
        cost = {name: one[name] for name in ("set", "seed", "line", "labels", "fit_s", "row_s")}
        found.append(Measured(**cost, rungs=count[key], rung=seen[key], scores=scores / 250.0))
        seen[key] += 1
    return found


class Replay:
    """Measured arms as an arena: rows are dealt anew under each seed, a share to read, the others to judge by.

    With `whole` all rows may be read, and an arm is judged by all of them: the regret of a finite set of rows.
    """

    def __init__(self, measured: list[Measured], rows: int, budget: float, seed: int, whole: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.measured = measured
        order = rng.permutation(len(measured[0].scores))
        table = np.stack([one.scores for one in measured])[:, order]
        self.rows = min(rows, len(order) if whole else len(order) // 2)
        self.truth = table.mean(axis=1)
        self.table, self.held = table[:, : self.rows], self.truth if whole else table[:, self.rows :].mean(axis=1)
        true = [(one.fit_s, one.row_s) for one in measured]
        off = np.exp(rng.normal(0, NOISE, (len(true), 2)))
        self.arms = tuple(
            Arm(f"{one.line}@{one.labels}", one.line, one.labels, fit * a, row * b, one.rung, one.rungs)
            for one, (fit, row), (a, b) in zip(measured, true, off, strict=True)
        )
        self.true = true
        self.full = sum(fit + row * self.rows for fit, row in true)
        self.budget, self.spent = budget * self.full, 0.0
        self.read_rows = [0] * len(measured)

    def left(self) -> float:
        """Seconds that may still be spent."""
        return self.budget - self.spent

    def cost(self, arm: int, upto: int) -> float:
        """Estimated seconds of having this arm's first `upto` rows answered."""
        one = self.arms[arm]
        return (0.0 if self.read_rows[arm] else one.fit_s) + max(0, upto - self.read_rows[arm]) * one.row_s

    def read(self, arm: int, upto: int) -> bool:
        """Answer an arm's rows up to this number; False, with the budget spent, where the true cost passes what is left."""
        fit, row = self.true[arm]
        cost = (0.0 if self.read_rows[arm] else fit) + max(0, upto - self.read_rows[arm]) * row
        if cost > self.left():
            self.spent = self.budget
            return False
        self.spent += cost
        self.read_rows[arm] = max(self.read_rows[arm], min(upto, self.rows))
        return True

    def scores(self, arm: int) -> Any:
        """Return the outcomes read of an arm, in the shared order."""
        return self.table[arm, : self.read_rows[arm]]

    def regret(self, arm: int | None) -> float:
        """Return by how much the best arm passes this one on rows that nobody read; the best by all rows."""
        best = int(self.truth.argmax())
        return float(self.held[best] - (self.held[arm] if arm is not None else self.held.min()))
