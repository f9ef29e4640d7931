"""Reflection: the instruction is rewritten from mistakes, replayed from the ledger, and nothing is pickled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from whichway.core.model import Reply, Spend
from whichway.core.output import Labels
from whichway.core.strategy import Kit, PromptVersion
from whichway.core.task import Example, Field, Task
from whichway.errors import NotApplicable, ProviderError
from whichway.registry import get
from whichway.strategies.reflect import Reflect

NEW = "Sort it by what the customer needs. Think of the second word."


class Writer:
    """A model that answers well under the new instruction, and writes that instruction when it is shown mistakes."""

    name, is_local = "writer", False

    def __init__(self, always: bool = False, fails: bool = False) -> None:
        self.always, self.fails, self.reflections, self.answers = always, fails, [], 0

    def generate(self, requests: Any) -> list[Reply]:
        return [self._one(one) for one in requests]

    def _one(self, request: Any) -> Reply:
        text = request.messages[-1][1]
        if "Feedback" in text:
            self.reflections.append((text, request.draw))
            return Reply("", finish="failed", problem="down") if self.fails else Reply(f"So:\n```\n{NEW}\n```")
        self.answers += 1
        second = re.findall(r"about (\w+)", text)[-1]
        good = self.always or "second word" in request.messages[0][1]
        return Reply(second if good else "refund", Spend(tokens_in=10))


def fitted(model: Writer, folder: Path, said: list[PromptVersion] | None = None, **settings: Any) -> Any:
    names = ("refund", "delivery")
    task = Task("desk", "Sort the message.", (Field("text"),), Labels(names), get("metric", "accuracy")(), "A shop.")
    rows = [Example(f"r{i}", {"text": f"about {names[i % 2]} {i}"}, names[i % 2]) for i in range(80)]
    kit = Kit({"big": model}, None, folder, 0, record=(said if said is not None else []).append)
    how = {"model": "big", "calls": 200, "gate": False, **settings}
    return Reflect(**how).fit(task, rows[:60], rows[60:], kit)


def test_the_instruction_is_rewritten_from_mistakes_and_compared_with_its_seed(tmp_path: Path) -> None:
    said: list[PromptVersion] = []
    model = Writer()
    found = fitted(model, tmp_path, said)
    assert NEW in found.version().text and NEW not in found.seed().version().text
    (edit,) = found.edits()
    assert edit.what == "instruction" and edit.after == NEW and 0.4 < edit.bought < 0.6
    text, draw = model.reflections[0]
    assert "The right answer is: delivery" in text and "Sort the message." in text and draw == 1
    asked = [{"text": "about delivery 99"}, {"text": "about refund 98"}]
    assert [one.value for one in found.predict(asked)] == ["delivery", "refund"]
    child = next(one for one in said if NEW in one.text)
    assert child.parent in {one.id for one in said} and child.score == 1.0 and child.change


def test_it_saves_and_loads_the_new_instruction_and_pickles_nothing(tmp_path: Path) -> None:
    model = Writer()
    found = fitted(model, tmp_path)
    found.save(tmp_path / "saved")
    kit = Kit({"big": model}, None, tmp_path)
    again = Reflect(model="big").load(found.best.task, tmp_path / "saved", kit)
    assert again.version() == found.version() and again.edits() == found.edits()
    names = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert names <= {".json", ".txt"}


def test_it_is_not_opened_where_nothing_is_to_be_gained(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="No headroom"):
        fitted(Writer(always=True), tmp_path, gate=True)


def test_a_reflector_that_is_down_ends_the_trial_with_its_problem(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="writer: down"):
        fitted(Writer(fails=True), tmp_path)
