"""Prompt, weights, prompt: each step goes on from the one before, is judged on unseen rows, and is done once."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_search import Reader, make_task, rows

from whichway.core.strategy import Budget, Kit, PromptVersion
from whichway.errors import BudgetReached, NotApplicable
from whichway.strategies.hybrid import Hybrid
from whichway.strategies.parts.prompted import draft_prompt
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.recipe import RULES, Pantry, Recipe
from whichway.strategies.parts.tuned import pairs

RULE = RULES["labels"][1]


@dataclass
class Trainee(Reader):
    """A reader that is right where the prompt holds RULE; weights of quality `tuned` know a share of all rows besides."""

    tuned: float
    trained: list[Any]
    share: float = 0.3
    slow: bool = False
    helps: str = "\nLabel: "
    asked: Any = None

    def __post_init__(self) -> None:
        self.asked = []

    def pleases(self, prompt: str) -> bool:  # type: ignore[override]
        return RULE in prompt and hash_of(prompt) < self.share + 0.3

    def train(self, prompts: Any, answers: Any, settings: Any, dev: Any, folder: Path, kit: Kit) -> Any:
        if self.slow:
            raise BudgetReached("The time budget ended during training.")
        self.trained.append((list(prompts), list(answers), list(dev[0])))
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        return SimpleNamespace(tokens=100 * len(prompts))

    def adapted(self, folder: Path) -> Trainee:
        assert (folder / "adapter_config.json").exists()
        return replace(self, share=self.tuned)


def hash_of(prompt: str) -> float:
    return (sum(map(ord, prompt.rsplit("about ", 1)[-1])) % 100) / 100


def climbed(model: Any, folder: Path, said: list[PromptVersion] | None = None, **settings: Any) -> Any:
    kit = Kit({"causal": model}, None, folder, 0, record=(said if said is not None else []).append)
    train = rows(200)
    return Hybrid(**{"prompts": 16, **settings}).fit(make_task(), train[:150], train[150:], kit)


def names(found: Any) -> list[tuple[str, bool]]:
    return [(one.name, one.solution is not None) for one in found.steps()]


def test_each_step_goes_on_from_the_one_before(tmp_path: Path) -> None:
    said: list[PromptVersion] = []
    model = Trainee(0.8, [])
    found = climbed(model, tmp_path, said, around=500)
    assert names(found)[:3] == [("seed", True), ("prompt", True), ("weights", True)]
    seed, prompt, weights, again = found.steps()
    assert RULE not in seed.solution.version().text and RULE in prompt.solution.version().text
    assert (seed.solution.model.share, prompt.solution.model.share, weights.solution.model.share) == (0.3, 0.3, 0.8)
    ((prompts, answers, held),) = model.trained
    assert all(RULE in one for one in [*prompts, *held]) and weights.solution.version() == prompt.solution.version()
    assert len(prompts) == len(answers) == 150 and len(held) == 50 and found.tokens == 15_000
    assert "150 rows" in weights.said and "ahead by" in weights.said and "(n = 50)" in weights.said
    assert any(one.change.startswith("tuned: ") for one in said) and again.said


def test_weights_that_are_not_ahead_on_rows_they_have_not_seen_are_left_out(tmp_path: Path) -> None:
    found = climbed(Trainee(0.05, []), tmp_path)
    assert names(found) == [("seed", True), ("prompt", True), ("weights", False)]
    assert "behind by" in found.steps()[2].said
    assert found.weights is None and found.best.model.share == 0.3 and RULE in found.version().text


def test_training_that_outlasts_its_share_of_the_time_leaves_the_prompt(tmp_path: Path) -> None:
    found = climbed(Trainee(0.8, [], slow=True), tmp_path)
    assert names(found) == [("seed", True), ("prompt", True), ("weights", False)]
    assert "its share of the time" in found.steps()[2].said
    kit = Kit({"causal": Trainee(0.8, [], slow=True)}, None, tmp_path / "late", 0, Budget(time.monotonic() + 0.5))
    with pytest.raises(BudgetReached):
        train = rows(200)
        slow = kit.models["causal"]
        slow.train = lambda *_: _outlast()  # type: ignore[method-assign]
        Hybrid(prompts=4).fit(make_task(), train[:150], train[150:], kit)


def _outlast() -> None:
    time.sleep(0.6)
    raise BudgetReached("The time budget ended during training.")


def test_a_killed_climb_does_no_step_twice(tmp_path: Path) -> None:
    whole = climbed(Trainee(0.8, []), tmp_path / "whole")

    @dataclass
    class Killed(Trainee):
        def score(self, prompts: list[str], continuations: list[str], shared: str = "") -> Any:
            if self.share == self.tuned and len(self.asked) > 60:
                raise KeyboardInterrupt
            return super().score(prompts, continuations, shared)

    first, second = Killed(0.8, []), Trainee(0.8, [])
    with pytest.raises(KeyboardInterrupt):
        climbed(first, tmp_path / "killed")
    again = climbed(second, tmp_path / "killed")
    assert len(first.trained) == 1 and second.trained == []
    assert again.version() == whole.version()
    assert [one.said for one in again.steps()] == [one.said for one in whole.steps()]


def test_a_climb_asks_its_base_model_nothing_twice(tmp_path: Path) -> None:
    model = Trainee(0.8, [])
    assert names(climbed(model, tmp_path))[2] == ("weights", True)
    assert len(model.asked) > 300 and len(model.asked) == len(set(model.asked))


def test_a_saved_climb_answers_the_same_and_remembers_its_steps(tmp_path: Path) -> None:
    model = Trainee(0.8, [])
    found = climbed(model, tmp_path / "fit")
    found.save(tmp_path / "saved")
    kit = Kit({"causal": model}, None, tmp_path / "saved")
    loaded = Hybrid().load(make_task(), tmp_path / "saved", kit)
    fresh = [one.inputs for one in rows(260, 200)]
    assert loaded.predict(fresh) == found.predict(fresh)
    assert names(loaded) == names(found) and [one.edits for one in loaded.steps()] == [
        one.edits for one in found.steps()
    ]
    for one, other in zip(loaded.steps(), found.steps(), strict=True):
        assert one.solution is None or one.solution.predict(fresh) == other.solution.predict(fresh)


def test_a_model_that_cannot_be_trained_is_refused_before_anything_is_spent(tmp_path: Path) -> None:
    model = Reader(lambda _: True)
    with pytest.raises(NotApplicable, match="cannot be trained"):
        climbed(model, tmp_path)
    assert model.asked == []


def test_a_prompt_for_training_gives_up_examples_and_then_lists_until_it_is_short() -> None:
    pantry = Pantry(make_task(), Trainee(0.8, []), rows(40), None, 0)
    full = pantry.seed_recipe()
    sizes = {shots: pantry.around(replace(full, shots=shots)) for shots in (8, 4, 2, 0)}
    assert sizes[8] > sizes[4] > sizes[2] > sizes[0] > 0
    assert pantry.lighter(full, 1000) == full
    assert pantry.lighter(full, int(sizes[4]) + 1) == replace(full, shots=4)
    bare = pantry.lighter(full, int(sizes[0]) - 1)
    assert bare.shots == 0 and not bare.listed and bare.wording == full.wording
    assert pantry.lighter(full, 0) == Recipe(shots=0, listed=False, context=False)


def test_no_row_is_shown_its_own_answer_in_training() -> None:
    some = rows(12)
    draft = draft_prompt(make_task(), Trainee(0.8, []), PromptFormat(), some[:3], 3, some)
    prompts, answers = pairs(draft, some)
    for row, prompt, answer in zip(some, prompts, answers, strict=True):
        text = str(row.inputs["text"])
        assert prompt.count(f"{text}\n") == 1 and answer == f" {row.target}"
