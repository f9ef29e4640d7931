"""What the study cost: one bar per way, its phases end to end; in time, and in money where that tells more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from whichway.report import words
from whichway.report.plots.svg import WIDE, drawing, fitted, legend, line, linear, tag, text, ticks
from whichway.report.reading import Report, rows

PHASES = ("fit", "validation", "latency", "consistency", "refit", "test")
MOST = 40

Sums = dict[str, dict[str, float]]


def draw_spend(report: Report, width: float = WIDE) -> list[str]:
    """Return the plot of time, and the plot of money unless it would have the same shape."""
    seconds, usd = _sums(report, "seconds"), _sums(report, "usd")
    found = [_bars(seconds, width, "time", words.duration)] if _total(seconds) > 0 else []
    if _total(usd) > 0 and not _same_shape(seconds, usd):
        found.append(_bars(usd, width, "money", words.money))
    return found


def _bars(sums: Sums, width: float, what: str, shown: Callable[[float], str]) -> str:
    ordered = sorted(sums.items(), key=lambda item: -sum(item[1].values()))[:MOST]
    used = [phase for phase in (*PHASES, "other") if any(phases.get(phase) for _, phases in ordered)]
    marks, height = legend(0, 12, width, [(f"f-{phase}", phase) for phase in used])
    is_wide = width >= 600
    left, right, step, top = (150 if is_wide else 100), width - 92, 28, height + 6
    most = max(sum(phases.values()) for _, phases in ordered) or 1.0
    scale = linear(0, most, left, right)
    bottom, parts = top + step * len(ordered), [marks]
    for tick in [0.0] if what == "time" else ticks(0, most, 5 if is_wide else 2):
        parts.append(line(scale(tick), top, scale(tick), bottom, "grid"))
    for i, (name, phases) in enumerate(ordered):
        y, start = top + i * step, 0.0
        parts.append(text(0, y + 18, fitted(words.visible(name), 13.5, left - 12), "t s"))
        for phase in used:
            part = phases.get(phase, 0.0)
            long = scale(start + part) - scale(start)
            if long > 0.2:
                parts.append(
                    tag("rect", x=scale(start), y=y + 6, width=max(0.5, long - 1), height=16, css=f"f-{phase}")
                )
            start += part
        parts.append(text(scale(start) + 6, y + 18.5, shown(start), "t s n"))
    about = "; ".join(f"{words.visible(name)} {shown(sum(phases.values()))}" for name, phases in ordered)
    title = f"{what.capitalize()} spent on each way, by phase"
    return drawing((width, bottom + 8), f"spend-{what}-{int(width)}", (title, about), *parts)


def _sums(report: Report, unit: str) -> Sums:
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in rows(report, "spend_by"):
        phase = str(one.get("phase"))
        sums[str(one.get("strategy") or "?")][phase if phase in PHASES else "other"] += max(
            0.0, words.number(one.get(unit)) or 0.0
        )
    return sums


def _total(sums: Sums) -> float:
    return sum(sum(phases.values()) for phases in sums.values())


def _same_shape(one: Sums, other: Sums) -> bool:
    """Say whether money is only time at a price: then a second plot would say nothing new."""
    price = _total(other) / (_total(one) or 1.0)
    return all(
        abs(other[name].get(phase, 0.0) - part * price) <= 0.05 * _total(other)
        for name in one
        for phase, part in one[name].items()
    )
