"""What is shown while a study runs: a moving line on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from whichway.core.strategy import Progress
from whichway.report.terminal import trial_line
from whichway.report.words import visible
from whichway.study.plan import Plan
from whichway.study.run import Watcher

EVERY_S = 10.0  # a plain line at most this often
MOVING_S = 0.2


class Display:
    """A context in which `watcher()` prints what a study tells it."""

    def __init__(self) -> None:
        self.is_terminal = sys.stderr.isatty()
        self.last = time.monotonic()
        self.began = self.last
        self.width = 0

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: Any) -> None:
        self._clear()

    def watcher(self) -> Watcher:
        """Return the functions a study calls."""
        return Watcher(self._planned, self._progress, self._ended)

    def _planned(self, plan: Plan) -> None:
        split = plan.split
        sizes = f"{len(split.learning)} rows to learn and compare ({len(split.validation)} for comparison)"
        self._line(f"Split: {sizes}, {len(split.test)} sealed for the test.")
        seconds = sum(one.seconds for one in plan.estimates)
        money = f" and ${plan.usd:.2f} (at most ${plan.most_usd:.2f})" if plan.usd else ""
        whole = f"roughly {max(1, round(seconds / 60))} min{money} if all run to their end"
        self._line(f"{len(plan.estimates)} strategies to compare, {whole}.")

    def _progress(self, name: str, progress: Progress) -> None:
        now = time.monotonic()
        share = f" {progress.done:.0f}/{progress.total:.0f}" if progress.total else ""
        text = f"{visible(name):16} {progress.what}{share}  ({now - self.began:.0f} s)"
        if progress.is_news:
            self._line(text)
        elif self.is_terminal and now - self.last >= MOVING_S:
            self._clear()
            sys.stderr.write(text)
            sys.stderr.flush()
            self.width, self.last = len(text), now
        elif not self.is_terminal and now - self.last >= EVERY_S:
            self._line(text)

    def _ended(self, trial: Mapping[str, Any]) -> None:
        self._line(trial_line(trial))

    def _line(self, text: str) -> None:
        self._clear()
        print(text, file=sys.stderr, flush=True)
        self.last = time.monotonic()

    def _clear(self) -> None:
        if self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            self.width = 0
