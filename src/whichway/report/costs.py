"""The section on money: what each way costs over the horizon, and at which volumes it is cheaper than the recommended one."""

from __future__ import annotations

from whichway.report import words
from whichway.report.reading import Report, Row, mapping, rows, things, winner_name
from whichway.report.sections import Cell, Column, Section, table


def over_time(report: Report) -> Section:
    """Return start, running costs and total of every way, and its break-even volume against the recommended one."""
    said = mapping(report, "cost")
    every = rows(said, "ways")
    title = "What it costs over time"
    if not every:
        return Section("costs", title)
    against, months = words.visible(said.get("against") or "?"), words.three(said.get("horizon_months"))
    has = {key: any(words.number(one.get(key)) for one in every) for key in ("hosting_usd_per_month", "refresh_usd")}
    columns = [Column("way", False), Column("to start"), Column("per 1,000")]
    columns += [Column("hosting a month")] if has["hosting_usd_per_month"] else []
    columns += [Column("each refresh", True, _times(said))] if has["refresh_usd"] else []
    columns += [Column(f"in {months} months", True, f"{words.count(said.get('requests'))} requests")]
    columns += [Column(f"costs less than {against}", False)]
    lines = [_line(one, said, has) for one in every]
    marked = next((i for i, one in enumerate(every) if one.get("strategy") == winner_name(report)), None)
    lead = (
        "All that a way costs, from its start to the end of the horizon, at any volume; a mark stands where a way and "
        f"{against} cost the same, with its 95% interval. What the study itself cost is spent either way and counts for nothing."
    )
    items = tuple(words.cut(one, 400) for one in things(said, "notes") if one)
    return Section("costs", title, lead, items, (table("What each way costs", tuple(columns), lines, marked),))


def _line(one: Row, said: Row, has: Row) -> tuple[Cell, ...]:
    cells = [Cell(words.cut(one.get("strategy") or "?", 60)), _money(mapping(one, "upfront_usd"), _bought(one))]
    cells += [_money(mapping(one, "per_1000_usd"))]
    cells += [Cell(words.money(one.get(key))) for key in ("hosting_usd_per_month", "refresh_usd") if has[key]]
    cells += [_money(mapping(one, "total_usd"))]
    is_same = one.get("strategy") == said.get("against")
    return (*cells, Cell(words.MISSING) if is_same else _cheaper(one))


def _money(found: Row, more: str = "") -> Cell:
    low, high = (words.money(found.get(end)) for end in ("low", "high"))
    around = f"{low} to {high}" if words.MISSING not in (low, high) and low != high else ""
    return Cell(words.money(found.get("value")), ", ".join(part for part in (around, more) if part))


def _bought(one: Row) -> str:
    hours = words.number(one.get("hours"))
    return f"{words.three(hours)} h of work" if hours else ""


def _times(said: Row) -> str:
    return words.plural(int(words.number(said.get("refreshes")) or 0), "time")


def _cheaper(one: Row) -> Cell:
    """Say in which ranges of volume a way costs less, and how sure the first end is."""
    parts = [
        _range(words.number(each.get("from")) or 0.0, words.number(each.get("to"))) for each in rows(one, "cheaper")
    ]
    even = mapping(one, "break_even")
    low, high, never = (words.number(even.get(key)) for key in ("low", "high", "never"))
    small = []
    if low is not None:
        small.append(f"95%: {words.count(low)} {f'to {words.count(high)}' if high is not None else 'and no upper end'}")
    if never is not None and 0.005 <= never < 1 and words.number(even.get("requests")) is not None:
        small.append(f"never with probability {words.percent(never)}")
    return Cell(" and ".join(parts) or "never", "; ".join(small))


def _range(low: float, high: float | None) -> str:
    if high is None:
        return f"from {words.count(low)} requests on" if low > 0 else "at any volume"
    return (
        f"up to {words.count(high)} requests"
        if low <= 0
        else f"from {words.count(low)} to {words.count(high)} requests"
    )
