"""A linear head over any features: logistic regression, its strength chosen by cross-validation on train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.output import Labels
from whichway.core.task import Prediction
from whichway.strategies.parts.logistic import fit_all, narrowed
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json

FOLDS = 4
HEATS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0)
CUTS = tuple(i / 20 for i in range(1, 15))  # thresholds for several labels per row
FEW = 1000  # rows from which one held-out quarter is enough to choose by


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
    narrow, widened = narrowed(features, len(present))
    alone = _Choice(strengths[0])
    best = alone if len(strengths) == 1 else _choose(narrow, codes, strengths, seed)
    weights, intercepts = (part / best.heat for part in fit_all([(narrow, codes, best.strength)])[0])
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
    parts = [(features[learn], codes[learn]) for learn, _ in folds]  # once for all strengths
    fits = iter(fit_all([(*part, strength) for part in parts for strength in strengths]))
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
