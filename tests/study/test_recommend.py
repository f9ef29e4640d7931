"""The choice: the cheapest of those that tie, within the limits, never surer than the evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from studies import ONLY, make_task, report_of, whichway

from whichway import registry
from whichway.core.output import Labels
from whichway.core.task import Constraints, Field, Objective, Task
from whichway.study.conditions import Case
from whichway.study.cost import Cost
from whichway.study.evidence import joint_samples, paired_difference
from whichway.study.flips import changes as said_of
from whichway.study.flips import flips
from whichway.study.recommend import Aside, Candidate, broken_limits, cheapest, decide, pick_finalists, unsure_limits

ACCURACY = registry.get("metric", "accuracy")()


def task(gap: float = 0.02, **limits) -> Task:
    output, goal = Labels(("a", "b")), Objective(smallest_difference=gap)
    return Task("t", "do", (Field("text"),), output, ACCURACY, "", Constraints(**limits), goal)


def arm(name: str, score: float, usd: float, spread: float = 0.001, **more) -> Candidate:
    noise = np.random.default_rng(sum(map(ord, name))).normal(0, spread, 2000)
    return Candidate(name, score + noise, Cost(0.0, usd), **more)


def changes(wanted: Task, verdict, arms) -> list[str]:
    case = Case(tuple(arms), wanted.constraints, wanted.objective, 0.1)
    return said_of(case, verdict, flips(case, verdict))


def test_the_cheapest_of_those_that_tie_is_chosen():
    verdict = decide(task(), [arm("dear", 0.91, 9.0), arm("cheap", 0.90, 0.1), arm("cheaper but worse", 0.80, 0.01)])
    assert verdict.chosen == "cheap"
    assert verdict.best == "dear"
    assert set(verdict.tied) == {"dear", "cheap"}
    assert verdict.runner_up == "dear"
    assert verdict.level == "decided"


def test_a_gap_wider_than_the_smallest_difference_is_worth_its_price():
    assert decide(task(), [arm("dear", 0.95, 9.0), arm("cheap", 0.90, 0.1)]).chosen == "dear"
    assert decide(task(gap=0.1), [arm("dear", 0.95, 9.0), arm("cheap", 0.90, 0.1)]).chosen == "cheap"


def test_of_equally_cheap_ones_that_tie_the_better_one_is_chosen():
    assert decide(task(), [arm("a", 0.90, 1.0), arm("b", 0.91, 1.01)]).chosen == "b"


def test_what_costs_about_the_same_is_told_apart_by_its_score_at_any_volume():
    a, b, c = arm("a", 0.90, 1.0), arm("b", 0.91, 1.4), arm("c", 0.92, 1.6)
    for volume in (10, 1e3, 1e6):
        goal = Objective(requests_per_month=volume)
        assert cheapest([a, b, c], goal).name == "b"
    assert cheapest([arm("free", 0.5, 0.0), b], Objective()).name == "free"


@pytest.mark.parametrize(
    ("limit", "bad"),
    [
        ({"max_p95_ms": 100}, {"p95_ms": 101.0}),
        ({"max_memory_mb": 100}, {"memory_mb": 101.0}),
        ({"min_consistency": 0.9}, {"consistency": 0.89}),
        ({}, {"parsed": 0.94}),
    ],
)
def test_what_breaks_a_limit_is_not_chosen_however_good_it_is(limit, bad):
    good = {"p95_ms": 100.0, "memory_mb": 100.0, "consistency": 0.9, "parsed": 0.95}
    verdict = decide(task(**limit), [arm("best", 0.99, 1.0, **{**good, **bad}), arm("other", 0.7, 1.0, **good)])
    assert verdict.chosen == "other"
    assert verdict.p_feasible == {"best": 0.0, "other": 1.0}
    assert decide(task(**limit), [arm("best", 0.99, 1.0, **good), arm("other", 0.7, 1.0, **good)]).chosen == "best"


def test_limits_on_money_are_kept_per_request_and_up_front():
    built = Candidate("built", np.full(2000, 0.9), Cost(50.0, 0.0))
    assert decide(task(max_cost_per_1000_usd=1.0), [arm("a", 0.9, 1.01), arm("b", 0.5, 1.0)]).chosen == "b"
    assert decide(task(max_upfront_usd=49.0), [built, arm("b", 0.5, 1.0)]).chosen == "b"


def test_a_value_that_was_not_measured_breaks_no_limit():
    strict = task(max_p95_ms=1, max_memory_mb=1, min_consistency=1.0)
    assert decide(strict, [arm("a", 0.9, 1.0)]).chosen == "a"


def test_a_required_score_must_be_met_with_probability_nine_tenths():
    close, safe = arm("close", 0.91, 1.0, spread=0.01), arm("safe", 0.93, 9.0, spread=0.01)
    verdict = decide(task(min_score=0.90), [close, safe])
    assert verdict.chosen == "safe"
    assert 0.8 < verdict.p_feasible["close"] < 0.9


def test_when_none_is_feasible_none_is_chosen_and_the_closest_is_named_with_a_way_out():
    arms, wanted = [arm("a", 0.80, 1.0, 0.02), arm("b", 0.85, 1.0, 0.02)], task(min_score=0.90)
    verdict = decide(wanted, arms)
    assert (verdict.chosen, verdict.closest, verdict.level) == (None, "b", "undecided")
    ways = changes(wanted, verdict, arms)
    assert any("Lower min_score from 0.900 to 0.82" in way for way in ways)


def test_without_candidates_nothing_is_chosen():
    assert decide(task(), []).chosen is None
    assert pick_finalists(task(), []) == []


@pytest.mark.parametrize(("spread", "level"), [(0.001, "decided"), (0.04, "leaning"), (0.2, "undecided")])
def test_the_level_falls_as_the_evidence_gets_weaker(spread, level):
    a, b = arm("a", 0.90, 1.0, spread), arm("b", 0.88, 1.0, spread)
    assert decide(task(), [a, b]).level == level


def test_only_a_wide_open_choice_asks_for_more_rows():
    said = [
        changes(task(), decide(task(), arms), arms)
        for arms in ([arm("a", 0.9, 1, s), arm("b", 0.88, 1, s)] for s in (0.001, 0.2))
    ]
    assert [any("More test rows" in one for one in sentences) for sentences in said] == [False, True]


def test_the_report_says_at_which_gain_the_dearer_one_would_be_taken():
    arms = [arm("dear", 0.91, 9.0), arm("cheap", 0.90, 0.1)]
    said = changes(task(), decide(task(), arms), arms)
    (told,) = [one for one in said if "smallest_difference" in one]
    assert "If a gain of 0.010 is worth $1,068" in told and told.endswith("take dear.")
    at = float(told.split("below ")[1].split(")")[0])
    assert decide(task(gap=at - 0.001), arms).chosen == "dear" and decide(task(gap=at + 0.001), arms).chosen == "cheap"


def test_no_gain_is_asked_about_where_there_is_none():
    arms = [arm("dear", 0.9, 9.0, spread=0.0), arm("cheap", 0.9, 0.1, spread=0.0)]
    assert not any("gain" in one for one in changes(task(), decide(task(), arms), arms))


def test_the_quicker_of_two_that_tie_is_named_for_those_in_a_hurry():
    arms = [arm("cheap", 0.90, 0.1, p95_ms=900.0), arm("quick", 0.90, 9.0, p95_ms=9.0)]
    assert any("within 900 ms" in one and "quick" in one for one in changes(task(), decide(task(), arms), arms))


def test_there_are_at_most_three_finalists_and_the_cheapest_close_one_is_among_them():
    arms = [
        arm(name, score, usd, 0.01)
        for name, score, usd in [("a", 0.92, 9), ("b", 0.919, 8), ("c", 0.918, 7), ("d", 0.91, 0.1), ("e", 0.6, 0.01)]
    ]
    assert pick_finalists(task(), arms) == ["a", "b", "d"]
    assert pick_finalists(task(), arms[:2]) == ["a", "b"]
    assert pick_finalists(task(), [arms[0], arms[4]]) == ["a", "e"]
    assert pick_finalists(task(), [arms[0], arms[1], arms[4]]) == ["a", "b"], "a third that cannot tie stays sealed out"
    assert len(pick_finalists(task(), [arm(f"x{i}", 0.9, 1.0, 0.02) for i in range(9)])) == 3


def test_a_dear_third_is_tested_only_where_it_may_pass_the_best_and_a_cheap_one_where_it_may_tie():
    best, second = arm("best", 0.84, 1.0, 0.035), arm("second", 0.83, 1.0, 0.035)
    for usd, wanted in ((50.0, ["best", "second"]), (0.9, ["best", "second", "third"])):
        assert pick_finalists(task(), [best, second, arm("third", 0.78, usd, 0.035)]) == wanted
    assert "third" in pick_finalists(task(), [best, second, arm("third", 0.82, 50.0, 0.035)])


def test_what_breaks_a_hard_limit_is_no_finalist():
    arms = [arm("slow", 0.99, 1, p95_ms=500.0), arm("fast", 0.8, 1, p95_ms=5.0)]
    assert pick_finalists(task(max_p95_ms=100), arms) == ["fast"]


def judged(rng, chances: dict[str, float], n: int) -> tuple[dict, list[Candidate]]:
    scores = {name: [float(x) for x in rng.random(n) < p] for name, p in chances.items()}
    samples = joint_samples(ACCURACY, scores)
    return scores, [Candidate(name, samples[name], Cost(0, 1.0), order=i) for i, name in enumerate(scores)]


def test_of_equal_arms_none_is_said_to_be_better_than_its_runner_up():
    rng, claims = np.random.default_rng(1), 0
    for seed in range(60):
        scores, arms = judged(rng, {"a": 0.7, "b": 0.7}, 100)
        verdict = decide(task(), arms)
        gap = paired_difference(ACCURACY, scores[verdict.chosen], scores[verdict.runner_up], seed=seed)
        claims += gap.low > 0
    assert claims / 60 <= 0.12  # 5 % expected; the larger of two is looked at, so both tails count


def test_decided_is_seldom_said_of_a_strategy_that_is_in_truth_worse_than_another_by_more_than_the_gap():
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(60):
        verdict = decide(task(), judged(rng, {"better": 0.75, "worse": 0.70}, 100)[1])
        wrong += verdict.level == "decided" and verdict.chosen == "worse"
    assert wrong / 60 <= 0.10


def test_with_many_equal_arms_and_few_rows_the_choice_is_left_open():
    rng, decided = np.random.default_rng(3), 0
    for _ in range(30):
        decided += decide(task(), judged(rng, {name: 0.7 for name in "abc"}, 50)[1]).level == "decided"
    assert decided / 30 <= 0.25


def test_decided_is_seldom_said_of_one_alone_when_both_are_equal():
    rng, claims = np.random.default_rng(0), 0
    for _ in range(60):
        verdict = decide(task(), judged(rng, {"a": 0.7, "b": 0.7}, 100)[1])
        claims += verdict.level == "decided" and verdict.tied == (verdict.chosen,)
    assert claims / 60 <= 0.12


def test_limits_that_are_broken_are_named_with_both_numbers():
    one = arm("a", 0.9, 2.0, p95_ms=250.0, parsed=0.9)
    (money, late, unread) = broken_limits(task(max_cost_per_1000_usd=1.0, max_p95_ms=100), one)
    assert "$2 " in money and "1 is the limit" in money
    assert "250 ms" in late and "100 is the limit" in late and "10.0% could not be read" in unread
    assert broken_limits(task(), arm("b", 0.9, 2.0, parsed=0.96)) == []


def test_the_report_says_who_scored_higher_and_was_passed_over(tmp_path):
    make_task(tmp_path, more="constraints: {max_p95_ms: 0.2}\n")
    whichway("run", "task.yaml", *ONLY, "--out", "run", cwd=tmp_path)
    found = report_of(tmp_path / "run")["recommendation"]
    assert found["strategy"] == "majority"
    (said,) = [one for one in found["reasons"] if one.startswith("Passed over")]
    assert said.startswith("Passed over: classic scored") and "0.2 is the limit" in said


def spread_out(name: str, p95: float, width: float, **more) -> Candidate:
    drawn = np.random.default_rng(0).normal(p95, width, 2000)
    return arm(name, 0.9, 1.0, p95_ms=p95, p95_samples=drawn, **more)


def test_a_latency_that_is_only_just_within_its_limit_is_not_taken_for_met():
    close, safe = spread_out("close", 95.0, 10.0), spread_out("safe", 80.0, 10.0)
    verdict = decide(task(max_p95_ms=100), [close, replace(safe, samples=safe.samples - 0.1)])
    assert verdict.p_feasible["close"] == pytest.approx(0.69, abs=0.03) and verdict.p_feasible["safe"] > 0.95
    assert verdict.chosen == "safe"
    assert decide(task(), [close, safe]).p_feasible["close"] == 1.0
    assert unsure_limits(task(max_p95_ms=100), close) == [
        "meets the limits on time and money with probability 0.70 only"
    ]
    assert unsure_limits(task(), close) == []
    assert broken_limits(task(max_p95_ms=100), close) == []


def test_a_price_per_answer_is_as_uncertain_as_the_answers_were_different():
    pace = np.linspace(0.5, 1.5, 2000)
    wanted = task(max_cost_per_1000_usd=1.2)
    assert decide(wanted, [arm("a", 0.9, 1.0, pace=pace)]).p_feasible["a"] == pytest.approx(0.7, abs=0.01)
    assert decide(wanted, [arm("a", 0.9, 1.0)]).p_feasible["a"] == 1.0


def test_score_latency_and_price_are_judged_in_the_same_samples():
    rng = np.random.default_rng(0)
    score = rng.normal(0.9, 0.02, 2000)
    fast = score > np.quantile(score, 0.5)
    one = Candidate("a", score, Cost(0, 1), p95_ms=100.0, p95_samples=np.where(fast, 90.0, 110.0))
    both = decide(task(min_score=float(np.quantile(score, 0.5)), max_p95_ms=100), [one])
    assert both.p_feasible["a"] == pytest.approx(0.5, abs=0.01), "independent they would be met in a quarter"


def test_the_deadline_counts_days_of_building():
    quick, slow = arm("quick", 0.8, 1.0, build_days=0.5), arm("slow", 0.9, 1.0, build_days=3.0)
    assert decide(task(deadline_days=2), [quick, slow]).chosen == "quick"
    assert decide(task(), [quick, slow]).chosen == "slow"
    assert broken_limits(task(deadline_days=2), slow) == ["takes 3 days to build, and 2 is the deadline"]


def test_a_verdict_is_the_same_each_time():
    arms = [spread_out("a", 95.0, 10.0), spread_out("b", 99.0, 1.0)]
    assert decide(task(max_p95_ms=100), arms) == decide(task(max_p95_ms=100), arms)


@pytest.mark.parametrize(
    ("missed", "level"), [(0.0, "decided"), (0.09, "decided"), (0.2, "leaning"), (0.5, "undecided")]
)
def test_the_word_is_no_surer_than_that_nothing_better_was_left_aside(missed, level):
    verdict = decide(task(), [arm("a", 0.9, 1.0), arm("b", 0.5, 1.0)], Aside({"": missed}))
    assert (verdict.chosen, verdict.level, verdict.missed) == ("a", level, missed)
    assert verdict.sure > 0.99  # about those compared


def test_the_chance_of_something_better_is_that_over_the_chosen_way():
    tied = [arm("best", 0.90, 9.0), arm("cheap", 0.89, 0.1)]
    aside = Aside({"": 0.01, "best": 0.01, "cheap": 0.2})  # what would not pass the best may well pass the cheaper one
    verdict = decide(task(), tied, aside)
    assert (verdict.chosen, verdict.missed, verdict.level) == ("cheap", 0.2, "leaning")
    assert decide(task(gap=0.001), tied, aside).level == "decided"


def test_nothing_is_decided_while_the_budget_has_stopped_a_way():
    arms = [arm("a", 0.9, 1.0), arm("b", 0.5, 1.0)]
    assert decide(task(), arms, Aside(unreached=("raft",))).level == "leaning"
    assert decide(task(), arms[:1], Aside(unreached=("raft",))).level == "undecided"
    assert decide(task(), arms[:1]).level == "decided"
