"""The linear head: a threshold of its own for several labels per row, and small data that lose a label."""

import time

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from whichway.core.output import Labels
from whichway.errors import BudgetReached
from whichway.strategies.parts import logistic
from whichway.strategies.parts.linear import fit_head, load_head
from whichway.study.deadline import until

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


def _wide(count, width=400, labels=5, seed=0):
    """Sparse rows with far more columns than rows, as counts of words are, two of them the same."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, labels, count)
    table = rng.random((count, width)) * (rng.random((count, width)) < 0.05)
    table[np.arange(count), numbers] += 0.7
    table[1], numbers[1] = table[0], numbers[0]
    return csr_matrix(table.astype(np.float32)), numbers


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("multi", [False, True])
def test_features_wider_than_there_are_rows_give_the_head_that_the_library_finds_over_all_of_them(dense, multi):
    features, numbers = _wide(80)
    features = features.toarray() if dense else features
    names = NAMES[:5]
    targets = [(names[i], names[(i + 1) % 5]) if multi else names[i] for i in numbers]
    head = fit_head(features, targets, Labels(names, multi=multi), (30.0,), 0)
    assert head.weights.shape == (5, features.shape[1])
    unseen = _wide(50, seed=1)[0]
    logits = unseen @ head.weights.T + head.intercepts
    if multi:
        columns = [LogisticRegression(C=30.0, max_iter=400) for _ in names]
        held = [name in one for one in targets for name in names]
        table = np.array(held).reshape(-1, 5)
        wanted = np.stack(
            [one.fit(features, table[:, i]).decision_function(unseen) for i, one in enumerate(columns)], 1
        )
    else:
        wanted = LogisticRegression(C=30.0, max_iter=400).fit(features, numbers).decision_function(unseen)
    # one label against the rest is left at the library's tolerance, by another way: 0.14 of logits of up to 9
    np.testing.assert_allclose(logits, wanted, atol=0.3 if multi else 1e-3)
    assert np.abs(wanted).max() > 5


def test_how_features_are_laid_out_changes_nothing_but_the_time(monkeypatch):
    features, numbers = _wide(80)
    targets = [NAMES[i] for i in numbers]
    narrow = fit_head(features, targets, Labels(NAMES[:5]), (0.3, 3.0, 30.0), 0)
    monkeypatch.setattr(logistic, "NARROWED", 0)
    wide = fit_head(features, targets, Labels(NAMES[:5]), (0.3, 3.0, 30.0), 0)
    assert narrow.strength == wide.strength and narrow.merit == pytest.approx(wide.merit, abs=1e-3)
    np.testing.assert_allclose(narrow.weights, wide.weights, atol=1e-3)


@pytest.mark.parametrize("multi", [False, True])
def test_a_head_leaves_the_threads_of_the_algebra_library_as_they_were(multi, monkeypatch):
    def threads():
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    within, kept = [], LogisticRegression.fit

    def fit(self, *data):
        within.append(threads())
        return kept(self, *data)

    monkeypatch.setattr(LogisticRegression, "fit", fit)
    features, targets = _rows(60)
    said = targets if multi else [one[0] for one in targets]
    with threadpool_limits(2, user_api="blas"):
        fit_head(features, said, Labels(NAMES, multi=multi), (0.1, 1.0), 0)
        assert threads() == {2} and within and all(one == {1} for one in within)
        with pytest.raises(ValueError):
            fit_head(np.full_like(features, np.nan), said, Labels(NAMES, multi=multi), (0.1, 1.0), 0)
        assert threads() == {2}


@pytest.mark.parametrize("columns", [3, 200])
def test_features_that_say_nothing_leave_the_labels_as_frequent_as_they_were(columns):
    head = fit_head(np.zeros((8, columns), np.float32), ["a"] * 6 + ["b"] * 2, Labels(("a", "b")), (1.0,), 0)
    told = head.probabilities(np.zeros((1, columns), np.float32))
    np.testing.assert_allclose(told, [[0.75, 0.25]], atol=0.01)


@pytest.mark.parametrize("labels", [1, 40])
def test_a_fit_is_cut_off_where_the_time_ends(labels, monkeypatch):
    kept = LogisticRegression.fit

    def slow(self, *data):
        for _ in range(40):
            time.sleep(0.05)
        return kept(self, *data)

    monkeypatch.setattr(LogisticRegression, "fit", slow)
    features = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    codes = (features[:, :1] > np.linspace(-1, 1, labels)).astype(int)
    began = time.monotonic()
    with pytest.raises(BudgetReached), until(began + 0.3):
        logistic.fit_all([(features, codes[:, 0] if labels == 1 else codes, 1.0)])
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("labels", "rows", "is_narrowed"), [(2, 600, True), (2, 601, False), (3, 601, True), (9, 2001, False)]
)
def test_features_are_turned_only_where_that_takes_less_than_it_saves(labels, rows, is_narrowed):
    features = csr_matrix((np.ones(rows, np.float32), (np.arange(rows), np.arange(rows) % 30)), shape=(rows, 4000))
    narrow, _ = logistic.narrowed(features, labels)
    assert narrow.shape == ((rows, 30) if is_narrowed else (rows, 4000))
