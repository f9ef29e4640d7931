"""Costs: what is counted, totals over the horizon, break-even volumes with their intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from whichway.core.task import Objective
from whichway.study.cost import (
    Cost,
    Needs,
    break_even,
    crossings,
    horizon_requests,
    hourly_usd,
    local_per_1000,
    priced,
    refreshes,
    total_cost,
)
from whichway.study.costing import break_even_sentence, cheaper_ranges
from whichway.study.recommend import Candidate

# Liu et al. 2022: floating-point operations stand in for dollars.
T_FEW = Cost(2.7e16, 1000 * 1.1e12)
GPT3_IN_CONTEXT = Cost(0.0, 1000 * 1.4e15)


def test_t_few_pays_for_its_training_after_19_examples_against_in_context_learning():
    assert break_even(T_FEW, GPT3_IN_CONTEXT) == pytest.approx(19.3, abs=0.05)
    assert break_even(GPT3_IN_CONTEXT, T_FEW) == break_even(T_FEW, GPT3_IN_CONTEXT)


def test_prices_that_differ_in_their_last_digit_have_no_break_even():
    assert break_even(Cost(1.0, 0.1 + 0.2), Cost(2.0, 0.3)) is None


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


def way(name: str, cost: Cost, **more) -> Candidate:
    return Candidate(name, np.zeros(1), cost, **more)


def test_the_break_even_sentence_names_who_is_cheaper_from_where():
    few, icl = way("few", T_FEW), way("icl", GPT3_IN_CONTEXT)
    said = break_even_sentence((few, icl), Objective())
    assert said["requests"] == 20 and (said["low"], said["high"], said["never"]) == (None, None, None)
    assert said["sentence"] == (
        "few costs more to build and less per request: it is cheaper than icl from 19 requests on."
    )
    assert break_even_sentence((icl, few), Objective()) == said


def test_starts_a_hair_apart_are_not_called_dearer():
    said = break_even_sentence((way("a", Cost(640.0002, 0.001)), way("b", Cost(640, 0.002))), Objective())["sentence"]
    assert (
        said == "a costs about as much as b to build and less per request: it is cheaper than it from 200 requests on."
    )
    said = break_even_sentence((way("a", Cost(660, 0.001)), way("b", Cost(640, 0.002))), Objective())["sentence"]
    assert said.startswith("a costs more to build and less per request: it is cheaper than b from 20,000,000 requests")


def test_the_never_sentence_names_the_one_that_is_no_dearer():
    said = break_even_sentence((way("a", Cost(3, 2)), way("b", Cost(1, 1))), Objective())
    assert said["requests"] is None
    assert said["sentence"] == "a is never cheaper: b costs no more to build and no more per request."


def test_a_break_even_volume_has_the_interval_that_the_prices_of_its_answers_allow():
    pace = np.linspace(0.5, 1.5, 500)
    dear = way("dear", Cost(100.0, 1.0))
    said = break_even_sentence((dear, way("quick", Cost(0.0, 11.0), pace=pace)), Objective())
    assert said["requests"] == pytest.approx(10_000, abs=1) and said["never"] == 0.0
    assert said["low"] == pytest.approx(1e5 / (1.475 * 11 - 1), rel=0.02)
    assert said["high"] == pytest.approx(1e5 / (0.525 * 11 - 1), rel=0.02)
    assert "(95 %:" in said["sentence"]
    near = break_even_sentence((dear, way("near", Cost(0.0, 1.2), pace=pace)), Objective())
    assert 0.3 < near["never"] < 0.4 and near["high"] is None and "no upper end" in near["sentence"]


def test_costs_that_were_measured_together_are_compared_together():
    pace = np.linspace(0.5, 1.5, 500)
    a, b = way("a", Cost(100.0, 1.0), pace=pace), way("b", Cost(0.0, 2.0), pace=pace)
    assert break_even_sentence((a, b), Objective())["never"] == 0.0
    apart = replace(b, pace=pace[::-1])
    assert break_even_sentence((a, apart), Objective())["never"] > 0.1


NEEDS = Needs("tuned", "finetune", True, machine_hours=2.0, paid_usd=1.0, labels=300, rows_per_s=10.0)


def test_by_default_labels_people_hosting_and_refreshing_cost_nothing():
    cost = priced(NEEDS, Objective(label_usd=5.0, hourly_usd=90.0, hours={"prompt": 4}), hourly=0.5)
    assert cost == Cost(2.0, local_per_1000(10.0, 0.5), machine_usd=1.0)


def test_labels_that_are_not_owned_and_hours_of_people_are_part_of_the_start():
    goal = Objective(label_usd=0.5, labels_owned=100, hourly_usd=80, hours={"finetune": 2, "tuned": 3})
    assert priced(NEEDS, goal, 0.5).upfront_usd == 2.0 + 200 * 0.5 + 3 * 80, "the strategy's own hours win"
    assert NEEDS.build_days(goal) == pytest.approx(3 / 8 + 2 / 24)


def test_a_refresh_builds_a_trained_way_again_and_a_prompt_only_where_somebody_works_on_it():
    goal = Objective(label_usd=0.5, refresh_months=3, refresh_labels=40, hourly_usd=80, refresh_hours={"prompt": 0.5})
    assert priced(NEEDS, goal, 0.5).refresh_usd == 2.0 + 20.0
    prompt = replace(NEEDS, name="prompt-zero", way="prompt")
    assert priced(prompt, goal, 0.5).refresh_usd == 40.0
    assert priced(prompt, replace(goal, refresh_hours={}), 0.5).refresh_usd == 0.0
    assert refreshes(goal) == 4 and refreshes(replace(goal, horizon_months=13)) == 5 and refreshes(Objective()) == 0
    assert total_cost(Cost(1, 0, refresh_usd=22), goal) == 1 + 4 * 22


def test_a_machine_by_the_month_is_not_paid_for_by_use_as_well():
    goal = Objective(requests_per_month=1000, horizon_months=10, hosting_usd_per_month=50)
    cost = priced(NEEDS, goal, 0.5)
    assert cost.per_1000_usd == 0 and total_cost(cost, goal) == 2.0 + 500
    assert cost.running_per_1000(1000) == 50.0
    carried = 10 * 0.5 * 730 * 3600
    assert cost.carries == carried
    assert total_cost(cost, goal, 20 * carried) == pytest.approx(2.0 + 1000), "twice the load takes two machines"
    far = replace(NEEDS, is_local=False, rows_per_s=0.0, calls_usd=3.0)
    assert (priced(far, goal, 0.5).hosting_usd, priced(far, goal, 0.5, endpoints=0.5).per_1000_usd) == (0.0, 1.5)


def test_who_is_cheaper_in_which_range_of_volume_is_found_across_the_load_of_a_machine():
    goal = Objective(horizon_months=1)
    rented, called = Cost(0.0, 0.0, hosting_usd=100.0, carries=1000.0), Cost(0.0, 120.0)
    low = 1000 * 100 / 120
    assert crossings(rented, called, goal) == [pytest.approx(low)]
    assert cheaper_ranges(rented, called, goal) == [(pytest.approx(low), float("inf"))]
    slow = replace(rented, carries=500.0)  # 0.2 per request beyond its load: never cheaper than 0.12
    assert cheaper_ranges(slow, called, goal) == []
    middle = replace(rented, carries=900.0)
    assert crossings(middle, replace(called, per_1000_usd=111.2), goal) == [pytest.approx(899.28, abs=0.01)]
    trained = Cost(1000.0, 50.0)  # 0.05 per request, against 0.1 of machines that are full
    assert crossings(rented, trained, goal) == [pytest.approx(20_000)]
    fair = Cost(50.0, 90.0)  # dearer than one full machine, cheaper than two half-empty ones
    assert cheaper_ranges(rented, fair, goal) == [(pytest.approx(50 / 0.09), pytest.approx(5000))]


def test_the_users_own_price_of_an_hour_always_wins():
    own = Objective(compute_usd_per_hour=0.0)
    assert hourly_usd(own, True) == 0.0
    assert hourly_usd(Objective(), True) > hourly_usd(Objective(), False) > 0


def test_an_idle_half_of_the_hour_is_paid_for_too():
    assert local_per_1000(rows_per_s=10, per_hour=3.6) == pytest.approx(1000 / 10 * 3.6 / 3600 * 2)


def test_the_horizon_counts_all_months():
    assert horizon_requests(Objective(requests_per_month=100, horizon_months=6)) == 600
