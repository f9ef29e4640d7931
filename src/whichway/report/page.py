"""The report as one HTML file: no script, no request to anywhere, every foreign text escaped."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, Environment
from markupsafe import Markup

from whichway.report import verdict, words
from whichway.report.details import sections
from whichway.report.plots.calibration import draw_calibration
from whichway.report.plots.confusion import draw_confusion
from whichway.report.plots.cost import draw_cost
from whichway.report.plots.coverage import draw_coverage
from whichway.report.plots.growth import draw_growth
from whichway.report.plots.scores import draw_scores
from whichway.report.plots.spend import draw_spend
from whichway.report.plots.svg import NARROW, WIDE
from whichway.report.plots.total import draw_total
from whichway.report.reading import Report, at, winner_name


def render_page(report: Report) -> str:
    """Return report.html; its style is named in the content security policy by its hash, and no script may run."""
    style = _part("report.css").strip()
    environment = Environment(loader=BaseLoader(), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.keep_trailing_newline = True
    environment.filters["fine"] = words.fine
    template = environment.from_string(_part("report.html.j2"))
    return template.render(
        style=Markup(style),  # our own file, the only markup besides the plots that is not escaped
        style_hash=style_hash(style),
        title=_title(report),
        task=words.cut(at(report, "task", "name") or "", 200),
        headline=verdict.headline(report),
        level=verdict.level(report),
        certainty=verdict.certainty(report),
        certainty_share=_share(report),
        stopped=verdict.stopped(report),
        tiles=verdict.tiles(report),
        runner_up=verdict.runner_up(report, words.fine),
        fragile=verdict.fragile(report),
        reasons=verdict.reasons(report),
        study=verdict.study_line(report),
        sections=sections(report),
        plots=_plots(report),
        version=words.visible(at(report, "whichway") or ""),
    )


def style_hash(style: str) -> str:
    """Return the SHA-256 of a style as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")


def _plots(report: Report) -> dict[str, list[tuple[str, Markup]]]:
    """Return (class, drawing) pairs by section; those for a page and for a phone are shown one at a time."""
    both = [("wide", WIDE), ("narrow", NARROW)]
    found: dict[str, list[tuple[str, str]]] = {
        "scores": [(css, draw_scores(report, width)) for css, width in both],
        "worth": [(css, draw_cost(report, width)) for css, width in both],
        "costs": [(css, draw_total(report, width)) for css, width in both],
        "confusions": [("fixed", draw_confusion(report))],
        "calibration": [("panel", one) for one in draw_calibration(report)],
        "abstaining": [("panel", one) for one in draw_coverage(report)],
        "labels": [("panel", one) for one in draw_growth(report)],
        "spend": [(css, one) for css, width in both for one in draw_spend(report, width)],
    }
    return {key: [(css, Markup(one)) for css, one in drawn if one] for key, drawn in found.items()}


def _title(report: Report) -> str:
    name, task = (winner_name(report), words.cut(at(report, "task", "name") or "this task", 80))
    return f"{words.visible(name)} for {task} · whichway" if name else f"{task} · whichway"


def _share(report: Report) -> Any:
    """Return the certainty in whole percent for the small bar, or None."""
    known = verdict.certainty_share(report)
    return None if known is None else round(min(1.0, max(0.0, known)) * 100)


def _part(name: str) -> str:
    return files("whichway.report").joinpath("template", name).read_text(encoding="utf-8")
