"""G1: the e-process is right, and errs no more often than it promises, whenever one looks."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta

from whichway.study.guarantee import log_evidence, paired_wins, threshold


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (7, 2), (2, 7), (40, 12)])
def test_the_evidence_is_the_mixture_of_likelihoods_over_shares_above_one_half(wins, losses):
    mixed = quad(lambda p: p**wins * (1 - p) ** losses * 2 * beta.pdf(p, 0.5, 0.5), 0.5, 1)[0]
    assert log_evidence(wins, losses) == pytest.approx(math.log(mixed) + (wins + losses) * math.log(2), abs=1e-5)


def test_equal_strategies_are_told_apart_by_mistake_no_more_often_than_promised_though_one_looks_after_every_row():
    rng, wrong, studies = np.random.default_rng(0), 0, 400
    for _ in range(studies):
        steps = np.where(rng.random(150) < 0.5, 1, 0)
        wins = np.cumsum(steps)
        wrong += any(log_evidence(int(w), n + 1 - int(w)) >= math.log(20) for n, w in enumerate(wins))
    assert 0 < wrong / studies <= 0.05


def test_a_clear_winner_passes_the_threshold_of_sixteen_arms():
    assert log_evidence(10, 0) > threshold(16) > log_evidence(7, 0)


def test_wins_are_counted_on_shared_rows_alone():
    assert paired_wins([1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0]) == (1, 1)
