"""The page about strategies names every setting of every strategy with its true default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from whichway.intake.taskfile import read_task_file
from whichway.registry import get, names
from whichway.study.lines import DEFAULTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")
OURS = [name for name in names("strategy") if get("strategy", name).__module__.startswith("whichway.")]


def settings_of(way: str) -> dict[str, str]:
    """Return setting -> default as the page's table of a strategy says it."""
    parts = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    section = next(part for part in parts if part.splitlines()[0] == way)
    return dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \| \S", section, flags=re.MULTILINE))


@pytest.mark.parametrize("way", OURS)
def test_every_setting_of_a_strategy_is_on_the_page_with_its_default(tmp_path: Path, way: str) -> None:
    made, said = get("strategy", way), settings_of(way)
    assert list(said) == [one.name for one in fields(made)]
    listed = "".join(f"      {name}: {value}\n" for name, value in said.items())
    text = f"task: t\ndata: r.csv\nstrategies:\n  settings:\n    {way}:\n{listed}" if said else "task: t\ndata: r.csv\n"
    (tmp_path / "task.yaml").write_text(text)
    read = read_task_file(tmp_path / "task.yaml")[0].strategies.settings.get(way, {})
    assert TypeAdapter(made).validate_python(read) == made()


def test_every_name_of_a_study_is_on_the_page() -> None:
    for name, way, _ in DEFAULTS:
        assert f"`{name}`" in PAGE and f"[{way}](#{way})" in PAGE


def test_the_pages_example_is_a_task_file_that_is_understood(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from kept import make_task

    from whichway.study.lines import make_lines

    example = re.search(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert example is not None
    (tmp_path / "task.yaml").write_text("task: t\ndata: r.csv\n" + example[1])
    said = read_task_file(tmp_path / "task.yaml")[0]
    settings = SimpleNamespace(strategies=said.strategies, models=said.models, budget=said.budget)
    lines = {line.name: line.strategy for line in make_lines(make_task(), settings)}
    assert list(lines) == ["majority", "classic", "prompt-few", "prompt-nearest", "finetune"]
    assert lines["prompt-few"].shots == 12 and not lines["prompt-nearest"].context and lines["finetune"].epochs == 5
