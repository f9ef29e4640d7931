"""Gradient-boosted trees kept as plain arrays, so that they can be saved without pickle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.task import Prediction
from whichway.strategies.parts.linear import as_predictions
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json

ROUNDS, RATE, DEPTH = 120, 0.1, 3


@dataclass(frozen=True)
class TreesHead:
    """All trees' nodes end to end; `starts` [rounds, columns] is where each begins; leaves have no left child (-1)."""

    labels: tuple[str, ...]
    present: tuple[int, ...]
    left: Any
    right: Any
    feature: Any
    threshold: Any
    value: Any
    starts: Any

    def probabilities(self, features: Any) -> Any:
        """Return float64 [rows, labels]."""
        import numpy as np
        from scipy.special import softmax

        rows = np.asarray(features, dtype=np.float32)
        raw = np.zeros((len(rows), self.starts.shape[1]))
        for round_ in self.starts:
            for column, start in enumerate(round_):
                raw[:, column] += RATE * self.value[self._leaves(rows, int(start))]
        if raw.shape[1] == 1:
            raw = np.hstack([np.zeros((len(rows), 1)), raw])
        table = np.zeros((len(rows), len(self.labels)))
        table[:, list(self.present)] = softmax(raw, axis=1)
        return table

    def predict(self, features: Any) -> list[Prediction]:
        """Answer each row of features."""
        return as_predictions(self.labels, False, self.probabilities(features))

    def save(self, folder: Path) -> None:
        """Write trees.json and trees.safetensors."""
        save_json(folder / "trees.json", {"labels": self.labels, "present": self.present})
        names = ("left", "right", "feature", "threshold", "value", "starts")
        save_arrays(folder / "trees.safetensors", {name: getattr(self, name) for name in names})

    def _leaves(self, rows: Any, start: int) -> Any:
        """Return the leaf that each row ends in, walking all rows down one level at a time."""
        import numpy as np

        at = np.full(len(rows), start)
        for _ in range(DEPTH):
            inner = self.left[at] >= 0
            goes_left = rows[np.arange(len(rows)), np.where(inner, self.feature[at], 0)] <= self.threshold[at]
            at = np.where(inner, np.where(goes_left, self.left[at], self.right[at]), at)
        return at


def load_trees(folder: Path) -> TreesHead:
    """Read what `TreesHead.save` wrote."""
    about = load_json(folder / "trees.json")
    return TreesHead(tuple(about["labels"]), tuple(about["present"]), **load_arrays(folder / "trees.safetensors"))


def fit_trees(features: Any, targets: Sequence[str], labels: tuple[str, ...], seed: int) -> TreesHead:
    """Fit scikit-learn's gradient boosting on dense features [rows, width], and take its trees out."""
    import numpy as np
    from sklearn.ensemble import GradientBoostingClassifier

    present = [i for i, name in enumerate(labels) if name in set(targets)]
    codes = np.array([present.index(labels.index(target)) for target in targets])
    model = GradientBoostingClassifier(
        init="zero", n_estimators=ROUNDS, learning_rate=RATE, max_depth=DEPTH, subsample=0.8, random_state=seed
    ).fit(np.asarray(features, dtype=np.float32), codes)
    parts: dict[str, list[Any]] = {name: [] for name in ("left", "right", "feature", "threshold", "value")}
    starts, at = np.zeros(model.estimators_.shape, dtype=np.int64), 0
    for place, tree in np.ndenumerate(model.estimators_):
        nodes = tree.tree_
        starts[place] = at
        for name, child in (("left", nodes.children_left), ("right", nodes.children_right)):
            parts[name].append(np.where(child >= 0, child + at, -1))
        parts["feature"].append(nodes.feature)
        parts["threshold"].append(nodes.threshold)
        parts["value"].append(nodes.value[:, 0, 0])
        at += nodes.node_count
    arrays = {name: np.concatenate(found) for name, found in parts.items()}
    return TreesHead(labels, tuple(present), starts=starts, **arrays)
