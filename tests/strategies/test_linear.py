"""The linear head: a threshold of its own for several labels per row, and small data that lose a label."""

import numpy as np
import pytest

from whichway.core.output import Labels
from whichway.strategies.parts.linear import fit_head, load_head

NAMES = tuple("abcdefgh")


def _rows(count, seed=0):
    """Rare labels behind noise: each feature speaks for its label, faintly."""
    rng = np.random.default_rng(seed)
    table = rng.random((count, len(NAMES))) < 0.15
    table[~table.any(1), 0] = True
    features = table * 0.9 + rng.normal(0, 0.6, table.shape)
    return features.astype(np.float32), [tuple(n for n, on in zip(NAMES, row, strict=True) if on) for row in table]


def _f1(head, features, targets):
    said = [set(one.value) for one in head.predict(features)]
    hits = sum(len(a & set(b)) for a, b in zip(said, targets, strict=True))
    return 2 * hits / (sum(map(len, said)) + sum(map(len, targets)))


def test_rare_labels_are_answered_at_the_threshold_that_held_out_rows_choose():
    features, targets = _rows(120)
    head = fit_head(features, targets, Labels(NAMES, multi=True), (0.1, 1.0), 0)
    fixed = fit_head(features, targets, Labels(NAMES, multi=True), (0.1,), 0)
    checked = _rows(400, seed=1)
    assert head.threshold < 0.5 == fixed.threshold
    assert _f1(head, *checked) > _f1(fixed, *checked) + 0.03


def test_no_row_is_left_without_a_label_where_no_train_row_is():
    features, targets = _rows(60)
    quiet = np.zeros((5, len(NAMES)), dtype=np.float32)
    labels = Labels(NAMES, multi=True)
    assert all(len(one.value) >= 1 for one in fit_head(features, targets, labels, (1.0,), 0).predict(quiet))
    some_empty = [() if i % 2 else one for i, one in enumerate(targets)]
    assert fit_head(features, some_empty, labels, (1.0,), 0).least == 0


def test_the_threshold_is_kept_on_disk(tmp_path):
    features, targets = _rows(120)
    head = fit_head(features, targets, Labels(NAMES, multi=True), (0.1, 1.0), 0)
    head.save(tmp_path)
    again = load_head(tmp_path)
    assert (again.threshold, again.least) == (head.threshold, head.least)
    assert [one.value for one in again.predict(features)] == [one.value for one in head.predict(features)]


@pytest.mark.parametrize("rare", [1, 2])
def test_trees_are_not_compared_on_folds_that_lost_a_label(rare):
    from whichway.core.task import Example, Field, Task
    from whichway.registry import get

    rows = [Example(str(i), {"text": f"row {i}", "amount": float(i)}, "bad" if i < rare else "good") for i in range(30)]
    fields = (Field("text"), Field("amount", "number"))
    task = Task("t", "", fields, Labels(("bad", "good")), get("metric", "accuracy")())
    solution = get("strategy", "classic")().fit(task, rows, [], _kit())
    assert {one.value for one in solution.predict([row.inputs for row in rows])} <= {"bad", "good"}


def _kit():
    from pathlib import Path

    from whichway.core.strategy import Kit

    return Kit({}, None, Path("."))
