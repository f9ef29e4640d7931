"""Numbers and foreign text as words."""

from __future__ import annotations

import math

import pytest

from whichway.report import words

MONEY = {"name": "cost_matrix", "bounds": [-5, 0]}


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "$0"), (0.0021, "$0.0021"), (0.0021449, "$0.00214"), (0.5, "$0.50"), (0.999, "$1.00"), (1.2, "$1.20"),
     (12.345, "$12.35"), (123.4, "$123"), (12_345, "$12,300"), (1e-9, "<$0.000001"), (-0.12, "-$0.12"), (None, "-"),
     (math.nan, "-"), (math.inf, "-"), (True, "-"), ("3", "-"), (10**400, "-")],
)  # fmt: skip
def test_money_has_cents_or_three_digits(value: object, said: str) -> None:
    assert words.money(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.43, "430 ms"), (6.4, "6.4 s"), (59.99, "1 min"), (72, "1 min 12 s"), (3600, "1 h"),
     (7530, "2 h 6 min"), (86_400, "1 d"), (273_600, "3 d 4 h"), (None, "-"), (math.nan, "-")],
)  # fmt: skip
def test_time_is_said_in_at_most_two_units(seconds: object, said: str) -> None:
    assert words.duration(seconds) == said


def test_a_score_is_shown_with_its_interval() -> None:
    found = {"value": 0.873, "low": 0.8121, "high": 0.9194, "n": 160}
    assert words.estimate(found) == "0.873 (0.812-0.919)"
    assert words.estimate({"value": 0.5}) == "0.500"
    assert words.estimate({}) == words.estimate(None) == "-"
    assert words.sample(found) == "n = 160"


def test_a_score_in_money_is_shown_as_money() -> None:
    found = {"value": -0.12, "low": -0.2, "high": -0.05}
    assert words.estimate(found, MONEY) == "-$0.12 (-$0.20 to -$0.05)"


def test_a_difference_has_its_sign() -> None:
    assert words.difference({"value": 0.012, "low": -0.01, "high": 0.034}) == "+0.012 (-0.010 to +0.034)"
    assert words.difference({"value": -0.0001, "low": 0.0, "high": None}) == "0.000"
    assert words.difference(None) == "-"


def test_a_share_never_claims_certainty_it_does_not_have() -> None:
    assert [words.percent(one) for one in (0, 0.004, 0.93, 0.998, 1, None)] == ["0%", "<1%", "93%", ">99%", "100%", "-"]


@pytest.mark.parametrize("value", [0, 1, 0.001234, 12_345, 999.9, 0.9999, -4.567, 1e-12, 1e20, 5e-324, 1.7e308])
def test_three_digits_are_never_more_than_half_a_percent_off(value: float) -> None:
    said = words.three(value).replace(",", "")
    assert abs(float(said) - value) <= 0.0051 * abs(value) + 1e-9


def test_control_and_direction_marks_are_seen_and_not_obeyed() -> None:
    assert words.visible("a\x1b[31m\x00\u202eb\nc\r\nd\x9b") == "a\\x1b[31m\\x00\\u202eb c d\\x9b"
    assert words.visible("née 漢字 👩‍🔬 می‌خواهم") == "née 漢字 👩‍🔬 می‌خواهم"  # joiners are part of writing
    assert words.visible("\ud800") == "\\ud800"
    assert words.visible(["a", "b"]) == "a | b"


def test_a_long_text_is_cut_with_a_mark() -> None:
    assert words.cut("x" * 50, 10) == "x" * 9 + "…"
    assert words.cut("x" * 10, 10) == "x" * 10


def test_a_number_is_set_with_real_minus_and_dash() -> None:
    assert words.fine("-0.007 (-0.018 to +0.006), n = 160") == "−0.007 (−0.018 to +0.006), n\u00a0=\u00a0160"
    assert words.fine("0.812-0.919") == "0.812\u20130.919"
    assert words.fine("14.2 ms") == "14.2\u00a0ms"
