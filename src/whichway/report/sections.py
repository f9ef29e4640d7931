"""What the report says after its verdict, section by section, in the order in which HTML and Markdown show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whichway.report import words
from whichway.report.reading import (
    Report,
    Row,
    at,
    best_estimate,
    common_part,
    front,
    mapping,
    measured,
    metric,
    metric_name,
    rows,
    things,
    unmeasured,
    winner_name,
)
from whichway.report.verdict import reading

MOST = 200  # rows of one table; the rest is in report.json


@dataclass(frozen=True)
class Cell:
    """One entry of a table: the number or word, and in small print its interval, its n or its unit."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers are set flush right."""

    name: str
    is_number: bool = True


@dataclass(frozen=True)
class Table:
    """Rows under columns; `marked` is the row of the recommended strategy; `note` says what was left out."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    marked: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One heading and what stands under it; where there is a plot, the tables repeat it in numbers (`is_plotted`)."""

    key: str
    title: str
    lead: str = ""
    items: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""
    is_plotted: bool = False


def table(caption: str, columns: tuple[Column, ...], lines: list[tuple[Cell, ...]], marked: int | None = None) -> Table:
    """Return a table of at most MOST rows, with a note on what was left out."""
    rest = len(lines) - MOST
    note = f"{words.count(rest)} more in report.json." if rest > 0 else ""
    return Table(caption, columns, tuple(lines[:MOST]), marked, note)


def scores(report: Report) -> Section:
    """Return how good every way is, and which differences are real."""
    part = common_part(report)
    lead = (
        f"{metric_name(report)[:1].upper()}{metric_name(report)[1:]} with 95% intervals. Validation is where ways are compared and chosen; "
        "the sealed test part is used once, for the finalists, to certify what was chosen."
    )
    if part == "validation" and not any(best_estimate(one) and at(one, "test", "value") for one in measured(report)):
        lead = f"{metric_name(report).capitalize()} with 95% intervals, on the validation part; the test part was not used."
    tables = tuple(one for one in (_differences(report),) if one.rows)
    return Section("scores", "How good each way is", lead if measured(report) else "No way has a score.", (), tables)


def ways(report: Report) -> Section:
    """Return all ways with everything that was measured on them."""
    columns = (
        Column("way", False), Column("validation"), Column("test"), Column("per 1,000"), Column("p95"), Column("build"),
        Column("consistency"), Column("calibration error"), Column("parsed"), Column("memory"), Column("P(best)"),
    )  # fmt: skip
    every = [*measured(report), *unmeasured(report)]
    lines = [_way(one, report) for one in every]
    marked = next(
        (i for i, one in enumerate(every) if winner_name(report) and one.get("strategy") == winner_name(report)), None
    )
    found = _without_empty(table("Every way that was tried", columns, lines, marked))
    lead = (
        "P(best): probability that this way is the best one that meets every requirement. "
        "Consistency: share of answers that stay the same when the prompt or the request is reworded. "
        "Calibration error: how far stated confidence is from the share of right answers."
    )
    return Section(
        "ways", "All ways side by side", lead if lines else "No way was tried.", (), (found,) if lines else ()
    )


def worth(report: Report) -> Section:
    """Return quality against cost, and which ways no other one beats in both."""
    names = [words.visible(one.get("strategy")) for one in front(report)]
    lead = "" if not names else (
        f"No way is both better and cheaper than {' or '.join(names[-2:]) if len(names) < 3 else 'these'} "
        f"(on {common_part(report)}): {', '.join(names)}."
    )  # fmt: skip
    return Section("worth", "Quality against cost", lead, is_plotted=True)


def skipped(report: Report) -> Section:
    """Return which ways have no score, and why."""
    lines = [
        (Cell(words.cut(one.get("strategy") or "?", 60), words.visible(one.get("way") or "")),
         Cell(words.visible(one.get("state") or "not run")), Cell(words.cut(one.get("reason") or "no reason given", 600)))
        for one in unmeasured(report)
    ]  # fmt: skip
    columns = (Column("way", False), Column("state", False), Column("why", False))
    return Section(
        "skipped", "Skipped and failed", "", (), (table("Ways without a score", columns, lines),) if lines else ()
    )


def _differences(report: Report) -> Table:
    columns = (
        Column("pair", False),
        Column("part", False),
        Column("difference"),
        Column("n"),
        Column("reading", False),
    )
    lines = []
    for one in rows(report, "differences"):
        value, _, around = words.difference(one, metric(report)).partition(" ")
        pair = f"{words.visible(one.get('a'))} minus {words.visible(one.get('b'))}"
        cells = (
            Cell(pair),
            Cell(words.visible(one.get("part"))),
            Cell(value, around.strip("()")),
            Cell(words.count(one.get("n"))),
        )
        lines.append((*cells, Cell(reading(one, report))))
    return table("Differences between ways, on the same rows", columns, lines)


def _way(trial: Row, report: Report) -> tuple[Cell, ...]:
    use, build = mapping(trial, "use"), mapping(trial, "build")
    place = {True: ", local", False: ", leaves this machine"}.get(trial.get("local"), "")  # type: ignore[call-overload]
    found, test = (_scored(mapping(trial, part), report) for part in ("validation", "test"))
    if found.text == test.text == words.MISSING:
        found = Cell(words.visible(trial.get("state") or "not run"))
    per_s = words.number(use.get("rows_per_s"))
    return (
        Cell(words.cut(trial.get("strategy") or "?", 60), words.visible(trial.get("way") or "") + place),
        found,
        test,
        Cell(words.money(use.get("usd_per_1000"))),
        Cell(words.latency(use.get("p95_ms")), f"{words.three(per_s)} rows/s" if per_s is not None else ""),
        Cell(words.duration(build.get("seconds")), words.money(build.get("usd")) if build.get("usd") else ""),
        Cell(words.percent(trial.get("consistency")), words.cut(trial.get("consistency_note") or "", 60)),
        Cell(words.score(trial.get("calibration_error"))),
        Cell(words.percent(trial.get("parsed"))),
        Cell(words.memory(trial.get("memory_mb"))),
        Cell(words.percent(trial.get("p_best")), _feasible(trial.get("p_feasible"))),
    )


def _scored(found: Row, report: Report) -> Cell:
    value, around = words.score(found.get("value"), metric(report)), words.interval(found, metric(report))
    small = [one for one in (around, words.sample(found)) if one and one != words.MISSING]
    return Cell(value, ", ".join(small) if value != words.MISSING else "")


def _feasible(share: Any) -> str:
    known = words.number(share)
    return "" if known is None or known >= 1 else f"meets all: {words.percent(known)}"


def _without_empty(found: Table) -> Table:
    """Leave out columns in which no row has anything."""
    kept = [i for i in range(len(found.columns)) if any(row[i].text != words.MISSING for row in found.rows)]
    lines = tuple(tuple(row[i] for i in kept) for row in found.rows)
    return Table(found.caption, tuple(found.columns[i] for i in kept), lines, found.marked, found.note)


def would_change(report: Report) -> Section:
    """Return what would change the answer, and what nobody has tried."""
    change = [words.cut(one, 600) for one in things(report, "recommendation", "would_change") if one]
    untried = ["Not tested: " + words.cut(one, 600) for one in things(report, "recommendation", "not_tested") if one]
    return Section("change", "What would change the answer, and what was not tested", "", (*change, *untried))
