"""Costs: totals, break-even volumes, what counts as cheaper."""

from __future__ import annotations

import pytest

from whichway.core.task import Objective
from whichway.study.cost import (
    Cost,
    break_even,
    break_even_sentence,
    cheapness,
    horizon_requests,
    hourly_usd,
    local_per_1000,
)

# Liu et al. 2022: floating-point operations stand in for dollars.
T_FEW = Cost(2.7e16, 1000 * 1.1e12)
GPT3_IN_CONTEXT = Cost(0.0, 1000 * 1.4e15)


def test_t_few_pays_for_its_training_after_19_examples_against_in_context_learning():
    assert break_even(T_FEW, GPT3_IN_CONTEXT) == pytest.approx(19.3, abs=0.05)
    assert break_even(GPT3_IN_CONTEXT, T_FEW) == break_even(T_FEW, GPT3_IN_CONTEXT)


def test_at_the_break_even_volume_both_cost_the_same_in_all():
    volume = break_even(T_FEW, GPT3_IN_CONTEXT)
    assert T_FEW.total(volume) == pytest.approx(GPT3_IN_CONTEXT.total(volume))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Cost(1, 1), Cost(2, 2)),
        (Cost(1, 1), Cost(1, 1)),
        (Cost(1, 1), Cost(2, 1)),
        (Cost(1, 1), Cost(1, 2)),
        (Cost(0, 0), Cost(5, 0)),
    ],
)
def test_there_is_no_break_even_when_one_is_dearer_in_neither_respect(one, other):
    assert break_even(one, other) is None
    assert break_even(other, one) is None


def test_the_break_even_sentence_names_who_is_cheaper_from_where():
    said = break_even_sentence(("few", "icl"), {"few": T_FEW, "icl": GPT3_IN_CONTEXT})
    assert said["requests"] == 20
    assert said["sentence"].startswith("few costs more to build")
    assert break_even_sentence(("icl", "few"), {"few": T_FEW, "icl": GPT3_IN_CONTEXT}) == said


def test_the_never_sentence_names_the_one_that_is_no_dearer():
    said = break_even_sentence(("a", "b"), {"a": Cost(3, 2), "b": Cost(1, 1)})
    assert said == {"requests": None, "sentence": "Never: b is no dearer than a, neither to build nor per request."}


def test_the_users_own_price_of_an_hour_always_wins():
    own = Objective(compute_usd_per_hour=0.0)
    assert hourly_usd(own, True) == 0.0
    assert hourly_usd(Objective(), True) > hourly_usd(Objective(), False) > 0


def test_an_idle_half_of_the_hour_is_paid_for_too():
    assert local_per_1000(rows_per_s=10, per_hour=3.6) == pytest.approx(1000 / 10 * 3.6 / 3600 * 2)


def test_the_horizon_counts_all_months():
    assert horizon_requests(Objective(requests_per_month=100, horizon_months=6)) == 600


def test_cheapness_is_the_total_to_one_digit_so_that_noise_in_times_decides_nothing():
    goal = Objective(requests_per_month=1000, horizon_months=1)
    assert cheapness(Cost(1.01, 1.02), goal) == cheapness(Cost(0.98, 1.01), goal) == 2.0
    assert cheapness(Cost(0, 0), goal) == 0.0
    assert cheapness(Cost(100, 0), goal) < cheapness(Cost(0, 260), goal)
    assert cheapness(Cost(0.00012, 0), goal) == pytest.approx(0.0001)
