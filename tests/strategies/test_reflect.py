"""Reflection: the instruction is rewritten from mistakes, replayed from the ledger, and nothing is pickled."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fault_server import Fault, FaultServer, Seen, answer

from whichway.core.model import Reply, Request, Spend
from whichway.core.output import Labels
from whichway.core.strategy import Kit, PromptVersion
from whichway.core.task import Example, Field, Task
from whichway.errors import NotApplicable, ProviderError
from whichway.models.endpoint import EndpointModel
from whichway.registry import get
from whichway.strategies.reflect import Reflect
from whichway.study.kit import TrialMeter
from whichway.study.ledger import Ledger

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
    *others, edit = found.edits()
    assert edit.what == "instruction" and edit.after == NEW and 0.4 < edit.bought < 0.6
    # It began at the best of diverse prompts, which differs from the seed in more than the instruction: that is told, too.
    # Each is taken back by itself under the new instruction, which alone matters to this model; the context went into it.
    assert others and all(one.before != one.after and one.bought == 0 for one in others)
    assert all(one.rows == (0 if one.what == "context" else 48) for one in others), others
    back = [one for one in said if one.change.endswith(" taken back")]
    assert len(back) == sum(one.rows > 0 for one in others) >= 1
    assert all(one.parent == found.version().id and one.rows == 48 and NEW in one.text for one in back)
    text, draw = model.reflections[0]
    assert "The right answer is: delivery" in text and "Sort the message." in text and draw == 1
    asked = [{"text": "about delivery 99"}, {"text": "about refund 98"}]
    assert [one.value for one in found.predict(asked)] == ["delivery", "refund"]
    child = max((one for one in said if NEW in one.text), key=lambda one: one.rows)
    assert child.parent in {one.id for one in said} and child.score == 1.0 and child.change


def test_every_instruction_that_was_scored_is_recorded_with_its_parent_and_what_it_cost(tmp_path: Path) -> None:
    class Useless(Writer):
        """A model that gains nothing by what it writes; its first new instruction is the third thing that fails."""

        def _one(self, request: Any) -> Reply:
            text = request.messages[-1][1]
            if "Feedback" in text:
                self.reflections.append((text, request.draw))
                if len(self.reflections) > 2:
                    return Reply("", finish="failed", problem="down")
                return Reply(f"```\nTry {len(self.reflections)}.\n```")
            return super()._one(request)

    said: list[PromptVersion] = []
    with pytest.raises(ProviderError, match="down"):  # what was paid for before that is known all the same
        fitted(Useless(), tmp_path, said)
    tried = [one for one in said if "Try " in one.text]
    assert [one.rows for one in tried] == [4, 4] and {one.change for one in tried} == {"the instruction, rewritten"}
    assert all(one.parent in {other.id for other in said} and one.parent != one.id for one in tried)
    assert [one.spend.tokens_in for one in tried] == [40, 40] and all(one.spend.seconds > 0 for one in said)
    assert all(one.spend.tokens_in == 10 * one.rows for one in said), "screened ones, too"
    begun = next(one for one in said if one.change == "context in the instruction")
    assert begun.parent in {one.id for one in said} and begun.rows == 48


def play(seen: Seen) -> Fault:
    asked = Request(tuple((one["role"], one["content"]) for one in seen.body["messages"]))
    text = Writer()._one(asked).text
    held = "response_format" in seen.body
    return Fault(body=answer(json.dumps({"label": text}) if held else text))


def test_a_killed_reflection_goes_on_from_the_ledger_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    with FaultServer(play) as server:

        def model(book: Ledger) -> Any:
            price = SimpleNamespace(input=1.0, output=2.0, cached_input=None, batch_discount=None)
            said = {"base_url": server.base_url, "model": "m", "key_env": None, "price": price, "max_concurrency": 4}
            return EndpointModel("big", SimpleNamespace(**said, timeout_s=5.0, batch=False), TrialMeter(book))

        whole = Ledger(tmp_path / "whole", usd_cap=1.0)
        once = fitted(model(whole), tmp_path / "whole-fit", calls=120)
        calls = len(server.log)
        book = Ledger(tmp_path / "cut", usd_cap=1.0)
        first = model(book)
        kept = first.generate

        def generate(requests: Any) -> Any:
            if NEW in requests[0].messages[0][1] and len(requests) > 4:
                raise KeyboardInterrupt
            return kept(requests)

        first.generate = generate
        with pytest.raises(KeyboardInterrupt):
            fitted(first, tmp_path / "cut-fit", calls=120)
        assert calls < len(server.log) < 2 * calls - 40
        again = fitted(model(book), tmp_path / "cut-fit", calls=120)
        assert len(server.log) == 2 * calls
    assert again.version() == once.version() and again.edits() == once.edits() and again.facts == once.facts
    whole.close()
    book.close()


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
    with pytest.raises(NotApplicable, match=r"No headroom.*With strategies.settings.reflect.gate: false"):
        fitted(Writer(always=True), tmp_path, gate=True)


def test_a_reflector_that_is_down_ends_the_trial_with_its_problem(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="writer: down"):
        fitted(Writer(fails=True), tmp_path)


def test_a_change_of_layout_that_matters_under_the_new_instruction_is_told_with_what_it_bought(tmp_path: Path) -> None:
    class Bare(Writer):
        """A model that examples mislead on every row but those that ask for a refund."""

        def _one(self, request: Any) -> Reply:
            reply = super()._one(request)
            return Reply("refund", Spend()) if len(request.messages) > 2 and "```" not in reply.text else reply

    found = fitted(Bare(), tmp_path, calls=400)
    edits = {one.what: one for one in found.edits()}
    assert edits["number of examples"].after == "0" and edits["number of examples"].bought > 0.4
    assert edits["number of examples"].rows == 48
