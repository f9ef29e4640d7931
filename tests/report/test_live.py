"""What is shown while a study runs."""

from __future__ import annotations

import pytest

from whichway.core.strategy import Progress
from whichway.report.live import Display


def test_who_leads_a_race_is_told_even_right_after_another_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        watcher = display.watcher()
        watcher.progress("encoder", Progress("training", 3, 9))
        watcher.progress("encoder", Progress("0.729 on 32 of 96 rows; encoder leads probe by +0.114", is_news=True))
        watcher.progress("encoder", Progress("training", 4, 9))
    assert [line.split("  (")[0].split() for line in capsys.readouterr().err.splitlines()] == [
        "encoder 0.729 on 32 of 96 rows; encoder leads probe by +0.114".split()
    ]
