"""Score against labels: measured points, and the forecast with its band, one small plot per trained way."""

from __future__ import annotations

import math
from itertools import pairwise

from whichway.report import words
from whichway.report.plots.svg import drawing, fitted, line, linear, log_ticks, tag, text, ticks
from whichway.report.reading import Report, Row, rows, winner_name

WIDTH, HEIGHT = 300, 240
MOST = 9


def draw_growth(report: Report) -> list[str]:
    """Return one plot per way whose growth was measured, all over the same scales."""
    every = [one for one in rows(report, "labels") if len(_band(one)) > 1][:MOST]
    values = [words.number(at.get(end)) for one in every for at in rows(one, "band") for end in ("low", "high")]
    known = [one for one in values if one is not None]
    if not known:
        return []
    low, high = max(0.0, min(known) - 0.02), min(1.0, max(known) + 0.02)
    return [
        _panel(one, (low, high), words.visible(one.get("strategy")) == winner_name(report), i)
        for i, one in enumerate(every)
    ]


def _panel(one: Row, ends: tuple[float, float], is_winner: bool, order: int) -> str:
    band = _band(one)
    left, right, top, bottom = 44, WIDTH - 10, 34, HEIGHT - 40
    first, last = band[0][0], band[-1][0]
    place, up = linear(math.log(first), math.log(last), left, right), linear(*ends, bottom, top)
    name = words.visible(one.get("strategy"))
    parts = [text(left, 18, fitted(name, 14, right - left), "t b" if is_winner else "t")]
    for tick in ticks(*ends, 4):
        parts += [
            line(left, up(tick), right, up(tick), "grid"),
            text(left - 7, up(tick) + 4, f"{tick:g}", "t s m", "end"),
        ]
    for tick in log_ticks(first, last, 4):
        x = place(math.log(tick))
        parts += [line(x, top, x, bottom, "grid"), text(x, HEIGHT - 22, f"{tick:,.0f}", "t s m", "middle")]
    around = [(at[0], at[3]) for at in band] + [(at[0], at[2]) for at in reversed(band)]
    points = " ".join(f"{place(math.log(n)):.1f},{up(value):.1f}" for n, value in around)
    parts.append(tag("polygon", points=points, css="f-doubt"))
    measured = [
        (words.number(at.get("labels")) or 0.0, words.number(at.get("value")) or 0.0) for at in rows(one, "rungs")
    ]
    largest = max((n for n, _ in measured), default=first)
    for a, b in pairwise(band):
        css = ("l-win" if is_winner else "l-slim") + (" l-dashed" if b[0] > largest else "")
        parts.append(line(place(math.log(a[0])), up(a[1]), place(math.log(b[0])), up(b[1]), css))
    for n, value in measured:
        parts.append(tag("circle", cx=place(math.log(n)), cy=up(value), r=4, css="f-accent" if is_winner else "f-dark"))
    parts.append(text((left + right) / 2, HEIGHT - 4, "labels", "t s m", "middle"))
    about = "; ".join(f"{n:,.0f} labels: {value:.3f} ({low:.3f} to {high:.3f})" for n, value, low, high in band)
    return drawing((WIDTH, HEIGHT), f"growth-{order}", (f"Score of {name} by number of labels", about), *parts)


def _band(one: Row) -> list[tuple[float, ...]]:
    """Return (labels, value, low, high), from few labels to many."""
    found = [
        tuple(words.number(at.get(key)) or 0.0 for key in ("labels", "value", "low", "high"))
        for at in rows(one, "band")
    ]
    return sorted(at for at in found if at[0] > 0)
