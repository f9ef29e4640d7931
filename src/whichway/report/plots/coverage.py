"""Coverage and quality: how good the surest answers are when only so many are given; one small plot per finalist."""

from __future__ import annotations

from itertools import pairwise

from whichway.report import words
from whichway.report.plots.svg import drawing, fitted, line, linear, tag, text
from whichway.report.reading import Report, Row, mapping, rows, winner_name

WIDTH, HEIGHT = 300, 240
MOST = 9
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def draw_coverage(report: Report) -> list[str]:
    """Return one plot per finalist whose answers can be ordered by confidence."""
    found = mapping(report, "abstention")
    return [
        _panel(str(name), rows(found, name, "curve"), str(name) == winner_name(report), i)
        for i, name in enumerate(found)
        if len(rows(found, name, "curve")) > 1
    ][:MOST]


def _panel(name: str, curve: list[Row], is_winner: bool, order: int) -> str:
    left, right, top, bottom = 40, WIDTH - 10, 34, HEIGHT - 40
    across, up = linear(0, 1, left, right), linear(0, 1, bottom, top)
    shown = words.visible(name)
    parts = [text(left, 18, fitted(shown, 14, right - left), "t b" if is_winner else "t")]
    for tick in TICKS:
        parts += [line(left, up(tick), right, up(tick), "grid"), line(across(tick), top, across(tick), bottom, "grid")]
        if tick not in (0.25, 0.75):
            parts += [text(left - 7, up(tick) + 4, f"{tick:g}", "t s m", "end")]
            parts += [text(across(tick), HEIGHT - 22, f"{tick:g}", "t s m", "middle")]
    points = [(words.number(one.get("coverage")), words.number(one.get("score"))) for one in curve]
    known = sorted((x, y) for x, y in points if x is not None and y is not None)
    css = "l-win" if is_winner else "l-slim"
    parts += [line(across(a), up(b), across(c), up(d), css) for (a, b), (c, d) in pairwise(known)]
    if known:
        last = known[-1]
        parts.append(tag("circle", cx=across(last[0]), cy=up(last[1]), r=4, css="f-accent" if is_winner else "f-dark"))
    parts += [
        text((left + right) / 2, HEIGHT - 4, "share of rows answered", "t s m", "middle"),
        text(left + 5, bottom - 6, "score of those", "t s m halo"),
    ]
    about = "; ".join(f"{words.percent(x)} answered: {words.score(y)}" for x, y in known)
    return drawing((WIDTH, HEIGHT), f"coverage-{order}", (f"Coverage and score of {shown}", about), *parts)
