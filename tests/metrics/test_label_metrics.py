"""The label metrics against scikit-learn, brute force and hand-made sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from whichway import registry
from whichway.core.task import Example, Prediction
from whichway.errors import WhichwayError

NAMES = ("a", "b", "c", "d")


def metric(name: str, **settings):
    return registry.get("metric", name)(**settings)


def score(one, golds, answers) -> float:
    rows = [Example(str(i), {}, gold) for i, gold in enumerate(golds)]
    return one.aggregate([one.score_example(row, answer) for row, answer in zip(rows, answers)])


def answers_of(said, table=None):
    table = table if table is not None else [None] * len(said)
    return [Prediction(value, 0.7, scores) for value, scores in zip(said, table)]


def random_labels(seed: int, n: int = 60, names=NAMES):
    rng = np.random.default_rng(seed)
    return [str(x) for x in rng.choice(names, n)], [str(x) for x in rng.choice(names, n)]


def random_sets(seed: int, n: int = 60):
    rng = np.random.default_rng(seed)
    draw = lambda: [tuple(name for name in NAMES if rng.random() < 0.4) for _ in range(n)]  # noqa: E731
    return draw(), draw()


def as_table(values):
    return np.array([[name in value for name in NAMES] for value in values], dtype=int)


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_and_f1_agree_with_scikit_learn_on_single_labels(seed):
    gold, said = random_labels(seed)
    answers = answers_of(said)
    assert score(metric("accuracy"), gold, answers) == pytest.approx(sk.accuracy_score(gold, said))
    assert score(metric("macro_f1"), gold, answers) == pytest.approx(sk.f1_score(gold, said, average="macro"))
    assert score(metric("micro_f1"), gold, answers) == pytest.approx(sk.f1_score(gold, said, average="micro"))
    is_a = [[label == "a" for label in labels] for labels in (gold, said)]
    assert score(metric("f1", positive="a"), gold, answers) == pytest.approx(sk.f1_score(*is_a))


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_and_f1_agree_with_scikit_learn_on_several_labels(seed):
    gold, said = random_sets(seed)
    answers, tables = answers_of(said), (as_table(gold), as_table(said))
    assert score(metric("accuracy"), gold, answers) == pytest.approx(sk.accuracy_score(*tables))
    assert score(metric("macro_f1"), gold, answers) == pytest.approx(sk.f1_score(*tables, average="macro"))
    assert score(metric("micro_f1"), gold, answers) == pytest.approx(sk.f1_score(*tables, average="micro"))
    assert score(metric("f1", positive="b"), gold, answers) == pytest.approx(
        sk.f1_score(tables[0][:, 1], tables[1][:, 1])
    )


def test_macro_f1_leaves_out_labels_that_neither_occur_nor_are_predicted():
    gold, said = ["a", "a", "b"], ["a", "b", "b"]
    assert score(metric("macro_f1"), gold, answers_of(said)) == pytest.approx(sk.f1_score(gold, said, average="macro"))


@pytest.mark.parametrize("name", ["macro_f1", "micro_f1"])
def test_a_resample_that_misses_a_label_scores_as_if_the_label_were_not_there(name):
    gold, said = ["a", "a", "b", "c"], ["a", "b", "b", "c"]
    one = metric(name)
    scores = [one.score_example(Example("x", {}, label), answer) for label, answer in zip(gold, answers_of(said))]
    index = np.array([[0, 0, 0, 0], [0, 1, 2, 2], [3, 3, 0, 0]])
    wanted = [sk.f1_score([gold[i] for i in row], [said[i] for i in row], average=name.split("_")[0]) for row in index]
    assert one.resample(scores, index) == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "micro_f1"])
def test_a_single_class_answered_right_scores_one_and_wrong_scores_zero(name):
    assert score(metric(name), ["a"] * 5, answers_of(["a"] * 5)) == 1.0
    assert score(metric(name), ["a"] * 5, answers_of(["b"] * 5)) == 0.0


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_agrees_with_scikit_learn_with_and_without_ties(seed, ties):
    rng = np.random.default_rng(seed)
    gold = [str(x) for x in rng.choice(["a", "b"], 80, p=[0.3, 0.7])]
    ranks = rng.random(80).round(1 if ties else 9)
    answers = answers_of(gold, [{"a": float(p), "b": 1 - float(p)} for p in ranks])
    wanted = sk.average_precision_score([label == "a" for label in gold], ranks)
    assert score(metric("average_precision", positive="a"), gold, answers) == pytest.approx(wanted)


def test_average_precision_of_resamples_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    one, scores = (
        metric("average_precision", positive="a"),
        [[float(x), round(float(y), 1)] for x, y in rng.integers(0, 2, (50, 1)) + rng.random((50, 2)) * [0, 1]],
    )
    index = rng.integers(0, 50, (20, 50))
    wanted = [sk.average_precision_score([scores[i][0] for i in row], [scores[i][1] for i in row]) for row in index]
    assert one.resample(scores, index) == pytest.approx(wanted)


def test_without_probabilities_the_confidence_ranks_the_rows():
    answers = [Prediction("a", 0.9), Prediction("b", 0.9), Prediction("a", 0.6)]
    assert score(metric("average_precision", positive="a"), ["a", "b", "b"], answers) == 1.0
    assert score(metric("average_precision", positive="a"), ["b", "a", "b"], answers) == pytest.approx(1 / 3)


def best_recall(gold, ranks, precision):
    """Try every threshold."""
    found = [0.0]
    for threshold in set(ranks):
        alarms = [label for label, p in zip(gold, ranks) if p >= threshold]
        hits = sum(label == "a" for label in alarms)
        if hits >= precision * len(alarms):
            found.append(hits / gold.count("a"))
    return max(found)


@pytest.mark.parametrize("precision", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_recall_at_precision_is_the_best_over_all_thresholds(seed, precision):
    rng = np.random.default_rng(seed)
    gold = [str(x) for x in rng.choice(["a", "b"], 50)]
    ranks = [round(float(rng.normal(label == "a", 1)) / 10 + 0.5, 2) for label in gold]
    answers = answers_of(gold, [{"a": p} for p in ranks])
    one = metric("recall_at_precision", positive="a", precision=precision)
    assert score(one, gold, answers) == pytest.approx(best_recall(gold, ranks, precision))


def test_ranking_metrics_without_any_positive_row_give_zero_and_not_a_failure():
    answers = answers_of(["b", "b"], [{"a": 0.9}, {"a": 0.1}])
    for name in ("average_precision", "recall_at_precision", "f1"):
        assert score(metric(name, positive="a"), ["b", "b"], answers) == 0.0


def test_an_answer_that_does_not_parse_stays_in_the_denominator_and_is_wrong():
    lost = Prediction("a", 0.9, {"a": 1.0}, parsed=False)
    good = Prediction("a", 0.9, {"a": 1.0})
    assert score(metric("accuracy"), ["a", "a"], [good, lost]) == 0.5
    assert score(metric("micro_f1"), ["a", "a"], [good, lost]) == pytest.approx(2 / 3)
    assert score(metric("macro_f1"), ["a", "a"], [good, lost]) == pytest.approx(2 / 3)
    assert score(metric("f1", positive="a"), ["a", "a"], [good, lost]) == pytest.approx(2 / 3)
    assert (
        score(
            metric("recall_at_precision", positive="a", precision=1.0),
            ["a", "a", "b"],
            [good, lost, Prediction("b", 0.9, {"a": 0.5})],
        )
        == 0.5
    )


def test_the_cost_matrix_adds_up_what_each_answer_costs():
    one = metric("cost_matrix", costs={"a": {"b": 5.0}, "b": {"a": 1.0, "b": -2.0}}, other=3.0)
    golds, said = ["a", "a", "b", "b", "c", "c"], ["a", "b", "a", "b", "c", "a"]
    # costs: right 0, dear 5, cheap 1, gain -2, right 0, unnamed 3
    assert score(one, golds, answers_of(said)) == pytest.approx(-(0 + 5 + 1 - 2 + 0 + 3) / 6)
    assert one.bounds == (-5.0, 2.0)
    lost = Prediction("a", 0.5, None, parsed=False)
    assert score(one, ["a"], [lost]) == -5.0
    assert score(one, ["c"], [lost]) == -3.0


def test_a_cost_that_is_no_finite_number_is_refused():
    with pytest.raises(WhichwayError, match="finite"):
        metric("cost_matrix", costs={"a": {"b": math.inf}})


def test_no_rows_have_no_score():
    assert all(math.isnan(one.aggregate([])) for one in every_metric())


def every_metric():
    return [
        metric(name, **({"positive": "a"} if "positive" in registry.get("metric", name).__dataclass_fields__ else {}))
        for name in registry.names("metric")
        if "labels" in registry.get("metric", name).shapes
    ]


PROBABILITY = st.floats(0, 1).map(lambda p: round(p, 2))
ANSWER = st.builds(
    lambda value, p, parsed: Prediction(value, p, {"a": p, "b": 1 - p}, parsed),
    st.sampled_from(NAMES),
    PROBABILITY,
    st.booleans(),
)
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), ANSWER), min_size=1, max_size=12)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_every_metric_stays_within_its_bounds_in_any_order_and_resamples_as_it_aggregates(rows, rng):
    mixed = rng.sample(rows, len(rows))
    for one in every_metric():
        scores = [one.score_example(Example("x", {}, gold), answer) for gold, answer in rows]
        shuffled = [one.score_example(Example("x", {}, gold), answer) for gold, answer in mixed]
        value = one.aggregate(scores)
        assert one.bounds[0] <= value <= one.bounds[1]
        assert one.aggregate(shuffled) == pytest.approx(value)
        assert one.resample(scores, np.arange(len(scores))[None])[0] == pytest.approx(value)
        assert one.is_mean is False or value == pytest.approx(float(np.mean(scores)))
