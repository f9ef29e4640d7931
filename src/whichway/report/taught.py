"""The section on rows that people have not labelled: how many a way learned from, and which of them a model wrote."""

from __future__ import annotations

from whichway.report import words
from whichway.report.reading import Report, Row, mapping, rows
from whichway.report.sections import Section


def taught(report: Report) -> Section:
    """Return for each way that was distilled how many rows teachers answered, and how many of those were kept."""
    told = [(one.get("strategy"), mapping(one, "taught")) for one in rows(report, "trials") if mapping(one, "taught")]
    said = tuple(f"{words.visible(name)}: {_said(found)}" for name, found in told)
    lead = "Teachers gave their answers, not people. They are for learning alone: every score is on rows that people labelled."
    return Section("taught", "What was learned from rows without labels", lead if said else "", said)


def _said(found: Row) -> str:
    """Return one way's numbers in words."""
    written, kept = (words.count(found.get(key)) for key in ("written", "kept_written"))
    parts = [
        f"teachers answered {words.count(found.get('unlabelled'))} rows that nobody has labelled"
        + (f" and {written} that a model wrote for labels with few rows" if found.get("written") else "")
        + f"; the student learned from {words.count(found.get('kept'))} of them, beside people's rows."
    ]
    if found.get("written"):
        parts.append(
            f"Of the {written} written ones {kept} were kept, where teachers gave the label that it was written for. They "
            "stand among rows to learn from alone, never among those compared or tested on."
        )
    if found.get("not_written"):
        parts.append(
            f"None were written by a model, though `synthetic` asks for it: {words.visible(found['not_written'])}."
        )
    return " ".join(parts)
