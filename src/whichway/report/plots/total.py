"""Total cost over the volume: one line per way, the volume asked for, and where a way costs the same as the recommended one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from whichway.report import words
from whichway.report.plots.svg import (
    WIDE,
    Box,
    Scale,
    drawing,
    fitted,
    legend,
    line,
    linear,
    log_ticks,
    tag,
    text,
    width_of,
)
from whichway.report.reading import Report, Row, at, mapping, rows, winner_name
from whichway.study.cost import Cost

MOST = 6  # ways in one plot; the table has them all
AROUND = 30.0  # times and parts of the volumes that matter, which are shown to either side
DECADES = 1e6  # of dollars that are shown; what costs less runs along the bottom
FARTHEST = 1e4  # times today's volume, beyond which a crossing is left to the table
POINTS = 60
LEAST = 1e-6  # dollars: what costs less lies on the floor
APART = 17.0  # between two names


@dataclass(frozen=True)
class _Way:
    name: str
    cost: Cost
    row: Row
    css: str


@dataclass(frozen=True)
class _Frame:
    area: Box
    across: Scale
    up: Scale
    volumes: tuple[float, float]
    dollars: tuple[float, float]
    months: float
    refreshes: int

    def x(self, volume: float) -> float:
        return self.across(math.log10(max(volume, 1e-9)))

    def y(self, usd: float) -> float:
        return self.up(math.log10(max(usd, 1e-12)))

    def total(self, way: _Way, volume: float) -> float:
        return way.cost.total(volume, self.months, self.refreshes)


def draw_total(report: Report, width: float = WIDE) -> str:
    """Return the plot, or nothing where nothing has a price."""
    ways = _ways(report)
    if not ways:
        return ""
    than = "recommended" if winner_name(report) else "the cheapest"
    meanings = [("f-open", f"same cost as {than}, with 95% interval")]
    marks, height = legend(0, 12, width, meanings) if _crossings(ways, report) else ("", 0.0)
    frame = _frame(report, ways, width, height + 30)
    names, ties = _names(ways, frame, width)
    parts = [marks, _ground(frame, width), _asked(report, frame), *(_curve(one, frame) for one in reversed(ways))]
    parts += [*ties, *_marks(ways, frame, report), *names]
    months = words.three(frame.months)
    title = f"Total cost in {months} months by the number of requests"
    return drawing((width, frame.area.bottom + 44), f"total-{int(width)}", (title, _about(ways, frame, report)), *parts)


def _ways(report: Report) -> list[_Way]:
    """Return the ways to show: the recommended one first, then finalists, then the cheapest."""
    finalists = {one.get("strategy") for one in rows(report, "trials") if one.get("finalist")}
    against, winner = at(report, "cost", "against"), winner_name(report)
    known = [(one, cost) for one in rows(report, "cost", "ways") if (cost := _cost(one)) is not None]
    known.sort(key=lambda pair: (pair[0].get("strategy") != against, pair[0].get("strategy") not in finalists))
    found = []
    for i, (one, cost) in enumerate(known[:MOST]):
        css = "l-win" if one.get("strategy") == winner else f"l-{i or MOST}"
        found.append(_Way(words.visible(one.get("strategy") or "?"), cost, one, css))
    return found


def _cost(one: Row) -> Cost | None:
    upfront, each = (words.number(at(one, key, "value")) for key in ("upfront_usd", "per_1000_usd"))
    if upfront is None or each is None:
        return None
    refresh, hosting = (max(0.0, words.number(one.get(key)) or 0.0) for key in ("refresh_usd", "hosting_usd_per_month"))
    carries = words.number(one.get("carries_per_month"))
    return Cost(max(0.0, upfront), max(0.0, each), refresh, hosting, carries if carries and carries > 0 else math.inf)


def _crossings(ways: Sequence[_Way], report: Report) -> list[tuple[_Way, float, float, float | None]]:
    """Return (way, volume, low, high) of each way that is shown and crosses the one that others are held against."""
    found, now = [], _volume(report)
    for one in ways:
        volume, low, high = (words.number(at(one.row, "break_even", key)) for key in ("requests", "low", "high"))
        if volume is not None and now / FARTHEST <= volume <= now * FARTHEST:
            is_open = low is not None and high is None
            found.append((one, volume, volume if low is None else low, high if high is not None or is_open else volume))
    return found


def _volume(report: Report) -> float:
    found = words.number(at(report, "cost", "requests"))
    return min(found, 1e15) if found and found >= 1 else 1000.0


def _frame(report: Report, ways: Sequence[_Way], width: float, top: float) -> _Frame:
    now = _volume(report)
    volumes = [now, *(one[1] for one in _crossings(ways, report))]
    low, high = max(1.0, min(volumes) / AROUND), max(volumes) * AROUND
    said = mapping(report, "cost")
    months = max(0.0, words.number(said.get("horizon_months")) or 0.0)
    times = int(min(1e4, max(0.0, words.number(said.get("refreshes")) or 0.0)))
    totals = [one.cost.total(at_, months, times) for one in ways for at_ in (low, now, high)]
    known = [one for one in totals if LEAST <= one < 1e18] or [LEAST, 1.0]
    most = max(known) * 1.5
    least = max(min(known) / 1.5, most / DECADES)
    wide = width >= 600
    names = max(width_of(one.name, 12.5) * 1.08 for one in ways)
    right = width - min(names + 20, 190 if wide else 124)
    area = Box(64 if wide else 54, top, right, top + (340 if wide else 300))
    across = linear(math.log10(low), math.log10(high), area.left, area.right)
    up = linear(math.log10(least), math.log10(most), area.bottom, area.top)
    return _Frame(area, across, up, (low, high), (least, most), months, times)


def _ground(frame: _Frame, width: float) -> str:
    area, parts = frame.area, []
    for tick in log_ticks(*frame.dollars, most=7):
        parts.append(line(area.left, frame.y(tick), area.right, frame.y(tick), "grid"))
        said = _short(tick, "$") if tick >= 1 else f"${words.three(tick)}"
        parts.append(text(area.left - 8, frame.y(tick) + 4, said, "t s m", "end"))
    for tick in log_ticks(*frame.volumes, most=8 if width >= 600 else 4):
        parts.append(line(frame.x(tick), area.top, frame.x(tick), area.bottom, "grid"))
        parts.append(text(frame.x(tick), area.bottom + 18, _short(tick), "t s m", "middle"))
    middle, months = (area.left + area.right) / 2, words.three(frame.months)
    parts.append(text(middle, area.bottom + 38, f"requests in {months} months (log scale)", "t s m", "middle"))
    parts.append(text(0, area.top - 12, f"US dollars in {months} months (log scale)", "t s m"))
    return "".join(parts)


def _short(value: float, unit: str = "") -> str:
    """Return 2,000 as '2,000', 20,000 as '20 k' and 5,000,000 as '5 M'."""
    for size, name in ((1e12, " tn"), (1e9, " bn"), (1e6, " M"), *(((1e3, " k"),) if value >= 1e4 else ())):
        if value >= size:
            return f"{unit}{words.three(value / size)}{name}"
    return f"{unit}{words.three(value)}"


def _asked(report: Report, frame: _Frame) -> str:
    x, said = frame.x(_volume(report)), f"asked for: {words.count(_volume(report))}"
    wide = width_of(said, 12.5)
    place = x + 5 if x + 5 + wide <= frame.area.right else x - 5 - wide
    mark = line(x, frame.area.top, x, frame.area.bottom, "need")
    return mark + text(place, frame.area.top + 12, said, "t s need-t halo")


def _curve(one: _Way, frame: _Frame) -> str:
    low, high = (math.log10(end) for end in frame.volumes)
    points = [10 ** (low + (high - low) * i / POINTS) for i in range(POINTS + 1)]
    drawn = " ".join(f"{frame.x(at_):.1f},{frame.y(frame.total(one, at_)):.1f}" for at_ in points)
    return tag("polyline", points=drawn, css=f"l-way {one.css}")


def _marks(ways: Sequence[_Way], frame: _Frame, report: Report) -> list[str]:
    parts = []
    for one, volume, low, high in _crossings(ways, report):
        x, y = frame.x(volume), frame.y(frame.total(one, volume))
        left, right = frame.x(low), frame.area.right if high is None else frame.x(high)
        if right - left > 1:
            parts.append(line(left, y, right, y, "l-doubt"))
            ends = [left] if high is None else [left, right]
            parts += [line(end, y - 5, end, y + 5, "l-doubt") for end in ends]
        parts.append(tag("circle", cx=x, cy=y, r=5, css="f-open"))
    return parts


def _names(ways: Sequence[_Way], frame: _Frame, width: float) -> tuple[list[str], list[str]]:
    """Return the names beside the right ends of their lines, moved apart where lines meet, and what ties them to their ends."""
    ends = sorted(((frame.y(frame.total(one, frame.volumes[1])), one) for one in ways), key=lambda pair: pair[0])
    places: list[float] = []
    for y, _ in ends:
        places.append(max(y, places[-1] + APART) if places else max(y, frame.area.top + 4))
    over = places[-1] - (frame.area.bottom + 4)
    if over > 0:
        places[-1] -= over
        for i in range(len(places) - 2, -1, -1):
            places[i] = min(places[i], places[i + 1] - APART)
    names, ties = [], []
    for (y, one), place in zip(ends, places, strict=True):
        said = fitted(one.name, 12.5 * (1.08 if one.css == "l-win" else 1), width - frame.area.right - 14)
        names.append(text(frame.area.right + 12, place + 4, said, "t s b" if one.css == "l-win" else "t s"))
        ties.append(line(frame.area.right, y, frame.area.right + 9, place, f"l-way thin {one.css}"))
    return names, ties


def _about(ways: Sequence[_Way], frame: _Frame, report: Report) -> str:
    now, against = _volume(report), words.visible(at(report, "cost", "against") or "?")
    said = [
        f"At {words.count(now)} requests: "
        + ", ".join(f"{one.name} {words.money(frame.total(one, now))}" for one in ways)
    ]
    for one, volume, low, high in _crossings(ways, report):
        upto = "no upper end" if high is None else words.count(high)
        around = f" (95% interval {words.count(low)} to {upto})" if high != low else ""
        said.append(f"{one.name} costs the same as {against} at {words.count(volume)} requests{around}")
    return ". ".join(said) + "."
