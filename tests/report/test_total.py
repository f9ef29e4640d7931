"""The plot of total cost and the table beside it: what is drawn is what the report says, names do not cover each other."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import pytest
from sample import report
from test_plots import numbers

from whichway.report.costs import over_time
from whichway.report.plots.svg import NARROW, WIDE
from whichway.report.plots.total import draw_total


def drawn(of: dict[str, Any], width: float = WIDE) -> ElementTree.Element:
    return ElementTree.fromstring(draw_total(of, width))


def costs(*ways: dict[str, Any], **more: Any) -> dict[str, Any]:
    said = report()["cost"]
    return report(cost={**said, "ways": list(ways) or said["ways"], **more})


def one(name: str, start: float, per_1000: float, **more: Any) -> dict[str, Any]:
    return {"strategy": name, "upfront_usd": {"value": start}, "per_1000_usd": {"value": per_1000}, **more}


ODD = {
    "all free": costs(one("a", 0, 0), one("b", 0, 0)),
    "no volume": costs(requests=0),
    "no months": costs(horizon_months=None, refreshes=None),
    "huge": costs(one("a", 1e15, 1e9), one("b", 0, 1e-12)),
    "hosted": costs(one("a", 5, 0, hosting_usd_per_month=30, carries_per_month=1000), one("probe", 50, 0.1)),
    "far": costs(one("probe", 5, 0), one("b", 0, 1, break_even={"requests": 1e300, "low": 1, "high": None})),
    "negative": costs(one("a", -5, -1), one("probe", 1, 1)),
    "words": costs(one("a", "x", None), one("probe", True, math.nan), one("b", 1, 1, break_even="x", cheaper=3)),
    "nothing": report(cost={}),
    "older": {key: value for key, value in report().items() if key != "cost"},
}


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", list(ODD))
def test_odd_costs_are_drawn_inside_or_not_at_all(name: str, width: float) -> None:
    said = draw_total(ODD[name], width)
    over_time(ODD[name])
    if not said:
        assert name in ("nothing", "older")
        return
    root = ElementTree.fromstring(said)
    _, _, right, bottom = numbers(root.attrib["viewBox"])
    for curve in root.iter("polyline"):
        points = [tuple(map(float, pair.split(","))) for pair in curve.attrib["points"].split()]
        assert all(0 <= x <= right and 0 <= y <= bottom for x, y in points)


def test_of_each_way_there_is_one_line_and_it_never_falls() -> None:
    root = drawn(report())
    lines = list(root.iter("polyline"))
    assert len(lines) == 6
    for curve in lines:
        heights = [float(pair.split(",")[1]) for pair in curve.attrib["points"].split()]
        assert all(b <= a + 0.1 for a, b in zip(heights, heights[1:], strict=False))
    assert sum("l-win" in curve.attrib["class"] for curve in lines) == 1


def test_a_crossing_is_marked_on_both_lines_with_its_interval() -> None:
    root = drawn(
        costs(one("probe", 100, 1.0), one("b", 0, 2.0, break_even={"requests": 100_000, "low": 50_000, "high": 2e5}))
    )
    (mark,) = root.iter("circle")
    x, y = float(mark.attrib["cx"]), float(mark.attrib["cy"])
    for curve in root.iter("polyline"):
        points = [tuple(map(float, pair.split(","))) for pair in curve.attrib["points"].split()]
        near = min(points, key=lambda point: abs(point[0] - x))
        assert abs(near[1] - y) < 6
    across = next(line for line in root.iter("line") if line.attrib["class"] == "l-doubt")
    left, right = float(across.attrib["x1"]), float(across.attrib["x2"])
    assert left < x < right and (x - left) == pytest.approx(right - x, abs=0.5), "half and twice, on a logarithmic axis"


def test_an_interval_without_an_upper_end_runs_to_the_edge() -> None:
    root = drawn(
        costs(one("probe", 100, 1.0), one("b", 0, 2.0, break_even={"requests": 1e5, "low": 5e4, "high": None}))
    )
    whisker = [line for line in root.iter("line") if line.attrib["class"] == "l-doubt"]
    edge = max(float(line.attrib["x2"]) for line in root.iter("line") if line.attrib["class"] == "grid")
    assert float(whisker[0].attrib["x2"]) >= edge and len(whisker) == 2


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_names_of_lines_do_not_cover_each_other(width: float) -> None:
    same = costs(one("probe", 100, 1.0), *(one(f"way number {i}", 100 + i / 100, 1.0) for i in range(5)))
    for of in (report(), same):
        names = [text for text in drawn(of, width).iter("text") if text.attrib["class"] in ("t s", "t s b")]
        heights = sorted(float(text.attrib["y"]) for text in names if float(text.attrib["x"]) > width / 2)
        assert len(heights) == 6 and all(b - a >= 16 for a, b in zip(heights, heights[1:], strict=False))


def test_a_screen_reader_hears_totals_and_crossings() -> None:
    said = "".join(drawn(report())[1].itertext())
    assert "At 120,000 requests: probe $560" in said
    assert "prompt-few costs the same as probe at 1,030,000 requests (95% interval 800,000 to 1,400,000)" in said
    assert "no upper end" in said


def test_the_table_says_from_or_up_to_which_volume_a_way_costs_less() -> None:
    (table,) = over_time(report()).tables
    last = {row[0].text: (row[-1].text, row[-1].small) for row in table.rows}
    assert last["majority"][0] == "never" and last["probe"] == ("-", "")
    assert last["prompt-few"] == ("up to 1,030,000 requests", "95%: 800,000 to 1,400,000")
    assert last["nearest"] == ("from 10,000,000 requests on", "95%: 2,000,000 and no upper end")
    both = one("b", 1, 1, cheaper=[{"from": 0, "to": 5}, {"from": 9, "to": 12}, {"from": 20, "to": None}])
    (table,) = over_time(costs(one("probe", 1, 1), both, one("c", 1, 1, cheaper=[{"from": 0, "to": None}]))).tables
    assert [row[-1].text for row in table.rows] == [
        "-",
        "up to 5 requests and from 9 to 12 requests and from 20 requests on",
        "at any volume",
    ]


def test_columns_that_nobody_pays_are_left_out() -> None:
    heads = [column.name for column in over_time(costs(one("probe", 1, 1))).tables[0].columns]
    assert heads == ["way", "to start", "per 1,000", "in 12 months", "costs less than probe"]
    rented = one("probe", 1, 1, hosting_usd_per_month=5, refresh_usd=3)
    heads = [column.name for column in over_time(costs(rented)).tables[0].columns]
    assert heads[3:5] == ["hosting a month", "each refresh"]
