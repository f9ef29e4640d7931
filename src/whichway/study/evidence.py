"""Scores with intervals, paired differences, joint samples: every number with its n (methods.md §2, §5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whichway.core.task import Metric

LEVEL = 0.95
RESAMPLES = 2000
MOST_JACKKNIFED = 600  # rows up to which BCa's acceleration is computed; beyond it is close to zero
FEW_DISCORDANT = 25
FEW_TIMED = 20  # single answers below which a log-normal stands in for their tail


@dataclass(frozen=True)
class Interval:
    """A value with its two-sided interval and the number of rows behind it."""

    value: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, Any]:
        """Return plain data, rounded to six digits."""
        return {"value": _round(self.value), "low": _round(self.low), "high": _round(self.high), "n": self.n}


def score_interval(
    metric: Metric, scores: Sequence[Any], groups: Sequence[str | None] = (), level: float = LEVEL, seed: int = 0
) -> Interval:
    """Return a score with its interval.

    Right-or-wrong scores: Clopper-Pearson (exact). Other means and metrics that are no means: BCa bootstrap
    (Efron 1987). Rows of one group are resampled together.
    """
    n, value = len(scores), metric.aggregate(scores)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    clustered = any(group is not None for group in groups)
    if is_exact(metric, scores, groups):
        return Interval(value, *clopper_pearson(int(sum(scores)), n, level), n)
    index = _resamples(n, groups if clustered else (), seed)
    draws = _resample(metric, scores, index)
    low, high = _bca(metric, scores, draws, value, level)
    low_bound, high_bound = metric.bounds
    return Interval(value, max(low, low_bound), min(high, high_bound), n)


def is_exact(metric: Metric, scores: Sequence[Any], groups: Sequence[str | None] = ()) -> bool:
    """Tell whether a score's interval is exact: rows are right or wrong, and stand alone."""
    if not metric.is_mean or metric.bounds != (0.0, 1.0) or any(group is not None for group in groups):
        return False
    return set(scores) <= {0.0, 1.0}


def clopper_pearson(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a proportion (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high


def paired_difference(
    metric: Metric, a: Sequence[Any], b: Sequence[Any], groups: Sequence[str | None] = (), seed: int = 0
) -> Interval:
    """Return score(a) - score(b) on the same rows with a 95 % interval; see paired_differences."""
    return paired_differences(metric, {"a": a, "b": b}, groups, seed)[("a", "b")]


def paired_differences(
    metric: Metric, scores: Mapping[str, Sequence[Any]], groups: Sequence[str | None] = (), seed: int = 0
) -> dict[tuple[str, str], Interval]:
    """Return the difference of every pair (a, b), a before b in the given order, on the same rows, with 95 % intervals.

    Right-or-wrong scores with fewer than 25 discordant rows: posterior of the 2x2 table under a Dirichlet(1/2) prior;
    else the paired bootstrap, by group where there are groups.
    """
    names = list(scores)
    n = len(scores[names[0]]) if names else 0
    if n == 0:
        nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
        return {(a, b): nothing for i, a in enumerate(names) for b in names[i + 1 :]}
    clustered = any(group is not None for group in groups)
    index = _resamples(n, groups if clustered else (), seed)
    draws = {name: _resample(metric, scores[name], index) for name in names}
    values = {name: metric.aggregate(scores[name]) for name in names}
    found = {}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            table = None if clustered else _two_by_two(metric, scores[a], scores[b], seed)
            gaps = draws[a] - draws[b] if table is None else table
            low, high = np.quantile(gaps, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            found[(a, b)] = Interval(values[a] - values[b], float(low), float(high), n)
    return found


def _two_by_two(metric: Metric, a: Sequence[Any], b: Sequence[Any], seed: int) -> Any | None:
    """Return posterior draws of the difference where few rows tell two right-or-wrong strategies apart, else None."""
    if not (metric.is_mean and set(a) <= {0.0, 1.0} and set(b) <= {0.0, 1.0}):
        return None
    wins = sum(x > y for x, y in zip(a, b, strict=True))
    losses = sum(x < y for x, y in zip(a, b, strict=True))
    if wins + losses >= FEW_DISCORDANT:
        return None
    table = np.random.default_rng(seed).dirichlet([wins + 0.5, losses + 0.5, len(a) - wins - losses + 0.5], 20_000)
    return table[:, 0] - table[:, 1]


def joint_samples(
    metric: Metric, scores: Mapping[str, Sequence[Any]], groups: Sequence[str | None] = (), seed: int = 0
) -> dict[str, Any]:
    """Return float64 [2000] posterior samples of each strategy's score, drawn together so that pairing is kept.

    The samples are those of the bootstrap, an approximation to the posterior under a flat prior (Rubin 1981). A
    strategy that is always right (or wrong) would have no spread: each sample of a mean is mixed with one imagined row.
    """
    names = list(scores)
    n = len(scores[names[0]]) if names else 0
    index = _resamples(n, groups if any(group is not None for group in groups) else (), seed)
    imagined = np.random.default_rng(seed + 1).uniform(*metric.bounds, size=len(index))
    found = {}
    for name in names:
        draws = _resample(metric, scores[name], index)
        found[name] = (n * draws + imagined) / (n + 1) if metric.is_mean else draws
    return found


def mean_samples(values: Sequence[float], seed: Any) -> Any:
    """Return float64 [2000] bootstrap samples of a mean, relative to the mean itself; ones where that is nothing."""
    known, rng = np.asarray(values, dtype=float), np.random.default_rng(seed)
    mean = float(known.mean())
    index = rng.integers(0, len(known), size=(RESAMPLES, len(known)))
    return known[index].mean(axis=1) / mean if mean > 0 else np.ones(RESAMPLES)


def latency_samples(singles_ms: Sequence[float], seed: Any, usd: Sequence[float] = ()) -> tuple[Any, Any]:
    """Return float64 [2000] samples of the 95 % quantile, and of the mean time (or money, where given) relative to its value.

    Both come from the same resample of rows. Fewer than 20 rows say little about a tail: there the times are taken to be
    log-normal, with the posterior of its two parameters under the usual flat prior.
    """
    times, rng = np.asarray(singles_ms, dtype=float), np.random.default_rng(seed)
    n = len(times)
    if n < FEW_TIMED and not (usd and n > 1):
        return _lognormal(times, rng)
    index = rng.integers(0, n, size=(RESAMPLES, n))
    counted = np.asarray(usd, dtype=float) if len(usd) else times
    mean = float(counted.mean())
    pace = counted[index].mean(axis=1) / mean if mean > 0 else np.ones(RESAMPLES)
    return np.quantile(times[index], 0.95, axis=1), pace


def _lognormal(times: Any, rng: Any) -> tuple[Any, Any]:
    n = len(times)
    if n < 2:
        return np.full(RESAMPLES, float(times[0])), np.ones(RESAMPLES)
    logs = np.log(np.maximum(times, 1e-6))
    spread = np.sqrt((n - 1) * logs.var(ddof=1) / rng.chisquare(n - 1, RESAMPLES))
    middle = logs.mean() + spread * rng.normal(size=RESAMPLES) / math.sqrt(n)
    return np.exp(middle + 1.645 * spread), np.exp(middle) / math.exp(float(logs.mean()))


def smallest_detectable(n: int, discordant: float = 0.15, power: float = 0.8) -> float:
    """Return the difference of two paired proportions that n rows show with this power at 5 % (Connor 1987).

    `discordant` is the share of rows on which just one of the two is right.
    """
    from scipy.stats import norm

    a, b = norm.ppf(0.975), norm.ppf(power)
    return float((a + b) * math.sqrt(discordant / max(1, n)))


def calibration(
    confidences: Sequence[float], right: Sequence[float], bins: int = 10
) -> tuple[float, list[dict[str, Any]]]:
    """Return the expected calibration error over equal-width bins (Naeini et al. 2015), and the bins that hold rows."""
    sure, hit = np.asarray(confidences, dtype=float), np.asarray(right, dtype=float)
    if not len(sure):
        return float("nan"), []
    place = np.minimum((sure * bins).astype(int), bins - 1)
    error, found = 0.0, []
    for number in range(bins):
        inside = place == number
        if inside.any():
            mean, share = float(sure[inside].mean()), float(hit[inside].mean())
            error += inside.mean() * abs(mean - share)
            found.append(
                {
                    "low": number / bins,
                    "high": (number + 1) / bins,
                    "n": int(inside.sum()),
                    "confidence": _round(mean),
                    "accuracy": _round(share),
                }
            )
    return float(error), found


def _resamples(n: int, groups: Sequence[str | None], seed: int) -> Any:
    """Return row numbers [2000, n]; whole groups are drawn, cut or filled up to n rows."""
    rng = np.random.default_rng(seed)
    if not groups:
        return rng.integers(0, n, size=(RESAMPLES, n))
    members: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group if group is not None else f"\x00{i}", []).append(i)
    blocks = list(members.values())
    index = np.empty((RESAMPLES, n), dtype=np.int64)
    for row in index:
        drawn: list[int] = []
        while len(drawn) < n:
            drawn += blocks[int(rng.integers(len(blocks)))]
        row[:] = drawn[:n]
    return index


def _resample(metric: Any, scores: Sequence[Any], index: Any) -> Any:
    """Aggregate many resamples, at once where the metric can, in slices that keep memory small."""
    if not hasattr(metric, "resample"):
        return np.array([metric.aggregate([scores[i] for i in row]) for row in index])
    size = max(1, 4_000_000 // max(1, index.shape[1]))
    parts = [metric.resample(scores, index[start : start + size]) for start in range(0, len(index), size)]
    return np.concatenate(parts)


def _bca(metric: Metric, scores: Sequence[Any], draws: Any, value: float, level: float) -> tuple[float, float]:
    """Return the bias-corrected and accelerated interval; plain quantiles where the correction is not defined."""
    from scipy.stats import norm

    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    below = float(((draws < value).mean() + (draws <= value).mean()) / 2)
    n = len(scores)
    if not 0 < below < 1:
        return float(np.quantile(draws, tails[0])), float(np.quantile(draws, tails[1]))
    shift, pull = norm.ppf(below), 0.0
    if n <= MOST_JACKKNIFED:
        without = np.array([[j for j in range(n) if j != i] for i in range(n)])
        left_out = _resample(metric, scores, without)
        spread = left_out.mean() - left_out
        scale = 6 * (spread**2).sum() ** 1.5
        pull = float((spread**3).sum() / scale) if scale > 0 else 0.0
    z = shift + norm.ppf(tails)
    low, high = np.quantile(draws, norm.cdf(shift + z / (1 - pull * z)))
    return float(low), float(high)


def _round(value: float) -> float:
    return round(float(value), 6)
