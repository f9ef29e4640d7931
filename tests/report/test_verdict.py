"""How sure the recommendation is, in words: the probability on which its level rests."""

from __future__ import annotations

import pytest
from sample import report

from whichway.report.markdown import render_markdown
from whichway.report.verdict import certainty, certainty_share, fragile

WAYS = report()["recommendation"]


@pytest.mark.parametrize(
    ("sure", "missed", "share", "said"),
    [
        (1.0, 0.05, 0.95, "no other way is better by more than 0.02: 95%."),
        (0.9, 0.0, 0.9, "0.02: 90%."),
        (0.9, None, 0.9, "90%."),
    ],
)
def test_a_cheaper_way_within_the_gap_is_told_to_be_good_enough_and_not_to_be_the_best(sure, missed, share, said):
    ways = {**WAYS, "level": "decided", "p_best": 0.001, "p_good_enough": sure, "p_missed": missed}
    found = report(recommendation=ways)
    assert certainty_share(found) == pytest.approx(share)
    assert certainty(found).endswith(said) and "<1%" not in certainty(found)


def test_a_verdict_that_only_leans_though_it_is_probably_right_says_why():
    ways = {**WAYS, "p_good_enough": 0.99, "p_missed": 0.0}
    assert certainty(report(recommendation=ways)).endswith("99%. But its lead over encoder may be chance.")
    assert "chance" not in certainty(report(recommendation={**ways, "p_good_enough": 0.8}))
    assert "chance" not in certainty(report(recommendation={**ways, "not_reached": ["raft"]}))


def test_a_report_of_before_tells_what_it_has():
    assert certainty(report()).endswith("Probability (estimate) that it is the best and meets every requirement: 71%.")
    assert certainty_share(report()) == 0.71


def test_without_a_recommendation_nothing_is_said_to_be_likely():
    found = report(recommendation={**WAYS, "strategy": None, "p_good_enough": 0.9})
    assert certainty_share(found) is None and "%" not in certainty(found)


def test_a_winner_whose_score_moves_with_the_form_of_its_prompt_is_called_fragile_beside_its_score():
    found = report()
    name = WAYS["strategy"]
    trial = next(one for one in found["trials"] if one["strategy"] == name)
    assert fragile(found) == ""
    trial["sensitivity"] = {"rows": 16, "score": 0.8, "low": 0.55, "high": 0.81, "kinds": {}}
    assert fragile(found).startswith("Its prompt is fragile: the same 16 rows score between 0.550 and 0.810")
    said = render_markdown(found)
    assert "reworded 0.550 to 0.810, n = 16" in said and "prompt is fragile" in said
    trial["sensitivity"]["low"] = 0.72  # two rows of 16 are no sign
    assert fragile(found) == ""
