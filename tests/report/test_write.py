"""Writing, reading back, and what the page and the Markdown let through."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sample import IMG, LABELS, report, trial

from whichway.errors import UsageError
from whichway.report.page import style_hash
from whichway.report.write import read_report, render, write_report


class Page(HTMLParser):
    """What a browser would make of a page: its elements, its attributes, its visible words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.said).split())


def without_parts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the sample with each part missing, None, empty, or hollow."""
    for key, part in report().items():
        empty: Any = [] if isinstance(part, list) else {} if isinstance(part, dict) else ""
        yield (f"{key} missing", {name: one for name, one in report().items() if name != key})
        yield f"{key} None", report(**{key: None})
        yield f"{key} empty", report(**{key: empty})
        if isinstance(part, dict):
            yield f"{key} hollow", report(**{key: dict.fromkeys(part)})
        if isinstance(part, list) and part and isinstance(part[0], dict):
            yield f"{key} hollow", report(**{key: [dict.fromkeys(one) for one in part]})
    for key in report()["recommendation"]:
        yield (f"recommendation.{key} None", report(recommendation={**report()["recommendation"], key: None}))


@pytest.mark.parametrize("format", ["html", "md", "json"])
def test_a_report_that_lacks_any_part_is_still_shown(format: str) -> None:
    for name, one in without_parts():
        shown = render(one, format)
        assert shown.endswith("\n"), name
        assert "nan" not in re.findall(r"[A-Za-z]+", shown.lower()), name
        assert format == "json" or ">None<" not in shown, name


@pytest.mark.parametrize("format", ["html", "md", "json"])
def test_an_empty_report_and_one_without_trials_are_shown(format: str) -> None:
    assert render({}, format)
    assert render(report(trials=[], recommendation=None, differences=[]), format)
    only = [trial("lora", state="skipped", reason="needs a GPU"), trial("prompt", state="failed", reason="timed out")]
    none = {"strategy": None, "level": "undecided", "sentence": ""}
    shown = render(report(trials=only, recommendation=none, state="budget"), format)
    assert "timed out" in shown and "needs a GPU" in shown
    assert format == "json" or "No strategy can be recommended" in shown
    assert format == "json" or "budget was reached" in shown


def test_the_page_has_no_script_no_handler_no_style_attribute_and_no_request() -> None:
    page = Page(render(report(), "html"))
    assert {"script", "iframe", "object", "embed", "base", "form", "img", "use", "image"}.isdisjoint(
        tag for tag, _ in page.elements
    )
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        for name in ("href", "src", "xlink:href", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), (tag, attributes)
    assert "url(" not in render(report(), "html") and "@import" not in render(report(), "html")


def test_foreign_text_is_shown_and_never_becomes_markup() -> None:
    html = render(report(), "html")
    assert "<script" not in html and "<img" not in html
    assert IMG in Page(html).words and '<script>alert("x")</script>' in Page(html).words
    assert "\x1b" not in html and "\u202e" not in html and "\\x1b[2J\\u202e" in html


def test_a_strategy_named_like_markup_is_escaped_in_plots_and_tables() -> None:
    evil = '"><svg onload=alert(1)>'
    named = report()
    named["trials"][0]["strategy"] = named["recommendation"]["strategy"] = named["spend_by"][0]["strategy"] = evil
    named["calibration"][evil] = named["calibration"].pop("probe")
    html = render(named, "html")
    assert "<svg onload" not in html
    assert not any("onload" in attributes for _, attributes in Page(html).elements)


def test_the_policy_names_the_hash_of_exactly_the_style_in_the_page() -> None:
    html = render(report(), "html")
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert len(styles) == 1
    policy = dict(next(one for tag, one in Page(html).elements if tag == "meta" and "http-equiv" in one))["content"]
    assert f"style-src '{style_hash(styles[0])}'" in str(policy)
    assert str(policy).startswith("default-src 'none';") and "script-src" not in str(policy)


def test_the_style_hash_is_the_one_browsers_compute() -> None:
    assert style_hash("") == "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_the_verdict_comes_first_and_the_sections_keep_their_order() -> None:
    for format in ("html", "md"):
        shown = Page(render(report(), format)).words if format == "html" else render(report(), format)
        order = [
            "within 0.02 of the best score",
            "Runner-up: encoder",
            "How good each way is",
            "All ways side by side",
            "Quality against cost",
            "Label by label",
            "What is taken for what",
            "Rows where finalists disagree",
            "What would change the answer",
            "Can its confidence be trusted",
            "What the study cost",
            "What was noticed about the data",
            "Threats to validity",
            "Dropped, skipped and failed",
            "How to repeat it",
        ]
        places = [shown.rindex(one) if i > 1 else shown.index(one) for i, one in enumerate(order)]
        assert places == sorted(places), format


def test_every_number_of_the_verdict_has_its_n_and_interval() -> None:
    shown = Page(render(report(), "html")).words.replace("\u00a0", " ")
    for said in (
        "0.881",
        "0.831\u20130.931, n = 160",
        "$0.0021",
        "14.2 ms",
        "6.4 s",
        "0.018 to +0.006), n = 160",
        "71%",
    ):
        assert said in shown.split("How good each way is")[0], said


def test_a_requirement_that_is_not_met_is_said() -> None:
    missed = report()
    missed["task"]["constraints"]["min_score"] = 0.95
    assert "not\u00a0met" in render(missed, "html") and "not\u00a0met" not in render(report(), "html")
    assert "**not met**" in render(missed, "md") and "**not met**" not in render(report(), "md")


def test_markdown_tables_keep_their_columns_whatever_the_labels_hold() -> None:
    lines = render(report(), "md").splitlines()
    tables = [i for i, line in enumerate(lines) if re.fullmatch(r"\|( -+:? \|)+", line)]
    assert len(tables) >= 8
    for i in tables:
        width = len(re.findall(r"(?<!\\)\|", lines[i]))
        for line in lines[i + 1 :]:
            if not line.startswith("|"):
                break
            assert len(re.findall(r"(?<!\\)\|", line)) == width, line


def test_markdown_escapes_what_would_be_markup() -> None:
    shown = render(report(threats=["`a` **b** [c](javascript:x) <i> _d_ # e", "# f", "1. g"]), "md")
    assert "- \\`a\\` \\*\\*b\\*\\* \\[c\\](javascript:x) &lt;i&gt; \\_d\\_ \\# e" in shown
    assert "- \\# f" in shown and "- 1\\. g" in shown
    assert "<script" not in shown and "<img" not in shown


def test_a_command_with_back_ticks_stays_inside_its_fence() -> None:
    shown = render(report(reproduce={"command": "whichway run '```x```'"}), "md")
    assert "````\nwhichway run '```x```'\n````" in shown


def test_three_files_are_written_and_the_report_reads_back_in_its_own_order(tmp_path: Path) -> None:
    write_report(report(), tmp_path / "new" / "run")
    folder = tmp_path / "new" / "run"
    assert sorted(os.listdir(folder)) == ["report.html", "report.json", "report.md"]
    assert read_report(folder) == report()
    assert list(read_report(folder)) == list(report())
    assert (folder / "report.json").read_text(encoding="utf-8") == render(report(), "json")


def test_a_number_that_is_not_finite_is_written_as_null() -> None:
    odd = report(spent={"seconds": math.nan, "usd": math.inf, "tokens": 1}, threats=("a", "\ud800b"))
    assert json.loads(render(odd, "json"))["spent"] == {"seconds": None, "usd": None, "tokens": 1}
    assert json.loads(render(odd, "json"))["threats"] == ["a", "?b"]
    render(odd, "html").encode("utf-8")


def test_a_write_that_fails_leaves_the_old_file_and_no_scrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(report(), tmp_path)
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}

    def refuse(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_report(report(state="budget"), tmp_path)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_the_same_report_gives_the_same_bytes() -> None:
    assert all(render(report(), format) == render(report(), format) for format in ("html", "md", "json"))


def test_a_folder_without_a_readable_report_is_refused_with_a_fix(tmp_path: Path) -> None:
    for text in (None, "{", "[]", '{"schema": 99}'):
        if text is not None:
            (tmp_path / "report.json").write_text(text)
        with pytest.raises(UsageError) as error:
            read_report(tmp_path)
        assert str(tmp_path) in error.value.problem and error.value.fix
    with pytest.raises(UsageError, match="pdf"):
        render(report(), "pdf")


def test_a_large_study_stays_below_three_megabytes_and_is_quick() -> None:
    big, names = report(), [f"way-{i}" for i in range(150)]
    big["trials"] = [{**big["trials"][0], "strategy": name} for name in names]
    labels = [f"label {i} {'x' * 60}" for i in range(2000)]
    scores = {name: {"precision": 0.5, "recall": 0.5, "f1": 0.5} for name in names[:5]}
    big["task"]["output"]["labels"] = labels
    big["per_class"] = [{"label": label, "n": 3, "scores": scores} for label in labels]
    big["confusions"] = [{"strategy": "probe", "true": one, "answered": labels[0], "n": 1} for one in labels]
    answers = {name: {"value": labels[0], "confidence": 0.5} for name in names[:5]}
    big["disagreements"] = [{"id": str(i), "text": "y" * 20_000, "true": "a", "answers": answers} for i in range(500)]
    begun = time.monotonic()
    html = render(big, "html")
    assert len(html.encode()) < 3_000_000 and time.monotonic() - begun < 5
    assert "1,800 more in report.json." in html and "440 more in report.json." in html


def test_labels_are_shown_as_they_are_written() -> None:
    words = Page(render(report(), "html")).words
    assert all(label in words for label in LABELS)


def test_the_report_says_at_which_price_of_which_day_endpoints_were_booked() -> None:
    said = "list price of 2026-10-14, https://developers.openai.com/api/docs/pricing"
    prices = [{"endpoint": "big", "model": "m-1", "input": 0.4, "cached_input": 0.1, "output": 1.6, "said": said}]
    for page in (render(report(prices=prices), "html"), render(report(prices=prices), "md")):
        assert "$0.4 of input, $0.1 of cached input, $1.6 of output per million tokens" in page.replace("\\", "")
        assert "list price of 2026-10-14" in page.replace("\\", "")


def test_skipped_ways_have_no_line_of_dashes_in_the_great_table_and_are_named_below_it() -> None:
    more = [trial(name, state="skipped", reason="no documents") for name in ("reflect", "raft")]
    shown = render(report(trials=[*report()["trials"], *more]), "md")
    _, great = shown.split("## All ways side by side")
    great, _ = great.split("\n## ", 1)
    lines = great.splitlines()
    assert not any(line.startswith(("| reflect", "| raft", "| lora")) for line in lines)
    (named,) = (line for line in lines if "Skipped, for reasons given below" in line)
    assert "lora" in named and "reflect, raft" in named


def test_ways_that_were_not_run_to_the_end_are_named_once_where_their_reasons_do_not_stand() -> None:
    untried = ["lora: skipped, would take 41 min.", "rag: failed, cut off.", "Stronger models: no endpoint was given."]
    told = report()["recommendation"] | {"not_tested": untried}
    shown = render(report(recommendation=told), "md")
    part = shown.split("## What would change the answer")[1].split("\n## ")[0]
    assert "Not run to the end, for reasons given below: lora, rag." in part
    assert "Not tested: Stronger models: no endpoint was given." in part
    assert "41 min" not in part and "cut off" not in part and "41 min" in shown.split("## Dropped, skipped")[1]


@pytest.mark.parametrize("nothing", [None, {}, [], ""])
def test_settings_without_a_value_are_not_shown(nothing: Any) -> None:
    task = report()["task"] | {"objective": {"hours": nothing, "label_usd": 0.0}}
    shown = render(report(task=task), "md")
    assert "label: \\$0" in shown and "hours:" not in shown
