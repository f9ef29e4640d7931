"""What the report says after its verdict, section by section, in the order in which HTML and Markdown show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from whichway.report import words
from whichway.report.reading import (
    Report,
    Row,
    at,
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
    """A column's heading, and in small print the n of all its numbers; numbers are set flush right."""

    name: str
    is_number: bool = True
    small: str = ""


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


def table(
    caption: str, columns: tuple[Column, ...], lines: Sequence[tuple[Cell, ...]], marked: int | None = None
) -> Table:
    """Return a table of at most MOST rows, with a note on what was left out."""
    rest = len(lines) - MOST
    note = f"{words.count(rest)} more in report.json." if rest > 0 else ""
    return Table(caption, columns, tuple(lines[:MOST]), marked, note)


def scores(report: Report) -> Section:
    """Return how good every way is, and which differences are real."""
    name = metric_name(report)[:1].upper() + metric_name(report)[1:]
    lead = f"{name} with 95% intervals, on the validation part; the test part was not used."
    if any(words.number(at(one, "test", "value")) is not None for one in measured(report)):
        lead = (
            f"{name} with 95% intervals; those on the test part hold for all finalists together. Validation is where ways "
            "are compared and chosen; the sealed test part is used once, for the finalists, to certify what was chosen."
        )
    tables = tuple(one for one in (_differences(report),) if one.rows)
    return Section("scores", "How good each way is", lead if measured(report) else "No way has a score.", (), tables)


def ways(report: Report) -> Section:
    """Return all ways with everything that was measured on them."""
    others = unmeasured(report)
    aside = [one for one in others if one.get("state") == "skipped"]  # they say nothing in columns
    every = [*measured(report), *(one for one in others if one.get("state") != "skipped")]
    if not every:
        return Section("ways", "All ways side by side", "No way was tried.")
    parts = [Column(part, True, words.sample({"n": _size(report, part)})) for part in ("validation", "test")]
    more = ("per 1,000", "p95", "build", "consistency", "calibration error", "parsed", "memory")
    columns = (Column("way", False), *parts, Column("P(best)", True, "estimate"), *map(Column, more))
    marked = next((i for i, one in enumerate(every) if one.get("strategy") == winner_name(report)), None)
    found = _without_empty(table("Every way that was tried", columns, [_way(one, report) for one in every], marked))
    notes = dict.fromkeys(words.cut(one["consistency_note"], 120) for one in every if one.get("consistency_note"))
    names = ", ".join(words.cut(one.get("strategy") or "?", 60) for one in aside)
    told = [
        f"Consistency: {'; '.join(notes)}." if notes else "",
        f"Skipped, for reasons given below: {names}." if names else "",
    ]
    note = " ".join(one for one in (*told, found.note) if one)
    lead = (
        "P(best): estimated probability that this way is the best one that meets every requirement. "
        "Consistency: share of answers that stay the same when the prompt is put in another form; between which scores that "
        "moves it, on a few rows, stands beside the score on validation. "
        "Calibration error: how far stated confidence is from the share of right answers."
    )
    return Section("ways", "All ways side by side", lead, (), (replace(found, note=note),))


def worth(report: Report) -> Section:
    """Return quality against cost, and which ways no other one beats in both."""
    names = [words.visible(one.get("strategy")) for one in front(report)]
    last = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    lead = f"On {common_part(report)}, no way is both better and cheaper than {last}." if names else ""
    return Section("worth", "Quality against cost", lead, is_plotted=True)


def skipped(report: Report) -> Section:
    """Return which ways have no score, or one on their first rows alone, and why."""
    lines = []
    partly = [one for one in measured(report) if one.get("state") not in (None, "done", "finished")]
    for one in [*partly, *unmeasured(report)]:
        name = Cell(words.cut(one.get("strategy") or "?", 60), words.visible(one.get("way") or ""))
        state, why = (
            words.visible(one.get("state") or "not run"),
            words.cut(one.get("reason") or "no reason given", 600),
        )
        lines.append((name, Cell(state), Cell(why)))
    columns = (Column("way", False), Column("state", False), Column("why", False))
    shown = (table("Ways that were not run to their end", columns, lines),) if lines else ()
    return Section("skipped", "Dropped, skipped and failed", "", (), shown)


def would_change(report: Report) -> Section:
    """Return what would change the answer, and what nobody has tried."""
    change = [words.cut(one, 600) for one in things(report, "recommendation", "would_change") if one]
    untried = [str(one) for one in things(report, "recommendation", "not_tested") if one]
    told = {one.split(": ")[0] for one in untried}
    names = (str(row[0].text) for found in skipped(report).tables for row in found.rows)  # why, stands there
    aside = [name for name in names if name in told]
    if aside:
        change.append(f"Not run to the end, for reasons given below: {', '.join(aside)}.")
    rest = [one for one in untried if one.split(": ")[0] not in aside]
    change += ["Not tested: " + words.cut(one, 600) for one in rest]
    return Section("change", "What would change the answer, and what was not tested", "", tuple(change))


def _differences(report: Report) -> Table:
    texts, numbers = ("pair", "part"), ("difference", "n")
    columns = (*(Column(one, False) for one in texts), *map(Column, numbers), Column("reading", False))
    lines = []
    every = rows(report, "differences")
    best = next((one.get("a") for one in every if one.get("part") == "validation"), None)
    shown = [one for one in every if one.get("part") == "test" or one.get("a") == best]
    for one in shown:
        value, _, around = words.difference(one, metric(report)).partition(" ")
        pair = f"{words.visible(one.get('a'))} minus {words.visible(one.get('b'))}"
        size = Cell(words.count(one.get("n")))
        part, apart = (Cell(words.visible(one.get("part"))), Cell(value, around.strip("()")))
        lines.append((Cell(pair), part, apart, size, Cell(reading(one, report))))
    rest = len(every) - len(shown)
    more = f"; {words.plural(rest, 'more pair')} in report.json" if rest else ""
    return table(f"Differences between ways, on the same rows{more}", columns, lines)


def _size(report: Report, part: str) -> float | None:
    """Return the n of a part where it is the same for all ways: then it is said once, in the heading."""
    found = {words.number(at(one, part, "n")) for one in measured(report) if at(one, part, "value") is not None}
    return found.pop() if len(found) == 1 else None


def _way(trial: Row, report: Report) -> tuple[Cell, ...]:
    use, build = mapping(trial, "use"), mapping(trial, "build")
    place = ", leaves this machine" if trial.get("local") is False else ""
    place += ", dropped" if trial.get("state") == "dropped" else ""
    found, test = (_scored(trial, part, report) for part in ("validation", "test"))
    if found.text == test.text == words.MISSING:
        found = Cell(words.visible(trial.get("state") or "not run"))
    per_s, parsed = (words.number(use.get("rows_per_s")), words.number(trial.get("parsed")))
    return (
        Cell(words.cut(trial.get("strategy") or "?", 60), words.visible(trial.get("way") or "") + place),
        found,
        test,
        Cell(words.percent(trial.get("p_best")), _feasible(trial.get("p_feasible"))),
        Cell(words.money(use.get("usd_per_1000"))),
        Cell(words.latency(use.get("p95_ms")), f"{words.three(per_s)} rows/s" if per_s is not None else ""),
        Cell(words.duration(build.get("seconds")), words.money(build.get("usd")) if build.get("usd") else ""),
        Cell(words.percent(trial.get("consistency"))),
        Cell(words.score(trial.get("calibration_error"))),
        Cell(words.MISSING if parsed is None or parsed >= 1 else words.percent(parsed)),
        Cell(words.memory(trial.get("memory_mb"))),
    )


def _spread(trial: Row, report: Report) -> str:
    """Return between which scores a prompt lies in other forms, and on how many rows: what stands beside its score."""
    ends = [words.score(at(trial, "sensitivity", end), metric(report)) for end in ("low", "high")]
    size = words.sample({"n": at(trial, "sensitivity", "rows")})
    return f"reworded {' to '.join(ends)}, {size}".rstrip(", ") if words.MISSING not in ends else ""


def _scored(trial: Row, part: str, report: Report) -> Cell:
    found = mapping(trial, part)
    value, around = (words.score(found.get("value"), metric(report)), words.interval(found, metric(report)))
    size = words.sample(found) if _size(report, part) is None else ""
    forms = _spread(trial, report) if part == "validation" else ""
    small = [one for one in (around, size, forms) if one and one != words.MISSING]
    return Cell(value, ", ".join(small) if value != words.MISSING else "")


def _feasible(share: Any) -> str:
    known = words.number(share)
    return "" if known is None or known >= 1 else f"meets all: {words.percent(known)}"


def _without_empty(found: Table) -> Table:
    """Leave out columns in which no row has anything."""
    kept = [i for i in range(len(found.columns)) if any(row[i].text != words.MISSING for row in found.rows)]
    lines = tuple(tuple(row[i] for i in kept) for row in found.rows)
    return Table(found.caption, tuple(found.columns[i] for i in kept), lines, found.marked, found.note)
