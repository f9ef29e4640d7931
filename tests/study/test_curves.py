"""Label curves pass their rungs, foretell known curves, and say when they cannot know."""

import numpy as np
import pytest

from whichway.study.curves import Rung, break_even, fit_curve, gain, priced_gain, told_curve


def _power(n):
    return 0.9 - 0.5 * (n / 50) ** -0.5


RUNGS = [Rung(n, _power(n), 0.01) for n in (50, 100, 200, 400)]


def test_a_curve_passes_what_was_measured_and_its_band_grows_beyond():
    curve = fit_curve(RUNGS)
    middle, low, high = curve.band([50, 400, 1600])
    assert middle[:2] == pytest.approx([0.4, _power(400)], abs=0.03)
    assert low[2] < _power(1600) < high[2]
    assert high[2] - low[2] > 1.5 * (high[1] - low[1])


def test_a_late_bloomer_may_still_rise():
    flat = fit_curve([Rung(50, 0.10, 0.02), Rung(100, 0.11, 0.02), Rung(200, 0.14, 0.02)], chance=0.1)
    assert np.quantile(flat.values([800])[:, 0], 0.9) > 0.22


def test_break_even_labels_hold_the_true_crossing_and_know_never():
    curve = fit_curve(RUNGS)
    found = break_even(curve, _power(1000), available=400)
    assert found.low <= 1000 and (found.high is None or found.high >= 1000)
    assert found.available < 0.35
    never = break_even(curve, 0.999, available=400)
    assert never.median is None and never.never > 0.5
    at_once = break_even(curve, 0.2, available=400)
    assert at_once.median <= 50 and at_once.available == 1.0


def test_the_gain_of_more_labels_shrinks_as_the_curve_flattens():
    rising = gain(fit_curve(RUNGS[:2]), 100)
    flat = gain(fit_curve([Rung(n, 0.8, 0.005) for n in (50, 100, 200, 400)]), 100)
    assert rising[0] > 0.03 > flat[0] >= -0.01
    assert rising[1] < rising[0] < rising[2]


def test_a_wider_guard_widens_the_band_around_the_same_middle():
    narrow, wide = (fit_curve(RUNGS, guard=guard).band([1600])[:, 0] for guard in (1.0, 2.0))
    assert wide[2] - wide[1] > 1.3 * (narrow[2] - narrow[1])
    assert wide[0] == pytest.approx(narrow[0], abs=0.02)


def test_a_curve_without_a_rung_is_refused():
    with pytest.raises(ValueError, match="rung"):
        fit_curve([])


def test_nothing_is_foretold_beyond_four_times_the_labels():
    found = break_even(fit_curve(RUNGS), _power(3200), available=400)
    assert found.horizon == 1600 and found.median is None and found.high is None
    assert found.never > 0.5, "3,200 labels would do, but farther than 1,600 is not foretold"


def test_a_curve_that_is_told_is_the_one_that_was_fitted():
    rungs = [
        {"labels": n, "value": _power(n), "low": _power(n) - 0.04, "high": _power(n) + 0.04} for n in (50, 100, 400)
    ]
    first, again, other, unlucky = (
        told_curve({"rungs": rungs, "chance": chance, "seed": seed}).band([800, 1600])
        for chance, seed in ((0.3, 5), (0.3, 5), (0.0, 5), (0.3, 6))
    )
    assert (first == again).all() and not (first == other).all() and not (first == unlucky).all()


def test_a_point_of_score_has_a_price_where_labels_have_one_and_bring_something():
    rising = fit_curve(RUNGS[:3])
    found = priced_gain(rising, 200, 0.5)
    assert found["usd"] == 100.0 and found["usd_per_point"]["value"] == pytest.approx(1.0 / found["value"], rel=1e-3)
    assert found["usd_per_point"]["low"] == pytest.approx(1.0 / found["high"], rel=1e-3)
    assert found["usd_per_point"]["low"] < found["usd_per_point"]["value"] < (found["usd_per_point"]["high"] or 1e9)
    free = priced_gain(rising, 200, 0.0)
    assert free["usd"] is free["usd_per_point"] is None and free["value"] == found["value"]
    falling = fit_curve([Rung(n, 0.999, 0.005) for n in (50, 100, 200, 400)])
    flat = priced_gain(falling, 100, 0.5)
    assert flat["usd"] == 50.0 and (flat["usd_per_point"] is None or flat["usd_per_point"]["high"] is None)
