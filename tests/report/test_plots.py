"""Plots: every coordinate is a number inside the drawing, and says what the report says."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest
from sample import around, report, trial

from whichway.report.plots.calibration import draw_calibration, share_interval
from whichway.report.plots.confusion import draw_confusion
from whichway.report.plots.cost import draw_cost
from whichway.report.plots.growth import draw_growth
from whichway.report.plots.naming import Named, draw_names
from whichway.report.plots.scores import draw_scores, score_domain
from whichway.report.plots.spend import draw_spend
from whichway.report.plots.svg import NARROW, WIDE, Box, log_ticks, ticks, width_of
from whichway.report.plots.total import draw_total
from whichway.report.reading import Report, measured

LINE = ("x1", "x2", "y1", "y2")


def every_plot(of: Report) -> list[str]:
    """Draw all there is to draw, for a page and for a phone."""
    drawn = [draw(of, width) for draw in (draw_scores, draw_cost, draw_total) for width in (WIDE, NARROW)]
    drawn += [draw_confusion(of), *draw_calibration(of), *draw_growth(of), *draw_spend(of)]
    drawn += draw_spend(of, NARROW)
    return [one for one in drawn if one]


def way(name: str, value: float, cost: float | None, n: int = 100) -> dict[str, Any]:
    """Return a measured trial."""
    return trial(name, validation=around(value, n), use={"usd_per_1000": cost, "p95_ms": 1.0})


def odd_reports() -> Iterator[tuple[str, Report]]:
    """Yield reports whose numbers are at the edge of what can be drawn."""
    yield "sample", report()
    yield "nothing", {}
    yield "one way", report(trials=[way("a", 0.5, 0.1)])
    yield "all free", report(trials=[way("a", 0.5, 0.0), way("b", 0.6, 0.0)])
    yield "perfect", report(trials=[way("a", 1.0, 1e-9), way("b", 0.0, 1e6)])
    yield ("no interval", report(trials=[trial("a", validation={"value": 0.5}, use={"usd_per_1000": 1})]))
    yield ("not finite", report(trials=[trial("a", validation={"value": 0.5, "low": math.nan, "high": math.inf})]))
    yield "negative cost", report(trials=[way("a", 0.4, -1.0), way("b", 0.6, 2.0)])
    yield ("forty", report(trials=[way(f"a long name {i} of a way", 0.8 + i / 400, 0.01 + i / 1e4) for i in range(40)]))
    money = report(trials=[trial("a", validation={"value": -0.4, "low": -0.6, "high": -0.3, "n": 9})])
    money["task"]["metric"] = {"name": "cost_matrix", "bounds": [-5, 0], "is_mean": True}
    yield "money", money
    yield ("zero spend", report(spend_by=[{"strategy": "a", "phase": "fit", "seconds": 0, "usd": 0, "tokens": 0}]))
    flat = {"labels": 100, "value": 0.5, "low": 0.5, "high": 0.5}
    yield "one point", report(labels=[{"strategy": "a", "rungs": [flat], "band": [flat, flat]}])
    yield "no size", report(labels=[{"strategy": "a", "rungs": [], "band": [{**flat, "labels": 0}] * 2}])
    yield "no labels", report(labels=[{"strategy": "a", "rungs": None, "band": [{"labels": 0}, {"value": 0.2}]}])
    bins = [{"low": 0.9, "high": 1.0, "n": 0, "confidence": 0.95, "accuracy": 1.0}]
    yield "empty bin", report(calibration={"probe": bins, "x": [{}], "y": None})


def numbers(value: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", value)]


@pytest.mark.parametrize(("name", "of"), list(odd_reports()), ids=lambda one: one if isinstance(one, str) else "")
def test_every_coordinate_is_finite_and_inside_the_drawing(name: str, of: Report) -> None:
    for drawn in every_plot(of):
        assert not re.search(r"\b(nan|inf)\b", drawn, re.IGNORECASE)
        root = ElementTree.fromstring(drawn)
        width, height = numbers(root.attrib["viewBox"])[2:]
        for one in root.iter():
            across = [float(one.attrib[key]) for key in ("x", "x1", "x2", "cx") if key in one.attrib]
            down = [float(one.attrib[key]) for key in ("y", "y1", "y2", "cy") if key in one.attrib]
            across += [across[0] + float(one.attrib["width"])] if one.tag == "rect" else []
            down += [down[0] + float(one.attrib["height"])] if one.tag == "rect" else []
            assert all(-0.1 <= x <= width + 0.1 for x in across), (name, one.attrib)
            assert all(-0.1 <= y <= height + 0.1 for y in down), (name, one.attrib)
            assert float(one.attrib.get("width", 1)) >= 0 and float(one.attrib.get("height", 1)) >= 0, one.attrib


def test_every_drawing_tells_a_screen_reader_what_it_shows_and_ids_are_unique() -> None:
    ids = []
    for drawn in every_plot(report()):
        root = ElementTree.fromstring(drawn)
        title, about = root[0], root[1]
        assert root.attrib["role"] == "img" and title.text and about.text
        assert root.attrib["aria-labelledby"] == f"{title.attrib['id']} {about.attrib['id']}"
        ids += [title.attrib["id"], about.attrib["id"]]
    assert len(ids) == len(set(ids))


def test_the_plot_of_scores_writes_every_interval_and_n() -> None:
    said = " ".join(ElementTree.fromstring(draw_scores(report())).itertext()).replace("\u00a0", " ")
    assert "0.881 (0.831\u20130.931), n = 160" in said and "0.146 (0.075\u20130.217), n = 96" in said
    assert "required: 0.850" in said and "within 0.02 of the best on validation" in said


def test_a_way_far_below_the_others_does_not_squeeze_them() -> None:
    low, high = score_domain(report(), measured(report()))
    assert low > 0.5 and high <= 1.0
    assert low <= min(one["validation"]["low"] for one in report()["trials"][:6])


def test_a_higher_score_is_further_right_and_a_dearer_way_too() -> None:
    two = report(trials=[way("worse", 0.6, 0.01), way("better", 0.7, 1.0)], recommendation=None)
    points = [
        (float(one.attrib["cx"]), float(one.attrib["cy"]))
        for one in ElementTree.fromstring(draw_cost(two)).iter("circle")
    ]
    (better, high), (worse, low) = points  # the better way is drawn first
    assert better > worse and high < low


def test_names_cover_neither_points_nor_each_other() -> None:
    points = [Named(200 + 7 * (i % 6), 100 + 9 * i, f"way number {i}") for i in range(12)]
    drawn = [
        ElementTree.fromstring(one) for one in draw_names(points, Box(0, 0, 600, 300), []) if one.startswith("<text")
    ]
    assert len(drawn) == 12
    boxes = []
    for one in drawn:
        x, y = float(one.attrib["x"]), float(one.attrib["y"])
        boxes.append(Box(x, y - 12, x + width_of(str(one.text), 12.5), y + 3.9))
    for i, box in enumerate(boxes):
        assert not any(box.meets(other) for other in boxes[:i])
        assert not any(box.meets(Box(p.x - 5, p.y - 5, p.x + 5, p.y + 5)) for p in points)
        assert box.lies_in(Box(-1, -1, 601, 301))


def test_the_matrix_holds_right_answers_as_what_is_left_of_a_labels_rows() -> None:
    root = ElementTree.fromstring(draw_confusion(report()))
    shown = [int(one.text or "") for one in root.iter("text") if (one.text or "").isdigit()]
    assert sum(shown) == sum(one["n"] for one in report()["per_class"])
    assert "account taken for other 3 times" in "".join(root.itertext())


def test_there_is_no_matrix_for_many_labels_several_labels_or_no_winner() -> None:
    many, several = report(), report()
    many["task"]["output"]["labels"] = [str(i) for i in range(21)]
    several["task"]["output"]["multi"] = True
    none = report(recommendation={"strategy": None})
    assert [draw_confusion(one) for one in (many, several, none)] == ["", "", ""]


def test_money_is_drawn_only_where_it_tells_more_than_time() -> None:
    assert len(draw_spend(report())) == 1
    dear = report()
    dear["spend_by"][0]["usd"] = 5.0
    assert len(draw_spend(dear)) == 2


def test_growth_shows_measured_points_a_line_that_is_dashed_beyond_them_and_the_band_around_it() -> None:
    told, drawn = report()["labels"], [ElementTree.fromstring(one) for one in draw_growth(report())]
    assert [one.find("text").text for one in drawn] == ["probe", "encoder", "classic <b>&"]  # type: ignore[union-attr]
    for way, root in zip(told, drawn, strict=True):
        points = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.iter("circle")]
        assert len(points) == len(way["rungs"]) == 4
        (band,) = (numbers(one.attrib["points"]) for one in root.iter("polygon"))
        across, down = band[::2], band[1::2]
        assert len(across) == 2 * len(way["band"]) == 16
        high, low = list(zip(across[:8], down[:8])), list(zip(across[8:], down[8:]))[::-1]
        for i, (x, y) in enumerate(points):  # labels double from point to point, so they are evenly set apart
            assert high[i][0] == low[i][0] == pytest.approx(x, abs=0.1) and high[i][1] < y < low[i][1]
        steps = [b[0] - a[0] for a, b in zip(points, points[1:])]
        assert steps == pytest.approx([steps[0]] * 3, abs=0.2)
        lines = [one.attrib for one in root.iter("line") if "grid" not in one.attrib["class"]]
        assert ["l-dashed" in one["class"] for one in lines] == [False] * 3 + [True] * 4
        assert float(lines[3]["x1"]) == pytest.approx(points[-1][0], abs=0.1)
    first, second = (" ".join(one.itertext()) for one in drawn[:2])
    assert "896 labels: 0.910 (0.750 to 1.000)" in first and "Score of encoder by number of labels" in second
    heights = [numbers(next(one.iter("circle")).attrib["cy"])[0] for one in drawn]
    assert heights[1] > heights[0] > heights[2], "all panels have the same scale, and what scores less is lower"


def test_only_the_recommended_way_is_set_off_and_growth_is_drawn_for_nine_ways_at_most() -> None:
    winners = [bool([one for one in ElementTree.fromstring(drawn).iter("circle") if one.attrib["class"] == "f-accent"])
               for drawn in draw_growth(report())]  # fmt: skip
    assert winners == [True, False, False]
    assert len(draw_growth(report(labels=report()["labels"] * 4))) == 9 and draw_growth(report(labels=[])) == []


def test_the_interval_of_a_share_is_wilsons() -> None:
    low, high = share_interval(0.9, 10)  # Newcombe 1998 gives the method; values by hand
    assert low == pytest.approx(0.5958, abs=1e-3) and high == pytest.approx(0.9821, abs=1e-3)
    assert share_interval(0.0, 20)[0] == 0.0 and share_interval(1.0, 20)[1] == 1.0
    assert share_interval(None, 10) == share_interval(0.5, 0) == (None, None)


def test_ticks_are_round_few_and_inside() -> None:
    for low, high in ((0.0, 1.0), (0.623, 0.98), (-4.2, 0.0), (0.8, 0.8001)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 7 and all(low - 1e-9 <= one <= high + 1e-9 for one in found)
    assert ticks(1.0, 1.0) == [1.0]
    for low, high in ((1e-9, 1e6), (0.02, 0.3), (0.9, 1.4)):
        assert all(low <= one <= high for one in log_ticks(low, high)) and len(log_ticks(low, high)) <= 8
