"""What more labels would buy, told from the rungs that a finished run has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from whichway.core.task import Objective
from whichway.errors import UsageError
from whichway.report import words
from whichway.report.write import read_report
from whichway.study.curves import HORIZON, Curve, Rung, fit_curve

FIX = "Run it first, with time left for it: whichway run task.yaml --out DIR"


def print_forecast(folder: Path, more: int, objective: Objective, console: Console) -> None:
    """Print for each way of a run what it would score with `more` labels; raises UsageError where nothing was measured."""
    if not (folder / "report.json").exists():
        raise UsageError(f"{folder} holds no finished run.", FIX)
    report = read_report(folder)
    measured = report.get("labels") or []
    if not measured:
        raise UsageError(f"In {folder} no way was measured on parts of its labels.", FIX)
    chosen, score = _recommended(report)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for name in ("way", "labels now", "score now", f"with {more:,} more", "80 % interval", f"P(above {chosen} now)"):
        table.add_column(Text(name), justify="left" if name == "way" else "right")
    for one in measured:
        table.add_row(*map(Text, _row(one, more, score)))
    console.print(f"What {more:,} more labels would buy (forecast from parts of the labels at hand):")
    console.print(table)
    if objective.label_usd > 0:
        console.print(
            f"They cost ${more * objective.label_usd:,.2f} at ${objective.label_usd:g} each (objective.label_usd)."
        )
    else:
        console.print("What they cost is not known: set objective.label_usd in the task file.", style="dim")


def _row(one: Mapping[str, Any], more: int, score: float | None) -> tuple[str, ...]:
    import numpy as np

    curve, last = _curve(one["rungs"]), one["rungs"][-1]
    at = curve.largest + more
    values = curve.values([min(at, curve.largest * HORIZON)])[:, 0]
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    is_far = at > curve.largest * HORIZON  # beyond the horizon a bound alone is honest
    above = "" if score is None else f"{float(np.mean(values > score)):.0%}"
    shown = f"at least {low:.3f}" if is_far else f"{middle:.3f}"
    between = "too far to say more" if is_far else f"{low:.3f} to {high:.3f}"
    name = words.visible(one["strategy"])
    return name, f"{curve.largest:,}", f"{last['value']:.3f}", shown, between, above


def _curve(rungs: Sequence[Mapping[str, Any]]) -> Curve:
    points = [Rung(one["labels"], one["value"], max(0.005, (one["high"] - one["low"]) / 3.92)) for one in rungs]
    return fit_curve(points)


def _recommended(report: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the name and the validation score of what is recommended, as the rungs are measured on validation."""
    name = report["recommendation"]["strategy"]
    for one in report["trials"]:
        if one["strategy"] == name and one["validation"]:
            return str(name), float(one["validation"]["value"])
    return "the best", None
