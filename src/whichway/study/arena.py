"""The running study as an arena of the race: fits and answers are those of the trials, kept in the ledger and done once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from whichway.core.strategy import Progress, Prompted
from whichway.core.task import worth
from whichway.models.hardware import slowness
from whichway.study.beliefs import Arm
from whichway.study.bench import BLOCK, PART, Bench, fitted, predict_blocks, step_of
from whichway.study.growth import LEARNING, measure_rung
from whichway.study.guaranteed import not_exchangeable
from whichway.study.lines import Line
from whichway.study.measuring import keep_version
from whichway.study.plan import START_S, estimate, here
from whichway.study.taken import spared_seconds
from whichway.study.trial import guarded

LOW, TOP, RUNGS = (
    1,
    3,
    4,
)  # rungs are an eighth, a quarter, a half and all of the train rows; the race tries a quarter first
WORTH_A_RUNG_S = 15.0  # a fit that takes less is not tried on a quarter first
FEWEST_LABELS = 80
RESERVED = 0.35  # of the time at the start of a race: to finish who is kept, and for the finalists' refit and test
PROMPT_S = 3.0  # that a prompt takes before its first answer once weights are loaded: examples, calibration


class LiveArena:
    """Lines of a study as arms. Estimates are corrected by what the same kind of model has taken so far.

    A trainable line that is dear has a second arm, fitted on a quarter of its train rows, by which it is judged first.
    Money counts by how scarce it is: what takes a tenth of the dollars left costs a tenth of the seconds left, at least.
    """

    def __init__(self, bench: Bench, lines: Sequence[Line], loaded: Any, spare_s: Any) -> None:
        self.bench, self.spare_s = bench, spare_s
        self.reserved_s = RESERVED * max(0.0, bench.deadline - time.monotonic())
        low, high = bench.metric.bounds
        self.span = high - low
        self.slowness = slowness() if any(line.model in ("causal", "embedder") for line in lines) else 1.0
        self.is_exchangeable = not not_exchangeable(bench)
        self.order = [id_ for fold in bench.split.folds for id_ in _ordered(bench, fold.validation)]
        self.rows = len(self.order)
        self.lines: list[Line] = []
        self.ended: set[str] = set()
        self.failed_arms: set[int] = set()
        self.pace: dict[str, list[float]] = {}
        self.price: dict[str, list[float]] = {}
        self.actions: list[dict[str, Any]] = []
        self.money = self._usd_left()
        self.reserved_usd = RESERVED * self.money if self.money < float("inf") else 0.0
        arms: list[Arm] = []
        for line in lines:
            for one in self._arms_of(line, loaded):
                arms.append(one)
                self.lines.append(line)
        self.arms: Sequence[Arm] = tuple(arms)
        self._scores: dict[int, Any] = {}
        self._stale: set[int] = set()  # arms that have answered since their scores were read

    def left(self) -> float:
        """Return the seconds that may still be spent before the finalists' test."""
        return max(0.0, self.bench.deadline - time.monotonic() - max(self.reserved_s, float(self.spare_s())))

    def cost(self, arm: int, upto: int) -> float:
        """Estimate what having an arm's first `upto` rows answered costs, fits of further folds included; see Arena."""
        if self.lines[arm].name in self.ended or arm in self.failed_arms:
            return float("inf")
        seconds, usd = self.bill(arm, upto)
        if usd <= 0:
            return seconds
        money = self.money - self.reserved_usd
        return max(seconds, self.left() * usd / money) if money > 0 else float("inf")

    def bill(self, arm: int, upto: int) -> tuple[float, float]:
        """Estimate seconds and US dollars of having an arm's first `upto` rows answered."""
        one, done = self.arms[arm], len(self.scores(arm))
        share = (self._folds(upto) - (self._folds(done) if done else 0)) / len(self.bench.split.folds)
        rows = max(0, upto - done)
        pace, price = _corrected(self._seen(self.pace, arm)), _corrected(self._seen(self.price, arm))
        fit_s = one.fit_s - self._stepped(arm)
        return pace * (share * fit_s + rows * one.row_s), price * (share * one.fit_usd + rows * one.row_usd)

    def _stepped(self, arm: int) -> float:
        """Return the seconds of a full fit that it finds done: it goes on from the arm before it, on a quarter of the labels."""
        if self.arms[arm].rung != TOP or not step_of(self.bench, self.lines[arm]):
            return 0.0
        low = next((i for i, one in enumerate(self.arms) if one.line == self.arms[arm].line and one.rung == LOW), None)
        if low is None or not len(self.scores(low)):
            return 0.0
        return max(0.0, self.arms[low].fit_s - START_S.get(self.lines[arm].model, 1.0))

    def read(self, arm: int, upto: int) -> bool:
        """Fit and answer; False once the budget has ended. A line that cannot go on costs infinitely much from then on."""
        line, done, began = self.lines[arm], len(self.scores(arm)), time.monotonic()
        expected, before, spared = self.bill(arm, upto), self._spent(line), spared_seconds(self.bench, line.name)
        work = self._full if self.arms[arm].rung in (0, TOP) else self._low
        is_low, well = self.arms[arm].rung == LOW, guarded(self.bench, line, lambda: work(arm, upto))
        self._stale.add(arm)
        if not well and is_low:  # a quarter of the rows may be too few where all of them are enough
            self.failed_arms.add(arm)
        elif not well:
            self.ended.add(line.name)
        taken = time.monotonic() - began, *(now - then for now, then in zip(self._spent(line), before, strict=True))
        if well and not (is_low and done):  # its further rows are asked for answers alone, which the way itself is not
            own = taken[0] + spared_seconds(self.bench, line.name) - spared, *taken[1:]  # the next one trains by itself
            for book, one, wanted in zip((self.pace, self.price), own, expected, strict=False):
                if 0 < wanted < float("inf"):
                    seen = self._seen(book, arm)
                    seen.append(one * _corrected(seen) / wanted)
        self.money = self._usd_left()
        self._write_down(arm, (done, upto), expected, taken)
        self._tell(arm)
        return self.left() > 0

    def scores(self, arm: int) -> Any:
        """Return float64 scores between 0 and 1 of the rows answered so far, in the shared order up to the first gap."""
        import numpy as np

        if self.lines[arm].name in self.ended:  # what broke off is nobody's rival
            return np.zeros(0)
        if arm not in self._scores or arm in self._stale:
            metric, low, high = self.bench.metric, *self.bench.metric.bounds
            known = self.bench.ledger.scores(self.lines[arm].name, self._part(arm))
            found = list(self._scores.get(arm, ()))  # what was answered stays so
            for id_ in self.order[len(found) :]:
                if id_ not in known:
                    break
                found.append((worth(metric, known[id_]) - low) / (high - low))
            self._scores[arm] = np.array(found, dtype=float)
            self._stale.discard(arm)
        return self._scores[arm]

    def _arms_of(self, line: Line, loaded: Any) -> list[Arm]:
        split, rows = self.bench.split, loaded.examples
        whole = estimate(self.bench.task, rows, split, line, loaded.settings)
        first = estimate(self.bench.task, rows, replace(split, validation=()), line, loaded.settings)
        fit, count = first.seconds, max(1, self.rows)
        row, row_usd = max(0.0, whole.seconds - fit) / count, max(0.0, whole.usd - first.usd) / count
        if line.model == "causal" and not line.strategy.trains and not _searches(line):
            begin = START_S[line.model] + here(PROMPT_S)
            fit = min(fit, begin)  # the rest of its estimate is other forms of the prompt, which come last
        labels = len(split.folds[0].train) + len(split.folds[0].dev)
        top = Arm(line.name, line.name, labels, fit, row, fit_usd=first.usd, row_usd=row_usd)
        if line.way not in LEARNING:
            return [top]
        top = replace(top, rung=TOP, rungs=RUNGS)
        start = START_S.get(line.model, 1.0)
        if len(split.folds) > 1 or labels < FEWEST_LABELS or fit < WORTH_A_RUNG_S or not line.is_local:
            return [top]
        low = Arm(f"{line.name} on a quarter", line.name, labels // PART, start + (fit - start) / PART, row, LOW, RUNGS)
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
            which = f"fold-{number}"
            predict_blocks(self.bench, line, solution, rows[:wanted], "validation", self.spare_s(), which)
            if isinstance(solution, Prompted):  # it may be dropped after this
                answered = self.bench.ledger.predictions(line.name, "validation")
                known = [answered[row.id][1] for row in rows if row.id in answered]
                keep_version(self.bench, line, solution, known)
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

    def _seen(self, book: dict[str, list[float]], arm: int) -> list[float]:
        """Return what actions of this way have taken, of what was estimated for them at first."""
        return book.setdefault(self.lines[arm].way, [])

    def _usd_left(self) -> float:
        cap = self.bench.ledger.usd_cap
        return cap - sum(spend.usd for *_, spend in self.bench.ledger.spends()) if cap < float("inf") else cap

    def _spent(self, line: Line) -> tuple[float, int]:
        """Return dollars and tokens of a line so far."""
        own = [spend for trial, *_, spend in self.bench.ledger.spends() if trial == line.name]
        return sum(one.usd for one in own), sum(one.tokens_in + one.tokens_out for one in own)

    def _write_down(self, arm: int, rows: tuple[int, int], expected: tuple[float, float], taken: Any) -> None:
        seconds, usd, tokens = taken
        told = {"arm": self.arms[arm].name, "from": rows[0], "to": rows[1], "tokens": tokens}
        told |= {"expected_s": round(expected[0], 3), "seconds": round(seconds, 3)}
        self.actions.append(told | {"expected_usd": round(expected[1], 6), "usd": round(usd, 6)})

    def _tell(self, arm: int) -> None:
        scores = self.scores(arm)
        if len(scores):
            said = f"{scores.mean():.3f} on {len(scores)} of {self.rows} rows; {self._lead()}{self._means()}"
            self.bench.say(self.arms[arm].name, Progress(said, is_news=True))

    def _lead(self) -> str:
        """Say who leads, and by how much on the rows that both have answered."""
        best: dict[str, Any] = {}
        for i, one in enumerate(self.arms):
            scores = self.scores(i)
            if len(scores) and (one.line not in best or scores.mean() > best[one.line].mean()):
                best[one.line] = scores
        first, *others = sorted(best, key=lambda name: -best[name].mean())
        if not others:
            return f"{first} leads"
        shared = min(len(best[first]), len(best[others[0]]))
        gap = best[first][:shared].mean() - best[others[0]][:shared].mean()
        ahead, behind = (first, others[0]) if gap >= 0 else (others[0], first)  # who answered fewer may seem better
        return f"{ahead} leads {behind} by {abs(gap):+.3f} on {shared} rows"

    def _means(self) -> str:
        spent = self.bench.ledger.usd_cap - self.money if self.money < float("inf") else 0.0
        return f"; {f'${spent:.2f} spent, ' if spent > 0 else ''}{self.left():.0f} s left to race"


def _corrected(seen: list[float]) -> float:
    """Return what actions take of their estimate, pulled towards 1 while little is known."""
    return (1.0 + sum(seen[-6:])) / (1 + len(seen[-6:]))


def _searches(line: Line) -> bool:
    return getattr(line.strategy, "prompts", 0) > 0


def _ordered(bench: Bench, ids: Sequence[str]) -> list[str]:
    mine = set(ids)
    return [id_ for id_ in bench.split.validation if id_ in mine]
