"""What metrics share: from scores of rows and an index [resamples, rows] to one number per resample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def once(metric: Any, scores: Sequence[Any]) -> float:
    """Aggregate the rows as they are, through the metric's own `resample`; no rows have no score."""
    if not scores:
        return float("nan")
    return float(metric.resample(scores, np.arange(len(scores))[None])[0])


def means(scores: Sequence[Any], index: Any) -> Any:
    """Return the mean score of each resample."""
    return np.asarray(scores, dtype=np.float64)[index].mean(axis=1)


def ratios(scores: Any, index: Any, factor: float = 1.0) -> Any:
    """Return factor · sum of first / sum of second for rows of two numbers; 0 where there is nothing to divide by."""
    sums = np.asarray(scores, dtype=np.float64).reshape(-1, 2)[index].sum(axis=1)
    return np.divide(factor * sums[:, 0], sums[:, 1], out=np.zeros(len(index)), where=sums[:, 1] > 0)
