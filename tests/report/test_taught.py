"""The section on rows without labels: what was written by a model is told, and that nothing could be."""

from __future__ import annotations

from typing import Any

from sample import report, trial

from whichway.report.details import sections
from whichway.report.taught import taught


def said(**found: Any) -> str:
    (line,) = taught(report(trials=[trial("majority"), trial("distill", taught=found)])).items
    return line


def test_how_many_rows_were_written_and_kept_is_a_sentence_of_the_report() -> None:
    line = said(unlabelled=1200, written=40, kept=900, kept_written=31)
    assert "distill: teachers answered 1,200 rows" in line and "40 that a model wrote" in line
    assert "Of the 40 written ones 31 were kept" in line and "never among those compared or tested on" in line
    assert "None were written" not in line


def test_that_nothing_could_be_written_is_told_with_the_reason() -> None:
    line = said(unlabelled=50, written=0, kept=45, kept_written=0, not_written="the fields here are a, b")
    assert "None were written by a model, though `synthetic` asks for it: the fields here are a, b." in line
    assert "written ones" not in line


def test_a_report_without_a_distilled_way_has_no_such_section() -> None:
    assert "taught" not in [one.key for one in sections(report(trials=[trial("majority", taught={})]))]
    assert "taught" in [one.key for one in sections(report(trials=[trial("distill", taught={"kept": 3})]))]
