"""Label curves: what a strategy would score with more labels, with bands, and from how many labels on it beats another one."""

# Two families are averaged, because a power law alone covered 50 % at nominal 95 % on fine-tuning curves (methods.md §3): a
# power law that levels off, and a logistic curve in log n, which knows late bloomers. Their parameters are drawn from wide
# priors and weighted by how well they pass the measured rungs; bands are then widened by what they missed on other data sets.

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DRAWS = 20_000  # of each family
DISCREPANCY = 0.02  # how far a true curve may pass from its family
HORIZON = 4.0  # times the largest n measured: forecasts end here, as the guard was fitted no farther (methods.md §3.4)
LEAST_ERROR = 0.005  # of a measured point
LEAST_GAIN = 0.0005  # of score: less is shown as nothing, and has no price per point
GUARD = 1.53  # factor on bands: conformal, from 554 forecasts on 22 data sets (bench/replay/forecasts.py)
KEPT = 2_000


@dataclass(frozen=True)
class Rung:
    """A measured point: the mean score of `draws` fits on `labels` train rows, its standard error from rows and draws."""

    labels: int
    score: float
    error: float
    draws: int = 1


@dataclass(frozen=True)
class BreakEven:
    """From how many labels on a line is better than its reference: median and 80 % interval; None means beyond the horizon.

    `available`: probability that the labels at hand are enough; `never`: that `horizon` labels are not.
    """

    median: int | None
    low: int | None
    high: int | None
    available: float
    never: float
    horizon: int


@dataclass(frozen=True)
class Curve:
    """Posterior draws of one line's curve: `parameters` [draws, 4] of each family, beside the measured rungs."""

    rungs: tuple[Rung, ...]
    power: Any
    logistic: Any
    guard: float = GUARD

    @property
    def largest(self) -> int:
        """The largest number of labels measured."""
        return self.rungs[-1].labels

    def values(self, labels: Any) -> Any:
        """Return float64 [draws, len(labels)] of scores, bands widened around their mean by the guard."""
        import numpy as np

        n = np.asarray(labels, dtype=float)[None]
        found = np.concatenate([_power(self.power, n), _logistic(self.logistic, n)])
        middle = found.mean(axis=0, keepdims=True)
        return np.clip(middle + self.guard * (found - middle), 0.0, 1.0)

    def band(self, labels: Any, level: float = 0.8) -> Any:
        """Return float64 [3, len(labels)]: median, low and high of the score at each number of labels."""
        import numpy as np

        return np.quantile(self.values(labels), [0.5, (1 - level) / 2, (1 + level) / 2], axis=0)


def fit_curve(rungs: Sequence[Rung], chance: float = 0.0, seed: int = 0, guard: float = GUARD) -> Curve:
    """Fit both families to measured rungs by importance sampling; `chance` is what guessing scores.

    Raises ValueError without a rung.
    """
    import numpy as np

    if not rungs:
        raise ValueError("a curve needs at least one measured rung")
    ordered = tuple(sorted(rungs, key=lambda one: one.labels))
    rng = np.random.default_rng(seed)
    first, last = math.log(ordered[0].labels), math.log(ordered[-1].labels)
    top = rng.uniform(chance, 1.0, DRAWS)
    start = chance + (top - chance) * rng.uniform(0.0, 1.0, DRAWS)
    rate = np.exp(rng.uniform(math.log(0.05), math.log(2.0), DRAWS))
    power = np.stack([top, start, rate, np.full(DRAWS, float(ordered[0].labels))], axis=1)
    middle = rng.uniform(first - 4.0, last + 5.0, DRAWS)
    steep = np.exp(rng.uniform(math.log(0.25), math.log(4.0), DRAWS))
    logistic = np.stack([rng.uniform(chance, 1.0, DRAWS), np.full(DRAWS, chance), steep, middle], axis=1)
    return Curve(ordered, _kept(power, _power, ordered, rng), _kept(logistic, _logistic, ordered, rng), guard)


def told_curve(said: Mapping[str, Any]) -> Curve:
    """Return the curve of one way as report.json tells of it: the same rungs, chance level and seed foretell the same."""
    points = [
        Rung(one["labels"], one["value"], max(LEAST_ERROR, (one["high"] - one["low"]) / (2 * 1.96)))
        for one in said["rungs"]
    ]
    return fit_curve(points, said.get("chance") or 0.0, said.get("seed") or 0)


def break_even(curve: Curve, reference: Any, available: int) -> BreakEven:
    """Return from how many labels on the curve passes a reference: float64 [draws] of its score (one number: no doubt)."""
    import numpy as np

    grid = np.geomspace(max(2, curve.rungs[0].labels / 4), curve.largest * HORIZON, 120)
    values = curve.values(grid)
    rng = np.random.default_rng(0)
    wanted = rng.choice(np.atleast_1d(np.asarray(reference, dtype=float)), len(values))[:, None]
    passed = values >= wanted
    first = np.where(passed.any(axis=1), grid[passed.argmax(axis=1)], np.inf)
    low, median, high = np.quantile(first, [0.1, 0.5, 0.9], method="nearest")
    return BreakEven(
        median=_whole(median),
        low=_whole(low),
        high=_whole(high),
        available=float((first <= available).mean()),
        never=float(np.isinf(first).mean()),
        horizon=int(grid[-1]),
    )


def _whole(labels: float) -> int | None:
    return None if math.isinf(labels) else math.ceil(labels)


def gain(curve: Curve, more: int, level: float = 0.8) -> tuple[float, float, float]:
    """Return what `more` labels beside the largest rung would bring: median and interval of the change in score."""
    import numpy as np

    values = curve.values([curve.largest, curve.largest + more])
    change = values[:, 1] - values[:, 0]
    middle, low, high = np.quantile(change, [0.5, (1 - level) / 2, (1 + level) / 2])
    return float(middle), float(low), float(high)


def priced_gain(curve: Curve, more: int, label_usd: float) -> dict[str, Any]:
    """Return as plain data what `more` labels would bring, what they cost, and US dollars per point (0.01) of score gained.

    `usd` is None where a label has no price; `usd_per_point` is None there, and where no gain is to be expected. Its high end
    is None where there may be no gain.
    """
    value, low, high = (round(one, 4) for one in gain(curve, more))
    usd = round(more * label_usd, 2) if label_usd > 0 else None
    each = None
    if usd is not None and value >= LEAST_GAIN:
        most = round(usd / (100 * low), 4) if low >= LEAST_GAIN else None
        each = {"value": round(usd / (100 * value), 4), "low": round(usd / (100 * high), 4), "high": most}
    return {"more": more, "value": value, "low": low, "high": high, "usd": usd, "usd_per_point": each}


def _power(parameters: Any, labels: Any) -> Any:
    """a - (a - y0) (n / n0)^-g, parameters [draws, (a, y0, g, n0)]."""
    top, start, rate, first = parameters.T[:, :, None]
    return top - (top - start) * (labels / first) ** -rate


def _logistic(parameters: Any, labels: Any) -> Any:
    """c + (a - c) / (1 + exp(-k (log n - t))), parameters [draws, (a, c, k, t)]."""
    import numpy as np

    top, floor, steep, middle = parameters.T[:, :, None]
    return floor + (top - floor) / (1 + np.exp(-steep * (np.log(labels) - middle)))


def _kept(draws: Any, family: Any, rungs: Sequence[Rung], rng: Any) -> Any:
    """Return KEPT draws, chosen by how likely they make the measured scores."""
    import numpy as np

    labels = np.array([[one.labels for one in rungs]], dtype=float)
    scores = np.array([one.score for one in rungs])
    spread = np.array([math.hypot(one.error, DISCREPANCY) for one in rungs])
    off = (family(draws, labels) - scores) / spread
    weight = -0.5 * np.minimum(off**2, 60.0).sum(axis=1)
    share = np.exp(weight - weight.max())
    return draws[rng.choice(len(draws), KEPT, p=share / share.sum())]
