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
from whichway.report.labels import UNPRICED, between, price
from whichway.report.write import read_report
from whichway.study.curves import HORIZON, Curve, priced_gain, told_curve

FIX = "Run it first, with time left for it: whichway run task.yaml --out DIR"


def print_forecast(folder: Path, more: int, objective: Objective, console: Console) -> None:
    """Print for each way of a run what it would score with `more` labels, and the price of that; the curves are the report's.

    Raises UsageError where nothing was measured.
    """
    if not (folder / "report.json").exists():
        raise UsageError(f"{folder} holds no finished run.", FIX)
    report = read_report(folder)
    measured = report.get("labels") or []
    if not measured:
        raise UsageError(f"In {folder} no way was measured on parts of its labels.", FIX)
    curves = _curves(folder, measured)
    chosen, score = _recommended(report)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for name in ("way", "labels now", "score now", f"with {more:,} more", "80 % interval", f"P(above {chosen} now)"):
        table.add_column(Text(name), justify="left" if name == "way" else "right")
    for one, curve in zip(measured, curves, strict=True):
        table.add_row(*map(Text, _row(one, curve, more, score)))
    console.print(f"What {more:,} more labels would buy (an estimate, from parts of the labels at hand):")
    console.print(table)
    for line in _prices(measured, curves, more, objective):
        console.print(Text(line))


def _curves(folder: Path, measured: Sequence[Mapping[str, Any]]) -> list[Curve]:
    try:
        return [told_curve(one) for one in measured]
    except (LookupError, TypeError, ValueError) as error:
        fix = "Run the study's command again: what is measured is kept, and the report is written anew."
        raise UsageError(
            f"{folder / 'report.json'}: its `labels` are damaged ({type(error).__name__}: {error}).", fix
        ) from error


def _row(one: Mapping[str, Any], curve: Curve, more: int, score: float | None) -> tuple[str, ...]:
    import numpy as np

    now, last, at = curve.largest, one["rungs"][-1], curve.largest + more
    far = round(now * HORIZON)
    middle, low, high = curve.band([min(at, far)])[:, 0]
    is_far = at > far  # beyond the horizon a bound alone is honest
    chance = "" if score is None else f"{float(np.mean(curve.values([min(at, far)])[:, 0] > score)):.0%}"
    shown = f"at least {low:.3f}" if is_far else f"{middle:.3f}"
    around = f"not foretold beyond {far:,} labels" if is_far else f"{low:.3f} to {high:.3f}"
    above = f"at least {chance}" if is_far and chance else chance
    return words.visible(one["strategy"]), f"{now:,}", f"{last['value']:.3f}", shown, around, above


def _prices(
    measured: Sequence[Mapping[str, Any]], curves: Sequence[Curve], more: int, objective: Objective
) -> list[str]:
    """Say what the labels cost, and for each way what a point of score costs by them, up to four times the labels at hand."""
    if objective.label_usd <= 0:
        return [UNPRICED]
    cost = more * objective.label_usd
    said = [f"They cost ${cost:,.2f} at ${objective.label_usd:g} each (objective.label_usd)."]
    for one, curve in zip(measured, curves, strict=True):
        if curve.largest + more <= curve.largest * HORIZON:
            found = priced_gain(curve, more, objective.label_usd)
            each, around = price(found)
            each += f" per point ({around})" if around else ""
            said.append(f"{words.visible(one['strategy'])}: {found['value'] + 0.0:+.3f} ({between(found)}), {each}.")
    return said


def _recommended(report: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return the name and the validation score of what is recommended, as the rungs are measured on validation."""
    name = report["recommendation"]["strategy"]
    for one in report["trials"]:
        if one["strategy"] == name and one["validation"]:
            return str(name), float(one["validation"]["value"])
    return "the best", None
