"""The page about the task file names everything that it may say, and its example is a task file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from whichway.core.rules import Rules
from whichway.intake.taskfile import Endpoint, TaskFile, read_task_file
from whichway.registry import get, names

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "task.md").read_text(encoding="utf-8")
PRICES = (DOCS / "costs.md").read_text(encoding="utf-8")


def keys(model: type[BaseModel]) -> Iterator[str]:
    """Yield the keys of a section and of those within it, but for endpoints, which have a page of their own."""
    for name, one in model.model_fields.items():
        yield one.alias or name
        for kind in (one.annotation, *get_args(one.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Endpoint:
                yield from keys(kind)


def test_every_key_of_a_task_file_is_on_the_page_or_on_that_of_costs() -> None:
    missing = [name for name in keys(TaskFile) if not re.search(rf"\b{name}\b", PAGE + PRICES)]
    assert not missing


def test_every_key_of_an_endpoint_is_on_its_page() -> None:
    said = (DOCS / "endpoints.md").read_text(encoding="utf-8")
    assert not [name for name in keys(Endpoint) if not re.search(rf"\b{name}\b", said)]


@pytest.mark.parametrize(
    "name", [one for one in names("metric") if get("metric", one).__module__.startswith("whichway.")]
)
def test_every_metric_is_on_the_page_with_what_may_be_set_and_the_shapes_it_scores(name: str) -> None:
    line = next(one for one in PAGE.splitlines() if f"`{name}`" in one and (one.startswith("|") or name == "rubric"))
    made = get("metric", name)
    given = {"documents", "embedder", "model", "rules"}  # found in the task, not written down
    assert name == "rubric" or all(f"`{one.name}" in line for one in fields(made) if one.name not in given)
    assert name == "rubric" or f"| {', '.join(made.shapes)} |" in line


def test_every_rule_is_on_the_page() -> None:
    assert all(f"`{one.name}`" in PAGE for one in fields(Rules))


def test_the_pages_example_is_a_task_file_whose_defaults_are_the_true_ones(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert example is not None
    (tmp_path / "task.yaml").write_text(example[1])
    (tmp_path / "least.yaml").write_text("task: support\ndata: rows.csv\n")
    said, least = (read_task_file(tmp_path / name)[0] for name in ("task.yaml", "least.yaml"))
    given = {"inputs", "target", "metric"}  # left out they are found, or the usual ones
    assert said.model_dump(exclude=given) == least.model_dump(exclude=given)
    assert set(TaskFile.model_fields) == said.model_fields_set | {
        name for name in TaskFile.model_fields if re.search(rf"^{name}: null", example[1], flags=re.MULTILINE)
    }
