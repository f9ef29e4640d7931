"""A linear head over any features: logistic regression, its strength chosen by cross-validation on train."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.output import Labels
from whichway.core.task import Prediction
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json

FOLDS = 4
HEATS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)
CUTS = tuple(i / 20 for i in range(1, 15))  # thresholds for several labels per row
FEW = 1000  # rows from which one held-out quarter is enough to choose by
NARROWED = 2000  # rows up to which features that are wider than there are rows are turned into as many columns as rows
LEAST_SHARE = 1e-8  # of the largest eigenvalue: what is smaller is rounding


@dataclass(frozen=True)
class LinearHead:
    """Weights [labels, width] and intercepts [labels]; probabilities by softmax, for several labels by sigmoid.

    Of several labels those at `threshold` or above are answered, and never fewer than `least`, the likeliest. `merit` tells
    how many rows of train were right when they were held out (of several labels, their F1 times rows); it is not saved.
    """

    labels: tuple[str, ...]
    multi: bool
    weights: Any
    intercepts: Any
    strength: float
    threshold: float = 0.5
    least: int = 0
    merit: float = 0.0

    def probabilities(self, features: Any) -> Any:
        """Return float64 [rows, labels] in the order of `labels`."""
        import numpy as np
        from scipy.special import expit, softmax

        logits = np.asarray(features @ self.weights.T, dtype=np.float64) + self.intercepts
        return expit(logits) if self.multi else softmax(logits, axis=1)

    def predict(self, features: Any) -> list[Prediction]:
        """Answer each row of features."""
        return as_predictions(self.labels, self.multi, self.probabilities(features), self.threshold, self.least)

    def save(self, folder: Path) -> None:
        """Write head.json and head.safetensors."""
        about = {name: getattr(self, name) for name in ("labels", "multi", "strength", "threshold", "least")}
        save_json(folder / "head.json", about)
        save_arrays(folder / "head.safetensors", {"weights": self.weights, "intercepts": self.intercepts})


def load_head(folder: Path) -> LinearHead:
    """Read what `LinearHead.save` wrote."""
    about, arrays = load_json(folder / "head.json"), load_arrays(folder / "head.safetensors")
    return LinearHead(
        tuple(about["labels"]),
        about["multi"],
        arrays["weights"],
        arrays["intercepts"],
        about["strength"],
        about.get("threshold", 0.5),
        about.get("least", 0),
    )


def fit_head(
    features: Any, targets: Sequence[Any], output: Labels, strengths: Sequence[float], seed: int
) -> LinearHead:
    """Fit logistic regression on features [rows, width], dense or sparse.

    `strengths` are candidate values of C; the one with the fewest errors in cross-validation is taken, and the logits
    are divided by the temperature that suits the held-out rows (Guo et al. 2017). With one candidate neither is done.
    For several labels per row the threshold with the best micro-averaged F1 on held-out rows is kept, and no row is left
    without a label where no train row is. Labels never seen in train keep a score of zero.
    """
    import numpy as np

    present = [name for name in output.names if any(name in _many(target) for target in targets)]
    table = np.array([[name in _many(target) for name in present] for target in targets], dtype=np.int64)
    codes = table if output.multi else table.argmax(axis=1)
    narrow, widened = _narrowed(features)
    alone = _Choice(strengths[0])
    best = alone if len(strengths) == 1 else _choose(narrow, codes, strengths, seed)
    weights, intercepts = (part / best.heat for part in _fit_all([(narrow, codes, best.strength)])[0])
    weights = widened(weights)
    full = np.zeros((len(output.names), weights.shape[1]), dtype=np.float32)
    offsets = np.full(len(output.names), -30.0, dtype=np.float64)
    where = [output.names.index(name) for name in present]
    full[where], offsets[where] = weights, intercepts
    least = int(output.multi and bool(table.any(axis=1).all()))
    return LinearHead(output.names, output.multi, full, offsets, float(best.strength), best.cut, least, best.merit)


def as_predictions(
    labels: Sequence[str], multi: bool, table: Any, threshold: float = 0.5, least: int = 0
) -> list[Prediction]:
    """Turn probabilities [rows, labels] into predictions; of several labels, see `LinearHead`."""
    found = []
    for row in table:
        scores = {name: round(float(p), 6) for name, p in zip(labels, row, strict=True)}
        if multi:
            top = sorted(scores, key=lambda name: -scores[name])[:least]
            value: Any = tuple(sorted({*top, *(name for name, p in scores.items() if p >= threshold)}))
            confidence = float(min(p if name in value else 1 - p for name, p in scores.items()))
        else:
            value = labels[int(row.argmax())]
            confidence = float(row.max())
        found.append(Prediction(value, round(confidence, 6), scores))
    return found


def _many(target: Any) -> tuple[str, ...]:
    return (target,) if isinstance(target, str) else tuple(target)


@dataclass(frozen=True)
class _Choice:
    """A strength, the temperature that suits it, a threshold, and how many held-out rows were right with it."""

    strength: float
    heat: float = 1.0
    cut: float = 0.5
    merit: float = 0.0


def _choose(features: Any, codes: Any, strengths: Sequence[float], seed: int) -> _Choice:
    """Return the strength with the fewest errors on held-out folds of train, and what goes with it.

    For several labels per row errors are counted by F1: where labels are rare, no answer at all has few errors.
    """
    import numpy as np

    merits = np.zeros(len(strengths))
    logits: list[list[Any]] = [[] for _ in strengths]
    folds = _folds(codes, seed)
    if codes.ndim == 1 and any(len(np.unique(codes[learn])) <= codes.max() for learn, _ in folds):
        return _Choice(strengths[len(strengths) // 2])  # a fold lost a label: too few rows to choose by
    jobs = [(features[learn], codes[learn], one) for learn, _ in folds for one in strengths]
    fits = iter(_fit_all(jobs))
    for _, check in folds:
        for i in range(len(strengths)):
            weights, intercepts = next(fits)
            logits[i].append(features[check] @ weights.T + intercepts)
            merits[i] += _merit(logits[i][-1], codes[check])
    checked = [codes[check] for _, check in folds]
    best = int(merits.argmax())
    held, right = np.concatenate(logits[best]), np.concatenate(checked)
    heat = max(HEATS, key=lambda one: _likelihood(held / one, right))
    cut = _cut(held / heat, right)[1] if codes.ndim == 2 else 0.5
    return _Choice(strengths[best], heat, cut, float(merits[best]))


def _cut(logits: Any, codes: Any) -> tuple[float, float]:
    """Return the best micro-averaged F1 of several labels per row, and the threshold that gives it."""
    from scipy.special import expit

    chances = expit(logits)
    found = []
    for threshold in CUTS:
        said = chances >= threshold
        found.append((2 * float((said & (codes == 1)).sum()) / max(1.0, float(said.sum() + codes.sum())), threshold))
    return max(found, key=lambda one: (one[0], -abs(one[1] - 0.5)))


def _folds(codes: Any, seed: int) -> list[tuple[Any, Any]]:
    """Return (learn, check) row numbers: four folds of few rows, one held-out quarter of many."""
    import numpy as np
    from sklearn.model_selection import KFold, StratifiedKFold

    rare = codes.sum(0).min() if codes.ndim == 2 else np.bincount(codes).min()
    folds = min(FOLDS, len(codes))
    cutter = KFold if codes.ndim == 2 or rare < folds else StratifiedKFold
    cuts = list(cutter(folds, shuffle=True, random_state=seed).split(np.zeros(len(codes)), codes))
    return cuts if len(codes) < FEW else cuts[:1]


def _merit(logits: Any, codes: Any) -> float:
    """Return right answers plus a hundredth of the log-likelihood, which breaks near-ties."""
    hits = len(codes) * _cut(logits, codes)[0] if codes.ndim == 2 else float((logits.argmax(1) == codes).sum())
    return hits + 0.01 * _likelihood(logits, codes)


def _likelihood(logits: Any, codes: Any) -> float:
    """Return the log-likelihood of the right labels, for several labels summed over all of them."""
    import numpy as np
    from scipy.special import log_expit, log_softmax

    if codes.ndim == 2:
        return float(np.where(codes == 1, log_expit(logits), log_expit(-logits)).sum())
    return float(log_softmax(logits, axis=1)[np.arange(len(codes)), codes].sum())


def _narrowed(features: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return features float32 [rows, at most rows] with the same products of rows, and what turns weights over them back.

    The weights of largest posterior lie in the span of the rows (representer theorem, Kimeldorf and Wahba 1971), so that turning
    the axes into it changes nothing but the time. Features that are no wider than that are returned as they are.
    """
    import numpy as np

    rows, width = features.shape
    if width <= rows or rows > NARROWED:
        return features, lambda weights: weights
    inner = features @ features.T
    values, axes = np.linalg.eigh(np.asarray(inner.toarray() if hasattr(inner, "toarray") else inner, dtype=np.float64))
    is_kept = values > LEAST_SHARE * max(values.max(), 1e-30)
    lengths, axes = np.sqrt(values[is_kept]), axes[:, is_kept]

    def widened(weights: Any) -> Any:
        return np.asarray((weights / lengths) @ axes.T @ features, dtype=np.float32)

    return (axes * lengths).astype(np.float32), widened


def _fit_all(jobs: Sequence[tuple[Any, Any, float]]) -> list[tuple[Any, Any]]:
    """Return `_fit` of each of (features, codes, strength), side by side, with one thread of the algebra library each.

    Products this small take it several times as long in two threads, which wait for each other (docs/log.md).
    """
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged after 400 steps is good enough here
        with ThreadPoolExecutor(min(cores, len(jobs))) as pool:
            return list(pool.map(lambda job: _fit(*job), jobs))


def _fit(features: Any, codes: Any, strength: float) -> tuple[Any, Any]:
    """Return (weights, intercepts) with one row per label, for two labels as well."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    how = {"C": strength, "max_iter": 400}
    if codes.ndim == 2:
        columns = [_binary(features, codes[:, i], how) for i in range(codes.shape[1])]
        return np.stack([one[0] for one in columns]), np.array([one[1] for one in columns])
    if codes.max() == codes.min():  # one label alone: all rows, or all that a fold was left with
        only = np.full(codes.max() + 1, -30.0)
        only[-1] = 0.0
        return np.zeros((len(only), features.shape[1]), dtype=np.float32), only
    model = LogisticRegression(**how).fit(features, codes)
    weights, intercepts = model.coef_, model.intercept_
    if len(weights) == 1 and codes.max() == 1:
        weights, intercepts = np.concatenate([-weights / 2, weights / 2]), np.append(-intercepts / 2, intercepts / 2)
    return weights.astype(np.float32), intercepts


def _binary(features: Any, column: Any, how: dict[str, Any]) -> tuple[Any, float]:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    if column.min() == column.max():
        return np.zeros(features.shape[1], dtype=np.float32), 30.0 if column.max() else -30.0
    model = LogisticRegression(**how).fit(features, column)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])
