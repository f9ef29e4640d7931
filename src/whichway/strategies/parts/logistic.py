"""Logistic regression, many fits at once: side by side, and over no more columns than there are rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

NARROWED = 2000  # rows up to which features that are wider than there are rows are turned into as many columns as rows
NARROWED_TWO = 600  # the same of two labels, whose fits take less than the turning where rows are many (docs/log.md)
LEAST_SHARE = 1e-7  # of the largest eigenvalue: what is smaller is rounding
SMALL = 3e8  # rows x columns x labels up to which one thread of the algebra library is faster than two (docs/log.md)
STEPS = 400

Fit = tuple[Any, Any]  # weights [labels, width] and intercepts [labels], one row per label, for two labels as well


def narrowed(features: Any, labels: int) -> tuple[Any, Callable[[Any], Any]]:
    """Return features float32 [rows, at most rows] with the same products of rows, and what turns weights over them back.

    The weights of largest posterior lie in the span of the rows (representer theorem, Kimeldorf and Wahba 1971), so that turning
    the axes into it changes nothing but the time. Where that would be longer, features are returned as they are.
    """
    import numpy as np

    rows, width = features.shape
    if width <= rows or rows > (NARROWED if labels > 2 else NARROWED_TWO):
        return features, lambda weights: weights
    inner = features @ features.T
    values, axes = np.linalg.eigh(np.asarray(inner.toarray() if hasattr(inner, "toarray") else inner, dtype=np.float64))
    is_kept = values > LEAST_SHARE * values.max()
    if not is_kept.any():  # nothing but zeros
        return features, lambda weights: weights
    lengths, axes = np.sqrt(values[is_kept]), axes[:, is_kept]

    def widened(weights: Any) -> Any:
        return np.asarray((weights / lengths) @ axes.T @ features, dtype=np.float32)

    return (axes * lengths).astype(np.float32), widened


def fit_all(jobs: Sequence[tuple[Any, Any, float]]) -> list[Fit]:
    """Fit each (features [rows, width], codes [rows] or, for several labels per row, [rows, labels], strength C)."""
    import numpy as np

    tasks: list[Callable[[], Fit]] = []
    for features, codes, strength in jobs:
        columns = [codes] if codes.ndim == 1 else list(codes.T)
        tasks += [partial(_fit if codes.ndim == 1 else _one_against_rest, features, one, strength) for one in columns]
    sizes = [x.shape[0] * x.shape[1] * (int(codes.max()) + 1 if codes.ndim == 1 else 1) for x, codes, _ in jobs]
    found = iter(_side_by_side(tasks, max(sizes) <= SMALL))
    fits: list[Fit] = []
    for _, codes, _ in jobs:
        if codes.ndim == 1:
            fits.append(next(found))
        else:
            own = [next(found) for _ in range(codes.shape[1])]
            fits.append((np.stack([one[0] for one in own]), np.array([one[1] for one in own])))
    return fits


def _side_by_side(tasks: Sequence[Callable[[], Fit]], are_small: bool) -> list[Fit]:
    """Do all tasks, on all cores; in small products threads of the algebra library would but wait for each other.

    A single task is done in this thread, where the time budget can cut it off; of several, those that are under way are left to
    end by themselves then.
    """
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = 1 if are_small else max(1, cores // len(tasks))
    with threadpool_limits(threads, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged after all steps is good enough here
        if min(len(tasks), cores) == 1:
            return [task() for task in tasks]
        pool = ThreadPoolExecutor(min(cores, len(tasks)))
        try:
            return list(pool.map(lambda task: task(), tasks))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _fit(features: Any, codes: Any, strength: float) -> Fit:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    if codes.max() == codes.min():  # one label alone: all rows, or all that a fold was left with
        only = np.full(codes.max() + 1, -30.0)
        only[-1] = 0.0
        return np.zeros((len(only), features.shape[1]), dtype=np.float32), only
    model = LogisticRegression(C=strength, max_iter=STEPS).fit(features, codes)
    weights, intercepts = model.coef_, model.intercept_
    if len(weights) == 1 and codes.max() == 1:
        weights, intercepts = np.concatenate([-weights / 2, weights / 2]), np.append(-intercepts / 2, intercepts / 2)
    return weights.astype(np.float32), intercepts


def _one_against_rest(features: Any, column: Any, strength: float) -> Fit:
    """Return weights [width] and one intercept of a label that a row has or has not."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    if column.min() == column.max():
        return np.zeros(features.shape[1], dtype=np.float32), 30.0 if column.max() else -30.0
    model = LogisticRegression(C=strength, max_iter=STEPS).fit(features, column)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])
