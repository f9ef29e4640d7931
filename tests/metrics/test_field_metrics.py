"""The metrics of JSON answers: what is the same value, and sums made by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from whichway import registry
from whichway.core.task import Example, Prediction
from whichway.metrics.fields import per_field
from whichway.metrics.values import Sameness


def score(name, golds, said, parsed=True, **settings):
    one = registry.get("metric", name)(**settings)
    answers = [Prediction(value, 1.0, parsed=parsed) for value in said]
    rows = [Example(str(at), {}, gold) for at, gold in enumerate(golds)]
    return one.aggregate([one.score_example(row, answer) for row, answer in zip(rows, answers)])


SAME = [
    [1200.5, "1,200.50", "$1,200.50", "1.200,50", "USD 1200.50"],
    ["1,200.50", "1200.5"],
    [7, 7.0, "7", " 7 "],
    ["007", 7],
    ["7%", 7],
    ["7 €", "€7", 7],
    ["-3", -3, "- 3"],
    [
        "2024-03-01",
        "March 1, 2024",
        "3/1/24",
        "Mar 1st, 2024",
        "1 March 2024",
        "01.03.2024",
        "2024-03-01T00:00:00",
        "1-Mar-2024",
    ],
    ["13/1/2024", "2024-01-13", "1/13/24"],
    ["ACME  Ltd", "ACME Ltd", "ＡＣＭＥ\u00a0Ltd"],
    [{"a": 1, "b": None}, {"a": "1"}, {"b": "", "a": 1.0, "c": []}],
    [["x", {"p": "1.0"}], [{"p": 1}, "x"]],
    [True, True],
]
DIFFERENT = [
    ("007", "7"),
    ("+491234567890", "491234567890"),
    ("1234567890.0", "1234567890"),
    ("$5", "€5"),
    ("5%", "$5"),
    ("2024-03-01", "2024-03-02"),
    ("3/4/24", "2024-04-03"),
    ("acme", "ACME"),
    ("1.2.3", "1.2.30"),
    ("A-1", "A-01"),
    (True, 1),
    (0, False),
    (None, 0),
    ("12", "12 months"),
    (["x", "x"], ["x"]),
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": 1}, [1]),
    ("1", ["1"]),
    ("2024-02-30", "2024-03-01"),
    (7, "seven"),
]


@pytest.mark.parametrize(("one", "other"), [pair for group in SAME for pair in combinations(group, 2)])
def test_numbers_and_dates_are_compared_by_value(one, other):
    assert Sameness().same(one, other) and Sameness().same(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_may_be_an_id_or_means_something_else_is_not_folded(one, other):
    assert not Sameness().same(one, other) and not Sameness().same(other, one)


def test_settings_say_which_number_is_the_month_and_whether_case_counts():
    assert Sameness(day_first=True).same("3/4/24", "2024-04-03")
    assert not Sameness(day_first=True).same("3/4/24", "2024-03-04")
    assert Sameness(case_sensitive=False).same("acme", "ACME")
    assert score("exact_record", [{"a": "X"}], [{"a": "x"}]) == 0.0
    assert score("exact_record", [{"a": "X"}], [{"a": "x"}], case_sensitive=False) == 1.0


GOLD = {
    "vendor": "ACME Ltd",
    "total": 1200.5,
    "due": "2024-03-01",
    "note": None,
    "lines": [{"item": "bolt", "price": 2}, {"item": "nut", "price": 1}],
}
SAID = {
    "vendor": "ACME",
    "total": "1,200.50",
    "due": "March 1, 2024",
    "note": "",
    "lines": [{"item": "nut", "price": "1.00"}, {"item": "bolt", "price": 3}],
}


def test_a_record_is_exact_when_all_its_values_are_right_in_any_order_of_lists():
    swapped = {**GOLD, "lines": GOLD["lines"][::-1], "total": "1,200.50"}
    assert score("exact_record", [GOLD, GOLD], [swapped, SAID]) == 0.5
    assert score("exact_record", [GOLD], [GOLD], parsed=False) == 0.0


def test_an_entity_is_right_with_its_path_and_all_it_holds():
    # right: total, due, the nut; wrong: vendor, the bolt; 5 entities on each side
    assert score("entity_f1", [GOLD], [SAID]) == pytest.approx(2 * 3 / 10)
    people = {"people": ["Ann", "Ann", "Bob"], "places": ["Ulm"]}
    assert score("entity_f1", [people], [{"people": ["Ann", "Ulm"], "places": []}]) == pytest.approx(2 * 1 / 6)
    typed = {"entities": [{"type": "ORG", "text": "ACME"}, {"type": "PER", "text": "Ann"}]}
    said = {"entities": [{"type": "PER", "text": "ACME"}, {"type": "PER", "text": "Ann"}]}
    assert score("entity_f1", [typed], [said]) == pytest.approx(2 * 1 / 4)


def test_entities_of_all_rows_are_counted_together():
    golds, said = [{"a": ["x", "y"]}, {"a": ["x"]}, {"a": []}], [{"a": ["x"]}, {"a": ["z"]}, {"a": ["q"]}]
    assert score("entity_f1", golds, said) == pytest.approx(2 * 1 / (3 + 3))
    one = registry.get("metric", "entity_f1")()
    rows = [one.score_example(Example("x", {}, gold), Prediction(value, 1.0)) for gold, value in zip(golds, said)]
    assert one.resample(rows, np.array([[0, 0, 0], [1, 2, 2]])) == pytest.approx([2 / 3, 0.0])


def test_field_f1_is_the_mean_over_fields_of_their_f1():
    # vendor 0, total 1, due 1, lines: bolt, nut and 1 of 2 prices = 3 of 4; the note states nothing and is left out
    assert score("field_f1", [GOLD], [SAID]) == pytest.approx((0 + 1 + 1 + 0.75) / 4)
    assert score("field_f1", [{"a": 1}, {"a": 2}], [{"a": 1, "b": 5}, {"a": 3}]) == pytest.approx((0.5 + 0) / 2)
    assert score("field_f1", [{"a": 1}, {"a": 2}], [{"a": 1}, {}]) == pytest.approx(2 * 1 / 3)


def test_fields_that_a_resample_does_not_hold_are_left_out_of_its_mean():
    one = registry.get("metric", "field_f1")()
    golds, said = [{"a": 1}, {"b": 1}], [{"a": 1}, {"b": 2}]
    rows = [one.score_example(Example("x", {}, gold), Prediction(value, 1.0)) for gold, value in zip(golds, said)]
    assert one.resample(rows, np.array([[0, 0], [0, 1], [1, 1]])) == pytest.approx([1.0, 0.5, 0.0])


def test_an_answer_that_does_not_parse_states_nothing():
    for name in ("exact_record", "field_f1", "entity_f1"):
        assert score(name, [GOLD], [GOLD], parsed=False) == 0.0


def test_the_table_of_fields_says_precision_recall_and_how_many_values():
    found = per_field([Example("x", {}, GOLD)], [Prediction(SAID, 1.0)])
    assert list(found) == ["vendor", "total", "due", "lines[].item", "lines[].price"]
    assert found["lines[].price"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 2}
    more = per_field([Example("x", {}, {"a": ["p", "q", "r"]})], [Prediction({"a": ["p"]}, 1.0)])
    assert more["a[]"] == {"precision": 1.0, "recall": pytest.approx(1 / 3), "f1": 0.5, "n": 3}


def test_equal_spellings_are_paired_before_equal_values():
    assert Sameness().shared([7, "7"], ["7", "007"]) == 2
    assert Sameness().shared(["7", 7], ["007", "7"]) == 2
