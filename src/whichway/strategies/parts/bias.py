"""A bias per answer and one temperature, fitted on a few labelled rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

HOLDS = (1.0, 5.0, 100.0)  # how firmly the bias is held to its start: the precision of a normal prior, per square nat
NONE_BY = (
    6.0  # nats in all by which rows left out must like no leaning at all better than the one that is usually found
)
FOLDS = 5
HOTTEST = 2.0  # in nats: the temperature stays between exp(-2) and exp(2)
STEPS = 100


@dataclass(frozen=True)
class Fitted:
    """`bias` per answer, in nats, and `heat`; `left_out` are probabilities [rows, answers] by the rows of other folds alone."""

    bias: tuple[float, ...]
    heat: float
    left_out: Any


def fit_bias(table: Any, right: Sequence[int], lean: Callable[[Any], Any]) -> Fitted:
    """Return the bias per answer and the temperature under which the right answers are likeliest.

    `table` are log-likelihoods [rows, answers], `right` the number of the right answer of each row. The probability of an
    answer is softmax((log p - bias) / heat): logistic scaling with a bias per class and one slope (after "vector scaling",
    Guo et al. 2017). Few rows cannot bear a free bias each, so that it is held by a normal prior to `lean` of the rows'
    log-probabilities, or to none where rows left out are clearly likelier so: of many labels few rows tell no leaning. How
    firmly is chosen by rows left out, too. Measured in docs/log.md.
    """
    import numpy as np
    from scipy.special import log_softmax

    x, y = log_softmax(np.asarray(table, dtype=float), axis=1), np.asarray(right)
    fold, rows = np.arange(len(y)) % FOLDS, np.arange(len(y))

    def leaning(some: Any, leans: bool) -> Any:
        return np.asarray(lean(some), dtype=float) if leans and len(some) else np.zeros(x.shape[1])

    def left_out(hold: float, leans: bool) -> Any:
        told = np.zeros_like(x)
        for one in np.unique(fold):
            out = fold == one
            bias, slope = _fit(x[~out], y[~out], leaning(x[~out], leans), hold)
            told[out] = log_softmax((x[out] - bias) * slope, axis=1)
        return told

    tried = [(hold, leans, left_out(hold, leans)) for leans in (True, False) for hold in HOLDS]
    hold, leans, told = max(tried, key=lambda one: float(one[2][rows, y].sum()) - NONE_BY * (not one[1]))
    bias, slope = _fit(x, y, leaning(x, leans), hold)
    return Fitted(tuple(float(one) for one in bias - bias.mean()), float(1 / slope), np.exp(told))


def _fit(x: Any, y: Any, held: Any, hold: float) -> tuple[Any, float]:
    """Return the bias and the slope (1 / heat) of largest posterior, by L-BFGS; the logarithm of the slope is N(0, 1)."""
    import numpy as np
    from scipy.optimize import minimize

    rows = np.arange(len(y))

    def loss(at: Any) -> tuple[float, Any]:
        slope, bias = np.exp(at[0]), at[1:]
        z = (x - bias) * slope
        z -= z.max(axis=1, keepdims=True)  # moves nothing below, and no power of e is too large
        off = np.exp(z)
        whole = off.sum(axis=1, keepdims=True)
        off /= whole
        off[rows, y] -= 1
        value = np.log(whole).sum() - z[rows, y].sum() + hold / 2 * ((bias - held) ** 2).sum() + at[0] ** 2 / 2
        by_bias = -off.sum(axis=0) * slope + hold * (bias - held)
        return float(value), np.concatenate([[(off * z).sum() + at[0]], by_bias])

    bounds = [(-HOTTEST, HOTTEST), *[(None, None)] * len(held)]
    found = minimize(
        loss, np.concatenate([[0.0], held]), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
    )
    return found.x[1:], float(np.exp(found.x[0]))
