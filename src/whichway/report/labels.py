"""The section on labels: how the trained ways grow, what more labels would bring, and from how many on one passes another."""

from __future__ import annotations

from whichway.report import words
from whichway.report.reading import Report, Row, mapping, metric, rows
from whichway.report.sections import Cell, Column, Section, Table, table


def more_labels(report: Report) -> Section:
    """Return measured rungs, forecasts with 80 % intervals, and break-even labels."""
    every = rows(report, "labels")
    if not every:
        return Section("labels", "Would more labels help?")
    lead = (
        "Each way was trained on parts of the labels, too. What lies beyond is a forecast from two families of curves, its "
        "80 % band widened by how far such forecasts missed on other data sets; up to four times the labels at hand."
    )
    items = tuple(one for one in map(_sentence, every) if one)
    return Section(
        "labels", "Would more labels help?", lead, items, (_gains(report), _measured(report)), is_plotted=True
    )


def _sentence(one: Row) -> str:
    """Say from how many labels on a way passes its reference."""
    even, name = mapping(one, "break_even"), words.visible(one.get("strategy"))
    against = words.visible(even.get("against") or "")
    median, never = words.number(even.get("median")), words.number(even.get("never"))
    if not against or never is None:
        return ""
    if median is None:
        upto = words.count(even.get("horizon"))
        return f"{name} is not expected to pass {against} with up to {upto} labels (probability {never:.0%})."
    points = [words.number(rung.get("labels")) or 0.0 for rung in rows(one, "rungs")]
    first, far = min(points, default=0.0), 4 * max(points, default=0.0)
    if median < first:
        return f"{name} passes {against} as it is now from {words.count(first)} labels on, or fewer."
    if median > far:
        return f"{name} needs at least {words.count(far)} labels to pass {against} as it is now; how many is too far to tell."
    low, high = even.get("low"), even.get("high")
    upto = f"to {words.count(high)}" if words.number(high) is not None else "with no upper end in sight"
    said = f"{name} passes {against} as it is now from about {words.count(median)} labels on (80 %: {words.count(low)} {upto})"
    return f"{said}; the labels at hand are enough with probability {words.number(even.get('available')) or 0.0:.0%}."


def _gains(report: Report) -> Table:
    lines = []
    for one in rows(report, "labels"):
        cells = [
            Cell(words.difference({**gain, "n": None}, metric(report)).partition(" ")[0], _between(gain))
            for gain in rows(one, "gains")
        ]
        lines.append((Cell(words.visible(one.get("strategy"))), *cells))
    heads = [f"{words.count(gain.get('more'))} more" for gain in rows(rows(report, "labels")[0], "gains")]
    return table("What more labels would bring (forecast)", (Column("way", False), *map(Column, heads)), lines)


def _between(gain: Row) -> str:
    low, high = (words.number(gain.get(end)) or 0.0 for end in ("low", "high"))
    return f"{low:+.3f} to {high:+.3f}"


def _measured(report: Report) -> Table:
    every, known = rows(report, "labels"), metric(report)
    sizes = sorted({int(words.number(rung.get("labels")) or 0) for one in every for rung in rows(one, "rungs")})
    lines = []
    for one in every:
        at = {int(words.number(rung.get("labels")) or 0): rung for rung in rows(one, "rungs")}
        lines.append((Cell(words.visible(one.get("strategy"))), *(_scored(at.get(size, {}), known) for size in sizes)))
    columns = (Column("way", False), *(Column(f"{words.count(size)} labels") for size in sizes))
    return table("Measured on validation rows, one draw per size", columns, lines)


def _scored(rung: Row, known: Row) -> Cell:
    if words.number(rung.get("value")) is None:
        return Cell(words.MISSING)
    return Cell(
        words.score(rung.get("value"), known), f"{words.score(rung.get('low'))} to {words.score(rung.get('high'))}"
    )
