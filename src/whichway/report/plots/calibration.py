"""Stated confidence against the share of right answers: one small plot per finalist."""

from __future__ import annotations

import math
from typing import Any

from whichway.report import words
from whichway.report.plots.svg import drawing, fitted, line, linear, tag, text
from whichway.report.reading import Report, Row, mapping, rows, winner_name

WIDTH, HEIGHT = 300, 318
MOST = 9


def draw_calibration(report: Report) -> list[str]:
    """Return one plot per finalist that states confidences."""
    found = mapping(report, "calibration")
    return [
        _panel(str(name), rows(found, name), str(name) == winner_name(report), i)
        for i, name in enumerate(found)
        if rows(found, name)
    ][:MOST]


def share_interval(share: Any, n: Any) -> tuple[float | None, float | None]:
    """Return the 95% interval of a share of n rows (Wilson, 1927), or (None, None)."""
    p, size = words.number(share), words.number(n)
    if p is None or size is None or size <= 0 or not 0 <= p <= 1:
        return None, None
    z = 1.959964
    middle, half = (p + z * z / (2 * size), z * math.sqrt(p * (1 - p) / size + z * z / (4 * size * size)))
    return max(0.0, (middle - half) / (1 + z * z / size)), min(1.0, (middle + half) / (1 + z * z / size))


def _panel(name: str, bins: list[Row], is_winner: bool, order: int) -> str:
    left, right, top, bottom = 40, WIDTH - 10, 34, 252
    across, up = linear(0, 1, left, right), linear(0, 1, bottom, top)
    shown = words.visible(name)
    parts = [text(left, 18, fitted(shown, 14, right - left), "t b" if is_winner else "t")]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts += [line(left, up(tick), right, up(tick), "grid"), line(across(tick), top, across(tick), bottom, "grid")]
        if tick != 0.25 and tick != 0.75:
            parts += [text(left - 7, up(tick) + 4, f"{tick:g}", "t s m", "end")]
            parts += [text(across(tick), HEIGHT - 22, f"{tick:g}", "t s m", "middle")]
    parts.append(line(across(0), up(0), across(1), up(1), "need"))
    colour = "win" if is_winner else "dark"
    most = max((words.number(one.get("n")) or 0 for one in bins), default=0) or 1
    for one in bins:
        parts.append(_bin(one, across, up, colour, (words.number(one.get("n")) or 0) / most))
    parts += [
        text((left + right) / 2, HEIGHT - 4, "stated confidence", "t s m", "middle"),
        text(left + 5, top + 13, "right answers", "t s m halo"),
    ]
    about = "; ".join(
        f"{words.score(one.get('confidence'))} stated, {words.score(one.get('accuracy'))} right, {words.sample(one)}"
        for one in bins
    )
    return drawing((WIDTH, HEIGHT), f"calibration-{order}", (f"Calibration of {shown}", about), *parts)


def _bin(one: Row, across: Any, up: Any, colour: str, share: float) -> str:
    """Draw a bin as a point with its interval, and below the axis a bar as high as its share of rows."""
    stated, right = (words.number(one.get("confidence")), words.number(one.get("accuracy")))
    if stated is None or right is None:
        return ""
    low, high = share_interval(right, one.get("n"))
    x, parts = across(stated), []
    if low is not None and high is not None:
        parts.append(line(x, up(low), x, up(high), "l-win" if colour == "win" else "l-slim"))
    start, end = words.number(one.get("low")), words.number(one.get("high"))
    first, last = (x - 4, x + 4) if start is None or end is None else (across(start) + 1, across(end) - 1)
    tall = 18 * share
    parts.append(tag("rect", x=first, y=280 - tall, width=max(1.0, last - first), height=tall, css="f-light"))
    return "".join(
        [*parts, tag("circle", cx=x, cy=up(right), r=4.5, css=f"f-{'accent' if colour == 'win' else colour}")]
    )
