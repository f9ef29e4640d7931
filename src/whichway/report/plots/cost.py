"""Quality against the cost of 1,000 requests: which ways no other one beats in both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from whichway.report import words
from whichway.report.plots.naming import Named, draw_names
from whichway.report.plots.scores import score_domain
from whichway.report.plots.svg import WIDE, Box, Scale, drawing, legend, line, linear, log_ticks, tag, text, ticks
from whichway.report.reading import Report, Row, at, common_part, cost_of, front, measured, metric, metric_name
from whichway.report.reading import winner_name as recommended

MOST = 60  # ways in one plot; the table has them all
FREE = 44  # width of the lane for ways that cost nothing, which a logarithm cannot place
MEANINGS = (
    ("f-accent", "recommended"),
    ("f-dark", "no way is both better and cheaper"),
    ("f-open", "another way is better and no dearer"),
)


@dataclass(frozen=True)
class _Point:
    name: str
    css: str
    x: float
    y: float
    low: float
    high: float
    is_off: bool


@dataclass(frozen=True)
class _Frame:
    area: Box
    across: Scale
    up: Scale
    costs: tuple[float, float]
    scores: tuple[float, float]
    has_free: bool


def draw_cost(report: Report, width: float = WIDE) -> str:
    """Return the plot, or nothing where no way has both a score and a price."""
    part = common_part(report)
    found = [one for one in measured(report) if cost_of(one) is not None and _value(one, part) is not None][:MOST]
    if not found:
        return ""
    marks, height = legend(0, 12, width, MEANINGS if recommended(report) else MEANINGS[1:])
    frame = _frame(report, found, width, height + 26)
    points = [_point(one, frame, report, part) for one in found]
    steps, treads = _front(points)
    needs, need_box = _needs(report, frame)
    named = [Named(one.x, one.y, one.name + (" ▾" if one.is_off else ""), *_importance(one)) for one in points]
    whiskers = [Box(one.x - 2, one.high, one.x + 2, one.low) for one in points]
    names = draw_names(named, frame.area, [*treads, *whiskers, *need_box])
    dots = [tag("circle", cx=one.x, cy=one.y, r=6 if "accent" in one.css else 5, css=one.css) for one in points]
    parts = [marks, _ground(report, frame, width), needs, steps, *map(_whisker, points), *dots, *names]
    title = f"{metric_name(report)} on {part} against cost per 1,000 requests"
    size = width, frame.area.bottom + 44
    return drawing(size, f"worth-{int(width)}", (title, _about(found, report, part)), *parts)


def _frame(report: Report, found: list[Row], width: float, top: float) -> _Frame:
    costs = [cost for one in found if (cost := cost_of(one))]
    has_free = any(cost_of(one) == 0 for one in found)
    low, high = (min(costs), max(costs)) if costs else (0.01, 1.0)
    most = _most(report)
    if most and low / 100 < most < high * 100:
        low, high = min(low, most), max(high, most)
    pad = max(0.25, math.log10(high / low) * 0.06)
    low, high = low * 10**-pad, high * 10**pad
    area = Box(52 if width >= 600 else 44, top, width - 12, top + (380 if width >= 600 else 330))
    logs = linear(math.log10(low), math.log10(high), area.left + (FREE if has_free else 0), area.right)
    scores = score_domain(report, found)

    def across(cost: float) -> float:
        return area.left + FREE / 2 if cost <= 0 else logs(math.log10(cost))

    return _Frame(area, across, linear(*scores, area.bottom, area.top), (low, high), scores, has_free)


def _point(trial: Row, frame: _Frame, report: Report, part: str) -> _Point:
    is_front = any(one is trial for one in front(report))
    is_winner = bool(recommended(report)) and trial.get("strategy") == recommended(report)
    css = ("f-accent" if is_winner else "f-dark" if is_front else "f-open") + (" front-way" if is_front else "")
    value = _value(trial, part) or 0.0
    low, high = (words.number(at(trial, part, end)) for end in ("low", "high"))
    ends = (frame.up(value if low is None else low), frame.up(value if high is None else high))
    name, x = (words.visible(trial.get("strategy") or "?"), frame.across(cost_of(trial) or 0.0))
    return _Point(name, css, x, frame.up(value), *ends, value < frame.scores[0])


def _ground(report: Report, frame: _Frame, width: float) -> str:
    area, parts = frame.area, []
    levels = ticks(*frame.scores, most=6)
    for tick, said in zip(levels, words.on_axis(levels, metric(report)), strict=True):
        parts.append(line(area.left, frame.up(tick), area.right, frame.up(tick), "grid"))
        parts.append(text(area.left - 8, frame.up(tick) + 4, said, "t s m", "end"))
    for tick in log_ticks(*frame.costs, most=8 if width >= 600 else 4):
        parts.append(line(frame.across(tick), area.top, frame.across(tick), area.bottom, "grid"))
        said = words.money(tick).removesuffix(".00") if tick >= 1 else f"${words.three(tick)}"
        parts.append(text(frame.across(tick), area.bottom + 18, said, "t s m", "middle"))
    if frame.has_free:
        parts.append(text(frame.across(0), area.bottom + 18, "$0", "t s m", "middle"))
        parts.append(line(area.left + FREE, area.top, area.left + FREE, area.bottom, "rule"))
    middle = (area.left + area.right) / 2
    parts.append(text(middle, area.bottom + 38, "US dollars per 1,000 requests (log scale)", "t s m", "middle"))
    parts.append(text(0, area.top - 10, f"{metric_name(report)} on {common_part(report)}", "t s m"))
    return "".join(parts)


def _needs(report: Report, frame: _Frame) -> tuple[str, list[Box]]:
    """Return the lines of what was required, and the ground which their words take."""
    area, parts, boxes = frame.area, [], []
    required = words.number(at(report, "task", "constraints", "min_score"))
    if required is not None and frame.scores[0] <= required <= frame.scores[1]:
        y, said = (frame.up(required), f"required: {words.fine(words.score(required, metric(report)))}")
        parts += [line(area.left, y, area.right, y, "need"), text(area.left + 4, y - 5, said, "t s need-t halo")]
        boxes += [Box(area.left, y - 18, area.left + 110, y - 1), Box(area.left, y - 1, area.right, y + 1)]
    most = _most(report)
    if most and frame.costs[0] <= most <= frame.costs[1]:
        x = frame.across(most)
        parts.append(line(x, area.top - 4, x, area.bottom, "need"))
        parts.append(text(min(x + 30, area.right), area.top - 10, f"at most {words.money(most)}", "t s need-t", "end"))
    return "".join(parts), boxes


def _front(points: list[_Point]) -> tuple[str, list[Box]]:
    """Draw the front as steps: between two ways there is nothing to be had but the cheaper one."""
    placed = sorted((one for one in points if "front-way" in one.css), key=lambda one: one.x)
    if len(placed) < 2:
        return "", []
    steps = f"M{placed[0].x:.1f} {placed[0].y:.1f}" + "".join(f"H{one.x:.1f}V{one.y:.1f}" for one in placed[1:])
    treads = [Box(a.x, a.y - 1, b.x, a.y + 1) for a, b in pairwise(placed)]
    return tag("path", d=steps, css="front"), treads


def _whisker(point: _Point) -> str:
    if point.is_off or point.low - point.high < 0.5:
        return ""
    return line(point.x, point.low, point.x, point.high, "l-win" if "accent" in point.css else "l-thin")


def _importance(point: _Point) -> tuple[str, int]:
    return ("b", 2) if "accent" in point.css else ("", 1 if "front-way" in point.css else 0)


def _about(found: list[Row], report: Report, part: str) -> str:
    said = []
    for one in found[:20]:
        price, score = (words.money(cost_of(one)), words.score(_value(one, part), metric(report)))
        said.append(f"{words.visible(one.get('strategy'))}: {price} for {score}")
    return "; ".join(said)


def _value(trial: Row, part: str) -> float | None:
    return words.number(at(trial, part, "value"))


def _most(report: Report) -> float | None:
    found = words.number(at(report, "task", "constraints", "max_cost_per_1000_usd"))
    return found if found and found > 0 else None
