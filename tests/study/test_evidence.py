"""Intervals, differences and joint samples: right by hand, by scipy, and over many simulated studies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from whichway import registry
from whichway.core.task import Example, Prediction
from whichway.study import evidence
from whichway.study.evidence import (
    calibration,
    clopper_pearson,
    joint_samples,
    latency_samples,
    mean_samples,
    paired_difference,
    score_interval,
    smallest_detectable,
)

ACCURACY, MACRO_F1 = registry.get("metric", "accuracy")(), registry.get("metric", "macro_f1")()


def coin(rng, n: int, p: float) -> list[float]:
    return [float(x) for x in rng.random(n) < p]


def f1_scores(rng, n: int, right: float) -> list:
    """Scores of macro-F1 for three labels, of which the third is rare."""
    gold = rng.choice(["a", "b", "c"], n, p=[0.5, 0.4, 0.1])
    said = [label if rng.random() < right else str(rng.choice(["a", "b", "c"])) for label in gold]
    return [MACRO_F1.score_example(Example("x", {}, str(g)), Prediction(str(s), 1.0)) for g, s in zip(gold, said)]


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (0, 50), (1, 50), (25, 50), (49, 50), (50, 50), (183, 200)])
@pytest.mark.parametrize("level", [0.9, 0.95, 1 - 0.05 / 3])
def test_the_interval_of_a_proportion_is_the_exact_one(hits, n, level):
    wanted = binomtest(hits, n).proportion_ci(level, "exact")
    assert clopper_pearson(hits, n, level) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_right_or_wrong_scores_get_the_exact_interval_and_other_means_the_bootstrap():
    found = score_interval(ACCURACY, [1.0] * 45 + [0.0] * 5)
    assert (found.low, found.high) == clopper_pearson(45, 50)
    assert (found.value, found.n) == (0.9, 50)
    money = registry.get("metric", "cost_matrix")(costs={"a": {"b": 5.0}})
    found = score_interval(money, [0.0] * 40 + [-5.0] * 10)
    assert -5 <= found.low < -1 < found.high <= 0


def test_the_interval_covers_the_true_score_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        found = score_interval(ACCURACY, coin(rng, 200, 0.8))
        covered += found.low <= 0.8 <= found.high
    assert 0.92 <= covered / 400 <= 0.99


def test_a_higher_level_gives_a_wider_interval():
    scores = f1_scores(np.random.default_rng(1), 120, 0.8)
    narrow, wide = score_interval(MACRO_F1, scores), score_interval(MACRO_F1, scores, level=0.99)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_the_bootstrap_interval_of_macro_f1_covers_the_true_value(monkeypatch):
    monkeypatch.setattr(evidence, "RESAMPLES", 400)
    rng = np.random.default_rng(2)
    truth = MACRO_F1.aggregate(f1_scores(rng, 100_000, 0.8))
    covered = 0
    for seed in range(80):
        found = score_interval(MACRO_F1, f1_scores(rng, 150, 0.8), seed=seed)
        assert 0 <= found.low < found.value < found.high <= 1
        covered += found.low <= truth <= found.high
    assert covered >= 70  # 95 % nominal; fewer than 70 of 80 has a chance of 1 in 300 at 93 %


def test_a_score_without_spread_does_not_break_the_bootstrap():
    found = score_interval(MACRO_F1, [[["a"], ["a"]]] * 30)
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)


def test_no_rows_give_no_number():
    assert math.isnan(score_interval(ACCURACY, []).value)
    assert math.isnan(paired_difference(ACCURACY, [], []).value)


def test_two_equal_strategies_are_seldom_called_different(monkeypatch):
    monkeypatch.setattr(evidence, "RESAMPLES", 500)
    rng, alarms = np.random.default_rng(3), 0
    for seed in range(300):
        both = coin(rng, 200, 0.5)  # half of the rows are answered alike, as with real strategies
        mixed = [[x if y else z for x, y, z in zip(both, coin(rng, 200, 0.5), coin(rng, 200, 0.75))] for _ in "ab"]
        found = paired_difference(ACCURACY, *mixed, seed=seed)
        alarms += not found.low <= 0 <= found.high
    assert alarms / 300 <= 0.07


def test_two_equal_strategies_that_seldom_disagree_are_seldom_called_different():
    rng, alarms = np.random.default_rng(4), 0
    for seed in range(300):
        both, flips = coin(rng, 200, 0.9), [rng.random(200) < 0.03 for _ in "ab"]
        found = paired_difference(ACCURACY, *([abs(x - f) for x, f in zip(both, flip)] for flip in flips), seed=seed)
        alarms += not found.low <= 0 <= found.high
    assert alarms / 300 <= 0.07


@pytest.mark.parametrize(("gap", "n", "least"), [(0.10, 400, 0.95), (0.05, 1000, 0.85)])
def test_a_planted_difference_is_found_and_its_size_is_in_the_interval(gap, n, least, monkeypatch):
    monkeypatch.setattr(evidence, "RESAMPLES", 500)
    rng, seen, covered = np.random.default_rng(5), 0, 0
    for seed in range(60):
        kind = rng.choice(3, n, p=[0.05, 0.05 + gap, 0.90 - gap])  # b alone right, a alone right, both alike
        alike = rng.random(n) < 0.8
        a, b = ([float(x) for x in np.where(kind == 2, alike, kind == mine)] for mine in (1, 0))
        found = paired_difference(ACCURACY, a, b, seed=seed)
        seen += found.low > 0
        covered += found.low <= gap <= found.high
    assert seen / 60 >= least
    assert covered / 60 >= 0.88


def test_pairing_makes_the_interval_narrower_than_that_of_unpaired_rows():
    rng = np.random.default_rng(6)
    a = coin(rng, 300, 0.7)
    b = [1.0 - x if rng.random() < 0.1 else x for x in a]
    mixed = list(rng.permutation(b))
    paired, apart = paired_difference(ACCURACY, a, b), paired_difference(ACCURACY, a, mixed)
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)


def test_the_difference_changes_its_sign_with_the_order():
    rng = np.random.default_rng(7)
    a, b = coin(rng, 200, 0.8), coin(rng, 200, 0.6)
    one, other = paired_difference(ACCURACY, a, b), paired_difference(ACCURACY, b, a)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_a_difference_of_a_few_discordant_rows_leans_to_neither_side():
    even = paired_difference(ACCURACY, [1.0] * 4 + [0.0] * 4 + [1.0] * 92, [0.0] * 4 + [1.0] * 4 + [1.0] * 92)
    assert even.value == 0 and even.low == pytest.approx(-even.high, abs=0.004)
    a, b = [1.0] * 9 + [0.0] * 2 + [1.0] * 89, [0.0] * 9 + [1.0] * 2 + [1.0] * 89
    one, other = paired_difference(ACCURACY, a, b), paired_difference(ACCURACY, b, a)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.004)
    assert one.low > 0  # the exact test of 9 against 2 gives p = 0.065; the posterior is a little bolder


def test_rows_that_come_in_groups_widen_every_interval():
    rng = np.random.default_rng(8)
    a, b = ([x for x in coin(rng, 40, p) for _ in range(5)] for p in (0.8, 0.6))  # five alike in a group
    groups = [f"g{i // 5}" for i in range(200)]
    plain, grouped = score_interval(ACCURACY, a), score_interval(ACCURACY, a, groups)
    assert grouped.high - grouped.low > 1.6 * (plain.high - plain.low)  # sqrt(5) in theory
    plain, grouped = paired_difference(ACCURACY, a, b), paired_difference(ACCURACY, a, b, groups)
    assert grouped.high - grouped.low > 1.6 * (plain.high - plain.low)
    free, bound = joint_samples(ACCURACY, {"a": a}), joint_samples(ACCURACY, {"a": a}, groups)
    assert bound["a"].std() > 1.6 * free["a"].std()


def test_joint_samples_keep_the_pairing_and_the_mean():
    rng = np.random.default_rng(9)
    a = coin(rng, 200, 0.7)
    b = [1.0 - x if rng.random() < 0.05 else x for x in a]
    found = joint_samples(ACCURACY, {"a": a, "b": b})
    assert np.corrcoef(found["a"], found["b"])[0, 1] > 0.8
    assert found["a"].mean() == pytest.approx(np.mean(a), abs=0.01)
    assert joint_samples(ACCURACY, {"a": a, "same": a})["a"] == pytest.approx(
        joint_samples(ACCURACY, {"same": a})["same"]
    )


def test_a_strategy_that_was_always_right_is_not_taken_for_certain():
    samples = joint_samples(ACCURACY, {"a": [1.0] * 20})["a"]
    assert samples.max() <= 1.0
    assert 0.0 < samples.std() < 0.1


def test_samples_of_a_latency_lie_around_its_quantile_and_as_wide_as_another_measurement_would_differ():
    rng = np.random.default_rng(3)
    drawn = rng.lognormal(3, 0.5, (300, 40))
    truth = float(np.exp(3 + 1.645 * 0.5))
    inside = 0
    for i, row in enumerate(drawn[:100]):
        low, high = np.quantile(latency_samples(list(row), i)[0], [0.05, 0.95])
        inside += low <= truth <= high
    assert inside >= 75, "nominally 90, and the tail of forty rows is thin"
    p95, pace = latency_samples(list(drawn[0]), 0)
    assert p95.shape == pace.shape == (2000,) and pace.mean() == pytest.approx(1.0, abs=0.02)
    assert np.corrcoef(p95, pace)[0, 1] > 0.3, "slow rows make both"


def test_of_few_rows_the_tail_of_a_latency_is_wide_and_of_one_it_is_unknown():
    few, many = [20.0, 25.0, 30.0, 22.0], [20.0, 25.0, 30.0, 22.0] * 10
    assert latency_samples(few, 0)[0].std() > 3 * latency_samples(many, 0)[0].std()
    assert latency_samples(few, 0)[0].max() > 30.0
    assert set(latency_samples([7.0], 0)[0]) == {7.0}


def test_what_answers_cost_is_resampled_with_their_times():
    times, usd = [10.0] * 37 + [100.0] * 3, [1.0] * 37 + [9.0] * 3  # so few slow ones that a resample may lack them
    p95, pace = latency_samples(times, 0, usd)
    spread = np.std(usd) / np.mean(usd) / 40**0.5
    assert pace.mean() == pytest.approx(1.0, abs=0.02) and pace.std() == pytest.approx(spread, rel=0.1)
    assert np.corrcoef(p95, pace)[0, 1] > 0.5
    apart = latency_samples(times, 0, usd[::-1])  # slow and dear are other rows
    assert np.corrcoef(*apart)[0, 1] < 0.2
    assert mean_samples([2.0, 2.0], 0).std() == 0.0 and mean_samples([0.0], 0).mean() == 1.0


def test_the_calibration_error_by_hand():
    error, bins = calibration([0.95, 0.95, 0.55, 0.55, 1.0], [True, False, True, True, True])
    # bin 0.9-1.0: n 3, mean 0.9667, right 2/3; bin 0.5-0.6: n 2, mean 0.55, right 1
    assert error == pytest.approx(3 / 5 * abs(2.9 / 3 - 2 / 3) + 2 / 5 * 0.45)
    assert [(one["low"], one["n"]) for one in bins] == [(0.5, 2), (0.9, 3)]
    assert calibration([1.0] * 4, [True] * 4)[0] == 0.0
    assert math.isnan(calibration([], [])[0])


def test_more_rows_tell_smaller_differences_apart():
    assert smallest_detectable(400) == pytest.approx(smallest_detectable(100) / 2)
    assert smallest_detectable(100) == pytest.approx((1.959964 + 0.841621) * math.sqrt(0.15 / 100), abs=1e-5)


def test_the_same_seed_gives_the_same_numbers():
    scores = f1_scores(np.random.default_rng(1), 60, 0.8)
    assert score_interval(MACRO_F1, scores, seed=4) == score_interval(MACRO_F1, scores, seed=4)
    assert score_interval(MACRO_F1, scores, seed=4) != score_interval(MACRO_F1, scores, seed=5)
