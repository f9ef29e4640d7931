"""Scores with their intervals: one row per way, validation light, test dark, the requirement, the band of ties."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from whichway.report import words
from whichway.report.plots.svg import WIDE, Scale, drawing, fitted, legend, line, linear, tag, text, ticks
from whichway.report.reading import (
    Report,
    Row,
    at,
    best_estimate,
    common_part,
    mapping,
    measured,
    metric,
    metric_name,
    things,
    winner_name,
)

MOST = 60  # ways in one plot; the table has them all


@dataclass(frozen=True)
class _Layout:
    width: float
    left: float
    right: float
    top: float
    step: float
    is_wide: bool


def draw_scores(report: Report, width: float = WIDE) -> str:
    """Return the plot, or nothing where no way has a score."""
    found = measured(report)[:MOST]
    if not found:
        return ""
    is_wide = width >= 600
    marks, height = legend(0, 12, width, _entries(report))
    left, right, step = (170, 236, 46) if is_wide else (8, 8, 60)
    lay = _Layout(width, left, width - right, height + 10, step, is_wide)
    bottom = lay.top + lay.step * len(found)
    low, high = score_domain(report, found)
    scale = linear(low, high, lay.left, lay.right)
    parts = [marks, _ground(report, scale, (low, high), lay, bottom)]
    for i, trial in enumerate(found):
        parts.append(_row(trial, report, scale, low, lay, lay.top + i * lay.step))
    about = "; ".join(f"{words.visible(one.get('strategy'))} {_said(one, report)}" for one in found[:20])
    title = f"{metric_name(report)} of each way with 95% intervals"
    return drawing((width, bottom + 26), f"scores-{int(width)}", (title, about), *parts)


def score_domain(report: Report, found: list[Row]) -> tuple[float, float]:
    """Return from where to where scores are drawn; ways far below the others lie off the scale."""
    every = [mapping(one, part) for one in found for part in ("validation", "test")]
    known = [(value, *_ends(one, value)) for one in every if (value := words.number(one.get("value"))) is not None]
    if not known:
        return 0.0, 1.0
    best, wide = (max(value for value, _, _ in known), median(high - low for _, low, high in known))
    floor = best - max(5 * wide, 1e-6 * abs(best))
    lows = [low for value, low, _ in known if value >= floor]
    required = words.number(at(report, "task", "constraints", "min_score"))
    lows, highs = lows or [best], [high for _, _, high in known]
    if required is not None and floor <= required <= best + 5 * wide:
        lows, highs = [*lows, required], [*highs, required]
    pad = (max(highs) - min(lows)) * 0.06 or 0.05
    return _bounded(report, min(lows) - pad, max(highs) + pad)


def _bounded(report: Report, low: float, high: float) -> tuple[float, float]:
    bounds = things(metric(report), "bounds")
    least, most = (words.number(one) for one in (bounds if len(bounds) == 2 else (0, 1)))
    low = low if least is None else max(low, least)
    high = high if most is None else min(high, most)
    return (low, high) if high > low else (low - 0.05, low + 0.05)


def _ends(found: Row, value: float) -> tuple[float, float]:
    low, high = words.number(found.get("low")), words.number(found.get("high"))
    return (value if low is None else min(low, value)), (value if high is None else max(high, value))


def _entries(report: Report) -> list[tuple[str, str]]:
    found = measured(report)
    named = [("f-light", "validation")] if any(at(one, "validation", "value") is not None for one in found) else []
    named += [("f-dark", "test")] if any(at(one, "test", "value") is not None for one in found) else []
    named += [("f-accent", "recommended")] if winner_name(report) else []
    required = words.number(at(report, "task", "constraints", "min_score"))
    named += [("f-need", f"required: {words.score(required, metric(report))}")] if required is not None else []
    least = words.number(at(report, "task", "objective", "smallest_difference"))
    named += [("f-band", f"within {words.three(least)} of the best on {common_part(report)}")] if least else []
    return named


def _ground(report: Report, scale: Scale, domain: tuple[float, float], lay: _Layout, bottom: float) -> str:
    parts = []
    values = [words.number(at(one, common_part(report), "value")) for one in measured(report)]
    best = max((one for one in values if one is not None), default=None)
    least = words.number(at(report, "task", "objective", "smallest_difference"))
    if best is not None and least and best >= domain[0]:
        start, end = scale(best - least), scale(best + least)
        parts.append(tag("rect", x=start, y=lay.top, width=end - start, height=bottom - lay.top, css="f-band"))
    levels = ticks(*domain, most=8 if lay.is_wide else 4)
    for tick, said in zip(levels, words.on_axis(levels, metric(report)), strict=True):
        parts.append(line(scale(tick), lay.top, scale(tick), bottom, "grid"))
        parts.append(text(scale(tick), bottom + 18, said, "t s m", "middle"))
    required = words.number(at(report, "task", "constraints", "min_score"))
    if required is not None and domain[0] <= required <= domain[1]:
        parts.append(line(scale(required), lay.top - 4, scale(required), bottom, "need"))
    return "".join(parts)


def _row(trial: Row, report: Report, scale: Scale, low: float, lay: _Layout, top: float) -> str:
    is_winner = bool(winner_name(report)) and trial.get("strategy") == winner_name(report)
    name, weight = (words.visible(trial.get("strategy") or "?"), " b" if is_winner else "")
    parts = [line(0, top, lay.width, top, "rule")]
    both = [(part, mapping(trial, part)) for part in ("validation", "test")]
    shown = [(part, found) for part, found in both if words.number(found.get("value")) is not None]
    middle = top + (lay.step / 2 if lay.is_wide else 40)
    if lay.is_wide:
        parts.append(text(4, middle + 5, fitted(name, 14, lay.left - 16), "t" + weight))
    else:
        parts.append(text(0, top + 20, fitted(name, 14, 130), "t" + weight))
        parts.append(text(lay.width, top + 20, _said(trial, report), "t s n halo", "end"))
    for i, (part, found) in enumerate(shown):
        y = middle + (i - (len(shown) - 1) / 2) * (17 if lay.is_wide else 12)
        colour = "light" if part == "validation" else "dark"
        parts.append(_whisker(found, scale, low, y, colour + (" win" if is_winner else "")))
        if lay.is_wide:
            css = "t s n m" if part == "validation" else "t s n"
            parts.append(text(lay.width, y + 4.5, _numbers(found, report), css, "end"))
    return "".join(parts)


def _whisker(found: Row, scale: Scale, low: float, y: float, colour: str) -> str:
    value = words.number(found.get("value")) or 0.0
    if value < low:  # off the scale: an arrow at the edge
        x = scale(low)
        return tag("path", d=f"M{x + 1:.1f} {y:.1f}l8 -5v10z", css=f"f-{colour}")
    start, end = _ends(found, value)
    bar = line(scale(start), y, scale(end), y, f"l-{colour}")
    return bar + tag("circle", cx=scale(value), cy=y, r=4.5, css=f"f-{colour}")


def _numbers(found: Row, report: Report) -> str:
    return ", ".join(one for one in (words.fine(words.estimate(found, metric(report))), words.sample(found)) if one)


def _said(trial: Row, report: Report) -> str:
    best = best_estimate(trial)
    return _numbers(best[1], report) if best else ""
