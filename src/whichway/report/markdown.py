"""The report as Markdown: the same words in the same order as the page, without the plots."""

from __future__ import annotations

import re

from whichway.report import verdict, words
from whichway.report.details import sections
from whichway.report.reading import Report, at
from whichway.report.sections import Cell, Section, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#!$])")


def render_markdown(report: Report) -> str:
    """Return report.md; foreign text is escaped, so that it can neither break a table nor become markup."""
    parts = [
        f"# {escape(verdict.headline(report))}",
        f"**{verdict.level(report).capitalize()}.** {escape(verdict.certainty(report))}",
        *_verdict(report),
    ]
    for section in sections(report):
        parts += [f"## {escape(section.title)}", *_section(section)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows as it is."""
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = _SPECIAL.sub(r"\\\1", shown)
    return re.sub(r"^(\d*)([-+.)])(?=\s)", r"\1\\\2", shown)


def _verdict(report: Report) -> list[str]:
    lines = [f"- **{escape(tile.value)}** {escape(tile.label)}{_aside(tile)}" for tile in verdict.tiles(report)]
    name = at(report, "task", "name")
    said = [
        f"Task: {escape(words.cut(name, 200))}. {escape(verdict.study_line(report))}."
        if name
        else escape(verdict.study_line(report))
    ]
    reasons = "\n".join(f"- {escape(one)}" for one in verdict.reasons(report))
    return [
        escape(verdict.stopped(report)),
        "\n".join(lines),
        *(escape(one(report)) for one in (verdict.runner_up, verdict.fragile)),
        reasons,
        *said,
    ]


def _aside(tile: verdict.Tile) -> str:
    held = {True: ", met", False: ", **not met**", None: ""}[tile.is_met]
    said = [escape(tile.small)] if tile.small else []
    said += [f"asked: {escape(tile.limit)}{held}"] if tile.limit else []
    return f" ({'; '.join(said)})" if said else ""


def _section(section: Section) -> list[str]:
    parts = [escape(section.lead), "\n".join(f"- {escape(one)}" for one in section.items)]
    parts += [part for one in section.tables for part in (_table(one), escape(one.note))]
    return [*parts, _code(section.code)]


def _table(table: Table) -> str:
    head = " | ".join(
        escape(f"{column.name}, {column.small}" if column.small else column.name) for column in table.columns
    )
    rule = " | ".join("---:" if column.is_number else "---" for column in table.columns)
    body = [
        " | ".join(_cell(cell, i == table.marked and j == 0) for j, cell in enumerate(row))
        for i, row in enumerate(table.rows)
    ]
    return "\n".join(f"| {line} |" for line in (head, rule, *body))


def _cell(cell: Cell, is_marked: bool) -> str:
    text = f"**{escape(cell.text)}**" if is_marked else escape(cell.text)
    return f"{text} ({escape(cell.small)})" if cell.small else text


def _code(code: str) -> str:
    if not code:
        return ""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", code)), default=0))
    return f"{fence}\n{code}\n{fence}"
