"""The running study as an arena of the race: fits and answers are those of the trials, kept in the ledger and done once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from whichway.core.strategy import Progress
from whichway.study.beliefs import Arm
from whichway.study.bench import BLOCK, Bench, fitted, predict_blocks
from whichway.study.growth import LEARNING, measure_rung
from whichway.study.lines import Line
from whichway.study.plan import START_S, estimate
from whichway.study.trial import guarded

LOW, TOP, RUNGS = (
    1,
    3,
    4,
)  # rungs are an eighth, a quarter, a half and all of the train rows; the race tries a quarter first
WORTH_A_RUNG_S = 15.0  # a fit that takes less is not tried on a quarter first
FEWEST_LABELS = 80
RESERVED = 0.35  # of the time at the start of a race: to finish who is kept, and for the finalists' refit and test
PROMPT_S = 8.0  # that a prompt takes before its first answer: weights, examples, calibration


class LiveArena:
    """Lines of a study as arms. Estimated seconds are corrected by what the same kind of model has taken so far.

    A trainable line that is dear has a second arm, fitted on a quarter of its train rows, by which it is judged first.
    """

    def __init__(self, bench: Bench, lines: Sequence[Line], loaded: Any, spare_s: Any) -> None:
        self.bench, self.spare_s = bench, spare_s
        self.reserved_s = RESERVED * max(0.0, bench.deadline - time.monotonic())
        low, high = bench.metric.bounds
        self.span = high - low
        grouped = any(row.group is not None for row in bench.rows.values())
        # Rows that hang together, or answered by fits that saw each other's rows, are no coin tosses: no e-process then.
        self.is_exchangeable = bench.metric.is_mean and len(bench.split.folds) == 1 and not grouped
        self.order = [id_ for fold in bench.split.folds for id_ in _ordered(bench, fold.validation)]
        self.rows = len(self.order)
        self.lines: list[Line] = []
        self.ended: set[str] = set()
        self.failed_arms: set[int] = set()
        self.pace: dict[str, list[float]] = {}
        arms: list[Arm] = []
        for line in lines:
            for one in self._arms_of(line, loaded):
                arms.append(one)
                self.lines.append(line)
        self.arms: Sequence[Arm] = tuple(arms)
        self._scores: dict[int, Any] = {}

    def left(self) -> float:
        """Return the seconds that may still be spent before the finalists' test."""
        return max(0.0, self.bench.deadline - time.monotonic() - max(self.reserved_s, float(self.spare_s())))

    def cost(self, arm: int, upto: int) -> float:
        """Estimate the seconds of having an arm's first `upto` rows answered, fits of further folds included."""
        if self.lines[arm].name in self.ended or arm in self.failed_arms:
            return float("inf")
        one, done = self.arms[arm], len(self.scores(arm))
        fits = one.fit_s * (self._folds(upto) - (self._folds(done) if done else 0)) / len(self.bench.split.folds)
        return self._pace(arm) * (fits + max(0, upto - done) * one.row_s)

    def read(self, arm: int, upto: int) -> bool:
        """Fit and answer; False once the budget has ended. A line that cannot go on costs infinitely much from then on."""
        line, expected, began = self.lines[arm], self.cost(arm, upto), time.monotonic()
        work = self._full if self.arms[arm].rung in (0, TOP) else self._low
        is_low, well = self.arms[arm].rung == LOW, guarded(self.bench, line, lambda: work(arm, upto))
        self._scores.clear()
        if not well and is_low:  # a quarter of the rows may be too few where all of them are enough
            self.failed_arms.add(arm)
        elif not well:
            self.ended.add(line.name)
        if well and 0 < expected < float("inf"):
            self.pace.setdefault(line.way, []).append((time.monotonic() - began) * self._pace(arm) / expected)
        self._tell(arm)
        return self.left() > 0

    def scores(self, arm: int) -> Any:
        """Return float64 scores between 0 and 1 of the rows answered so far, in the shared order up to the first gap."""
        import numpy as np

        if self.lines[arm].name in self.ended:  # what broke off is nobody's rival
            return np.zeros(0)
        if arm not in self._scores:
            metric, low, high = self.bench.metric, *self.bench.metric.bounds
            known, found = self.bench.ledger.predictions(self.lines[arm].name, self._part(arm)), []
            for id_ in self.order:
                if id_ not in known:
                    break
                found.append((metric.aggregate([known[id_][1]]) - low) / (high - low))
            self._scores[arm] = np.array(found, dtype=float)
        return self._scores[arm]

    def _arms_of(self, line: Line, loaded: Any) -> list[Arm]:
        split, rows = self.bench.split, loaded.examples
        whole = estimate(self.bench.task, rows, split, line, loaded.settings).seconds
        fit = estimate(self.bench.task, rows, replace(split, validation=()), line, loaded.settings).seconds
        row = max(0.0, whole - fit) / max(1, self.rows)
        if line.model == "causal" and not line.strategy.trains and not _searches(line):
            fit = min(fit, PROMPT_S)  # the rest of its estimate is other forms of the prompt, which come last
        labels = len(split.folds[0].train) + len(split.folds[0].dev)
        if line.way not in LEARNING:
            return [Arm(line.name, line.name, labels, fit, row)]
        start = START_S.get(line.model, 1.0)
        top = Arm(line.name, line.name, labels, fit, row, TOP, RUNGS)
        if len(split.folds) > 1 or labels < FEWEST_LABELS or fit < WORTH_A_RUNG_S or not line.is_local:
            return [top]
        low = Arm(f"{line.name} on a quarter", line.name, labels // 4, start + (fit - start) / 4, row, LOW, RUNGS)
        return [low, top]

    def _full(self, arm: int, upto: int) -> None:
        """Answer validation rows as the trial would: the same fits, the same blocks, the same part."""
        line, offset = self.lines[arm], 0
        for number, fold in enumerate(self.bench.split.folds):
            rows = [self.bench.rows[id_] for id_ in _ordered(self.bench, fold.validation)]
            wanted = min(len(rows), -(-(upto - offset) // BLOCK) * BLOCK)
            if wanted <= 0:
                return
            self.bench.meter.phase = "fit"
            train, dev = ([self.bench.rows[id_] for id_ in ids] for ids in (fold.train, fold.dev))
            solution = fitted(self.bench, line, f"fold-{number}", train, dev, self.spare_s())
            self.bench.meter.phase = "validation"
            predict_blocks(self.bench, line, solution, rows[:wanted], "validation", self.spare_s())
            offset += len(rows)

    def _low(self, arm: int, upto: int) -> None:
        """Fit on a part of the train rows, which are nested between rungs, and answer."""
        rows = -(-upto // BLOCK) * BLOCK
        measure_rung(self.bench, self.lines[arm], self.arms[arm].labels, self.spare_s(), rows)

    def _part(self, arm: int) -> str:
        one = self.arms[arm]
        return "validation" if one.rung in (0, TOP) else f"labels-{one.labels}"

    def _folds(self, upto: int) -> int:
        """Return how many folds must be fitted so that this many rows can be answered."""
        sizes, count = [len(fold.validation) for fold in self.bench.split.folds], 0
        while upto > 0 and count < len(sizes):
            upto -= sizes[count]
            count += 1
        return count

    def _pace(self, arm: int) -> float:
        """Return what this way has taken of its estimate, pulled towards 1 while little is known."""
        seen = self.pace.get(self.lines[arm].way, [])
        return (1.0 + sum(seen[-6:])) / (1 + len(seen[-6:]))

    def _tell(self, arm: int) -> None:
        scores = self.scores(arm)
        if len(scores):
            where = f"{scores.mean():.3f} on {len(scores)} rows"
            self.bench.say(self.arms[arm].name, Progress(where, len(scores), self.rows))


def _searches(line: Line) -> bool:
    return getattr(line.strategy, "prompts", 0) > 0


def _ordered(bench: Bench, ids: Sequence[str]) -> list[str]:
    mine = set(ids)
    return [id_ for id_ in bench.split.validation if id_ in mine]
