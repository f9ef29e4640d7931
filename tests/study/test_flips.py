"""What would change the answer: at each number that is told, the decision really changes, and just before it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from whichway.core.task import Constraints, Objective
from whichway.study.conditions import Case
from whichway.study.cost import Needs, priced
from whichway.study.flips import changes, flips
from whichway.study.recommend import Candidate

HOURLY = 0.1


def way(
    name: str, score: float, needs: dict, spread: float = 0.002, goal: Objective | None = None, **more
) -> Candidate:
    needs = Needs(name, needs.pop("way", name), **needs)
    noise = np.random.default_rng(sum(map(ord, name))).normal(0, spread, 2000)
    return Candidate(name, score + noise, priced(needs, goal or Objective(), HOURLY), needs=needs, **more)


def case(*arms: Candidate, goal: Objective | None = None, **limits) -> Case:
    made = Case(tuple(arms), Constraints(**limits), goal or Objective(), HOURLY)
    return made.under({})


def trained(**more) -> Candidate:
    """Two hours of a machine at 10 cents and 40 of somebody's time; answers for a cent per 1,000."""
    return way("tuned", 0.90, {"machine_hours": 2.0, "rows_per_s": 5.5, "labels": 400}, **more)


def prompted(**more) -> Candidate:
    return way("asked", 0.905, {"is_local": False, "calls_usd": 0.5}, **more)


GOAL = Objective(hourly_usd=50, hours={"tuned": 40}, requests_per_month=10_000)


def _is_more(flip) -> bool:
    return flip.setting == "min_score" if flip.now is None else flip.at > flip.now


def test_each_number_is_where_the_same_decision_changes():
    one = case(trained(), prompted(p95_ms=800.0), goal=GOAL)
    verdict = one.verdict()
    assert verdict.chosen == "asked" and len(verdict.tied) == 2
    found = {(flip.setting, _is_more(flip)): flip for flip in flips(one, verdict)}
    assert {("requests_per_month", True), ("endpoint_price_factor", True), ("hourly_usd", False)} <= set(found)
    for (setting, is_more), flip in found.items():
        past, before = (1.02, 0.98) if is_more else (0.98, 1.02)
        assert one.under({setting: flip.at * past}).verdict().chosen == flip.to, setting
        assert one.under({setting: flip.at * before}).verdict().chosen == "asked", setting


def test_the_volume_at_which_a_trained_way_pays_is_told_in_a_sentence():
    one = case(trained(), prompted(), goal=GOAL)
    said = next(flip for flip in flips(one, one.verdict()) if flip.setting == "requests_per_month")
    # 2,000.20 to build against 0.5 - 0.0101 per 1,000; at the end of 12 months, where 1.5 times as dear counts as dearer
    assert said.at == pytest.approx(2000.2 / (0.5 / 1.5 - 0.0101) * 1000 / 12, rel=0.02)
    assert said.to == "tuned" and said.sentence.startswith(
        "From about 520,000 requests a month on (10,000 now), take tuned"
    )


def test_a_price_that_nobody_pays_is_not_talked_about():
    one = case(trained(), way("linear", 0.905, {"rows_per_s": 50.0}), goal=Objective(label_usd=1.0, hourly_usd=50))
    assert {flip.setting for flip in flips(one, one.verdict())}.isdisjoint(
        {"label_usd", "hourly_usd", "endpoint_price_factor", "hosting_usd_per_month"}
    )


def test_labels_flip_the_choice_where_they_must_be_bought():
    goal = Objective(labels_owned=0, label_usd=0.1, requests_per_month=1e6)
    one = case(trained(), prompted(), goal=goal)
    assert one.verdict().chosen == "tuned"
    said = next(flip for flip in flips(one, one.verdict()) if flip.setting == "label_usd")
    # 12 million requests: 6,000 at the endpoint against 121.4 and 400 labels, where the better one may cost 1.5 times as much
    assert said.to == "asked" and said.at == pytest.approx((6000 / 1.5 - 121.4) / 400, rel=0.05)


def test_where_no_price_matters_that_is_said_with_the_range_that_was_looked_at():
    one = case(trained(), way("weak", 0.5, {"rows_per_s": 50.0}))
    verdict = one.verdict()
    said = changes(one, verdict, flips(one, verdict))
    assert any("No volume from 10 to 10,000,000 requests a month" in sentence for sentence in said)


def test_a_required_score_names_who_takes_the_place_and_from_where_nobody_does():
    one = case(
        trained(spread=0.001),
        way("better", 0.92, {"rows_per_s": 0.01}, 0.001),
        goal=Objective(smallest_difference=0.05),
    )
    verdict = one.verdict()
    assert verdict.chosen == "tuned"
    said = next(flip for flip in flips(one, verdict) if flip.setting == "min_score")
    assert said.to == "better" and said.at == pytest.approx(np.quantile(one.candidates[0].samples, 0.1), abs=2e-4)
    alone = case(trained(spread=0.001))
    said = next(flip for flip in flips(alone, alone.verdict()) if flip.setting == "min_score")
    assert said.to is None and "ways compared meets it" in said.sentence


def test_a_limit_on_speed_names_who_is_quick_enough():
    slow = trained(p95_ms=300.0)
    one = case(slow, replace(prompted(), p95_ms=20.0), goal=Objective(requests_per_month=1e6))
    said = next(flip for flip in flips(one, one.verdict()) if flip.setting == "max_p95_ms")
    assert said.to == "asked" and said.at == pytest.approx(300, rel=0.01) and "within 3" in said.sentence


LABELS = [
    {
        "strategy": "tuned",
        "rungs": [{"labels": 100}, {"labels": 400}],
        "band": [{"labels": n, "value": v} for n, v in ((400, 0.90), (560, 0.91), (800, 0.93), (1600, 0.95))],
        "break_even": {"against": "asked", "median": 900.0, "low": 700.0, "high": None, "never": 0.1},
    }
]


def test_labels_at_which_another_way_passes_are_told_with_their_interval():
    one = case(trained(), prompted(), goal=GOAL)
    said = changes(one, one.verdict(), [], LABELS)
    assert (
        "From about 900 labels on (400 now; 80 %: 700 to no upper end), tuned is foretold to pass asked as it is."
        in said
    )
    other = changes(one, one.verdict(), [], [{**LABELS[0], "break_even": {**LABELS[0]["break_even"], "against": "x"}}])
    assert not any("labels on" in sentence for sentence in other)


def test_a_way_that_learns_says_below_how_many_labels_it_would_not_lead():
    one = case(trained())
    labels = [{**LABELS[0], "break_even": {"against": "asked", "median": 150.0, "low": 110.0, "high": 210.0}}]
    said = changes(one, one.verdict(), [], labels)
    assert "With fewer than about 150 labels (400 now; 80 %: 110 to 210), asked would score higher." in said


def test_an_hour_of_work_that_costs_nothing_yet_has_a_price_at_which_it_decides():
    one = case(trained(), prompted(), goal=replace(GOAL, hourly_usd=0.0, requests_per_month=1e6))
    assert one.verdict().chosen == "tuned"
    said = next(flip for flip in flips(one, one.verdict()) if flip.setting == "hourly_usd")
    # 6,000 at the endpoint, where the better one may cost 1.5 times as much, against 121.4 and 40 hours
    assert said.to == "asked" and said.at == pytest.approx((6000 / 1.5 - 121.4) / 40, rel=0.05)


def test_when_no_way_meets_the_target_the_ways_there_are_told_with_what_they_cost():
    one = case(trained(), prompted(), goal=replace(GOAL, label_usd=0.25), min_score=0.92)
    verdict = one.verdict()
    assert (verdict.chosen, flips(one, verdict)) == (None, [])
    said = changes(one, verdict, [], LABELS)
    assert said[0].startswith("Lower min_score from 0.920 to 0.90") and "asked meets that" in said[0]
    assert any(
        "About 400 more labels to learn from ($100.00): tuned is then foretold to reach 0.920" in s for s in said
    )


def test_whether_the_closest_one_meets_the_target_may_only_need_more_rows():
    one = case(way("near", 0.91, {"rows_per_s": 5.0}, spread=0.02), min_score=0.90)
    said = changes(one, one.verdict(), [])
    (told,) = [sentence for sentence in said if sentence.startswith("To find out")]
    assert "times as many test rows" in told and "meets 0.900" in told


def test_all_limits_that_the_closest_one_breaks_are_told():
    one = case(trained(p95_ms=300.0, memory_mb=900.0), max_p95_ms=10, max_memory_mb=500, min_score=0.95)
    said = changes(one, one.verdict(), [])
    assert said[0].startswith("tuned comes closest, but takes 300 ms") and "900 MB" in said[0]
    assert said[1].startswith("Lower min_score from 0.950")


def test_a_limit_that_nobody_meets_is_told_with_the_number_at_which_somebody_does():
    one = case(trained(p95_ms=300.0), prompted(p95_ms=80.0), max_p95_ms=10)
    said = changes(one, one.verdict(), [])
    assert any(s.startswith("Raise max_p95_ms from 10 to 80") and "asked then meets everything" in s for s in said)
