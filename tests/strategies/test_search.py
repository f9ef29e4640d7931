"""The search for a better prompt: it can lose, it pays for nothing twice, and it never shows the rows it scores on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whichway.core.model import Reply
from whichway.core.output import Labels
from whichway.core.strategy import RESUME, Kit, PromptVersion
from whichway.core.task import Example, Field, Task
from whichway.core.text import Text
from whichway.errors import NotApplicable
from whichway.registry import get
from whichway.strategies.optimise import Optimise
from whichway.strategies.parts import marks
from whichway.strategies.parts.hashed import HashedWords
from whichway.strategies.parts.prompted import fitted_prompt
from whichway.strategies.parts.racing import BLOCK, Race, Runner, headroom, is_behind
from whichway.strategies.parts.recipe import RULES, Pantry, Recipe, typical_words
from whichway.strategies.parts.search import Search
from whichway.strategies.parts.searched import ready, rows_to_score

NAMES = ("refund", "delivery", "account")


class Reader:
    """A model whose answers are right where the prompt pleases it, and else on a fixed share of rows."""

    name, is_local = "reader", True

    def __init__(self, pleases: Callable[[str], bool], share: float = 0.5) -> None:
        self.pleases, self.share, self.asked = pleases, share, []

    def score(self, prompts: list[str], continuations: list[str], shared: str = "") -> Any:
        """Return likelihoods [prompts, continuations]."""
        self.asked += prompts
        return np.array([[self._one(prompt, name) for name in continuations] for prompt in prompts])

    def _one(self, prompt: str, name: str) -> float:
        row = prompt.rsplit("about ", 1)[-1]
        luck = int(hashlib.sha256(row.encode()).hexdigest()[:8], 16) / 2**32
        right = row.startswith(name.strip().split(" ")[0].lower())
        wrong = (
            row.startswith(NAMES[(NAMES.index(name.strip().lower()) + 1) % 3])
            if name.strip().lower() in NAMES
            else False
        )
        knows = self.pleases(prompt) or luck < self.share
        return 0.0 if (right if knows else wrong) else -3.0

    def count(self, text: str) -> int:
        return len(text.split())


def make_task(**more: Any) -> Task:
    return Task("desk", "Sort the message.", (Field("text"),), Labels(NAMES), get("metric", "accuracy")(), **more)


def rows(count: int, start: int = 0) -> list[Example]:
    return [
        Example(f"r{i}", {"text": f"number {i} about {NAMES[i % 3]} x{i}"}, NAMES[i % 3]) for i in range(start, count)
    ]


def fitted(model: Any, folder: Path, said: list[PromptVersion] | None = None, **settings: Any) -> Any:
    kit = Kit({"causal": model}, None, folder, 0, record=(said if said is not None else []).append)
    train = rows(160)
    return Optimise(**{"prompts": 16, **settings}).fit(make_task(), train[:130], train[130:], kit)


def test_the_search_finds_the_setting_that_matters_and_says_what_it_bought(tmp_path: Path) -> None:
    rule = RULES["labels"][1]
    found = fitted(Reader(lambda prompt: rule in prompt), tmp_path, prompts=24)
    assert rule in found.version().text and rule not in found.seed().version().text
    (edit,) = [one for one in found.edits() if one.what == "rule"]
    assert (edit.before, edit.after) == ("none", rule) and edit.bought > 0.3 and edit.rows == 95
    fresh = [one.inputs for one in rows(200, 160)]
    right = [a.value == one.target for a, one in zip(found.predict(fresh), rows(200, 160), strict=True)]
    assert all(right)
    # What bought nothing was taken back, unless it makes the prompt shorter.
    shorter = len(found.version().text) < len(found.seed().version().text)
    assert all(one.bought > 0 or shorter for one in found.edits())


def test_a_search_is_not_opened_where_nothing_is_to_be_gained(tmp_path: Path) -> None:
    perfect = Reader(lambda _: True)
    with pytest.raises(NotApplicable, match=r"No headroom.*With strategies.settings.optimise.gate: false"):
        fitted(perfect, tmp_path)
    few = len(perfect.asked)
    found = fitted(perfect, tmp_path / "all the same", gate=False)
    assert all(one.bought == 0 for one in found.edits())  # equal answers: all there is to gain is a shorter prompt
    assert len(found.version().text) < len(found.seed().version().text) / 2
    assert len(perfect.asked) - few > few


def test_prompts_are_scored_on_rows_that_are_never_shown(tmp_path: Path) -> None:
    model = Reader(lambda prompt: "Title" in prompt)
    fitted(model, tmp_path)
    at_end = (re.search(r"number (\d+) about \w+ x\d+\n[^\n]*$", prompt.rstrip()) for prompt in model.asked)
    asked = {found[1] for found in at_end if found}
    shown = {one.split(" ")[0] for prompt in model.asked for one in prompt.split("number ")[1:-1]}
    assert asked and shown and not asked & shown


@pytest.mark.parametrize(("part", "further"), [("screen", 45), ("_propose", 45), ("_taken_back", 5)])
def test_a_killed_search_scores_nothing_twice_and_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, further: int
) -> None:
    rule = RULES["labels"][2]

    def pleased(prompt: str) -> bool:
        return "Task:" in prompt or rule in prompt

    class Killed(Reader):
        most = 10**9

        def score(self, prompts: list[str], continuations: list[str], shared: str = "") -> Any:
            if len(self.asked) > self.most:
                raise KeyboardInterrupt
            return super().score(prompts, continuations, shared)

    whole = Reader(pleased, 0.3)
    said: list[PromptVersion] = []
    once = fitted(whole, tmp_path / "whole", said, prompts=16)
    first, second = Killed(pleased, 0.3), Reader(pleased, 0.3)
    kept = getattr(Search, part)

    def begun(search: Search, *more: Any) -> Any:
        first.most = len(first.asked) + further
        return kept(search, *more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Search, part, begun)
        fitted(first, tmp_path / "killed", prompts=16)
    assert list((tmp_path / "killed" / RESUME).iterdir())
    told: list[PromptVersion] = []
    again = fitted(second, tmp_path / "killed", told, prompts=16)
    assert again.version() == once.version() and again.edits() == once.edits() and again.facts == once.facts
    assert [(one.id, one.parent, one.rows, one.score) for one in told] == [
        (one.id, one.parent, one.rows, one.score) for one in said
    ]
    assert len(second.asked) < len(whole.asked)
    blocks = len(first.asked) + len(second.asked) - len(whole.asked)
    assert blocks <= 20  # at most the block that was under way, and the calibration that goes with it


@pytest.mark.parametrize("change", ["instruction", "seed", "setting", "rows", "labels"])
def test_a_search_of_other_settings_is_not_continued(tmp_path: Path, change: str) -> None:
    def went(
        instruction: str = "Sort it.", seed: int = 0, prompts: int = 8, first: int = 0, names: Any = NAMES
    ) -> Reader:
        model, train = Reader(lambda prompt: "Task:" in prompt), rows(100 + first, first)
        said: list[str] = []
        kit = Kit({"causal": model}, None, tmp_path, seed, progress=lambda one: said.append(one.what))
        task = replace(make_task(), instruction=instruction, output=Labels(names))
        Optimise(prompts=prompts, gate=False).fit(task, train[:70], train[70:], kit)
        told.append("an earlier search had other settings: begun anew" in said)
        return model

    told: list[bool] = []
    went()
    same = len(went().asked)  # nothing but what fits the end is asked again
    other = {"instruction": "Sort them.", "seed": 1, "setting": 9, "rows": 1, "labels": (*NAMES, "other")}[change]
    where = {"setting": "prompts", "rows": "first", "labels": "names"}.get(change, change)
    anew = len(went(**{where: other}).asked)
    assert anew > 2 * same and told == [False, False, True]


def test_every_scored_prompt_is_recorded_with_its_parent_and_score(tmp_path: Path) -> None:
    said: list[PromptVersion] = []
    found = fitted(Reader(lambda prompt: "Label:" in prompt), tmp_path, said)
    seed, *others = said
    assert seed.id == found.seed().version().id and seed.parent == "" and seed.rows == 95
    assert len({one.id for one in said}) >= 16 and all(one.parent for one in others)
    assert all(0 <= one.score <= 1 and one.rows >= 16 and one.tokens > 0 and one.change for one in others)
    best = max(said, key=lambda one: (one.rows, one.score))
    assert found.version().id in {one.id for one in said} and best.score > seed.score


def test_a_clearly_worse_prompt_is_dropped_early(tmp_path: Path) -> None:
    said: list[PromptVersion] = []
    fitted(Reader(lambda prompt: "Input: " in prompt, 0.1), tmp_path, said, gate=False)
    dropped = [one for one in said if one.rows < 95]
    assert dropped and max(one.score for one in dropped) < said[0].score


def test_texts_are_optimised_by_their_metric(tmp_path: Path) -> None:
    class Writer:
        name, is_local, calls = "writer", True, 0

        def generate(self, requests: Any) -> list[Reply]:
            told = [one.messages[0][1] for one in requests]
            asked = [one.messages[-1][1].rsplit("about ", 1)[-1] for one in requests]
            return [
                Reply(word if "Be brief" in head else f"well, {word}") for head, word in zip(told, asked, strict=True)
            ]

    task = Task("copy", "Name it.", (Field("text"),), Text(), get("metric", "exact_match")())
    train = [Example(f"r{i}", {"text": f"about w{i}"}, f"w{i}") for i in range(80)]
    kit = Kit({"causal": Writer()}, None, tmp_path)
    found = Optimise(prompts=24).fit(task, train[:60], train[60:], kit)
    assert "Be brief" in found.version().text
    assert {one.what: one.bought for one in found.edits()}["rule"] == 1
    assert found.predict([{"text": "about w99"}])[0].value == "w99"
    assert found.seed().predict([{"text": "about w99"}])[0].value == "well, w99"


def test_too_few_rows_are_no_search(tmp_path: Path) -> None:
    kit = Kit({"causal": Reader(lambda _: True)}, None, tmp_path)
    with pytest.raises(NotApplicable, match="needs 16"):
        Optimise().fit(make_task(), rows(12), [], kit)


class EasyFirst(Reader):
    """Knows some rows under any prompt, and every other one under a prompt that pleases it."""

    easy: frozenset[str] = frozenset()

    def _one(self, prompt: str, name: str) -> float:
        self.share = 1.0 if prompt.rsplit("about ", 1)[-1].split("\n")[0] in self.easy else 0.5
        return super()._one(prompt, name)


def test_a_few_right_answers_do_not_prove_that_nothing_is_to_be_gained(tmp_path: Path) -> None:
    """The seed answers the first block as well as any prompt does; further rows show what a prompt without examples gains."""
    model, train = EasyFirst(lambda prompt: prompt.count("about ") == 1), rows(160)
    scored, _ = rows_to_score(make_task(), model, train[:130], train[130:], 0, 0)
    model.easy = frozenset(row.inputs["text"].rsplit("about ", 1)[-1] for row in scored[:16])
    found = fitted(model, tmp_path, prompts=9)
    assert "about" not in found.version().text


@pytest.mark.parametrize("pick", ["spread", "nearest"])
def test_a_prompt_that_the_race_has_scored_on_all_rows_is_not_asked_again(tmp_path: Path, pick: str) -> None:
    model, train = Reader(lambda _: False, share=0.8), rows(120)
    race = Race(make_task(), train[:32], tmp_path / "race")
    pantry = Pantry(make_task(), model, train[32:], HashedWords(), 0)
    draft = pantry.draft(replace(pantry.seed_recipe(), pick=pick).canonical())
    race.run(race.enter(draft.version().id, draft), None)
    asked = len(model.asked)
    found, after_a_kill = (
        ready(draft, pantry, one, train) for one in (race, Race(make_task(), race.rows, race.folder))
    )
    assert len(model.asked) == asked and found.reader == after_a_kill.reader
    assert found.near is None or len(found.near.examples) == 120, "all of train is there to be shown"
    anew = fitted_prompt(draft, race.rows, enough=len(race.rows))
    assert len(model.asked) == asked + 32 and found.reader == anew.reader
    other = Race(make_task(), train[8:24], tmp_path / "other")
    runner = other.enter(draft.version().id, draft)
    other.take(runner, race)
    other.run(runner, None)
    assert len(model.asked) == asked + 32 and runner.table == race.finished(draft).table[8:24]
    outside = Race(make_task(), train[8:40], tmp_path / "outside")
    runner = outside.enter(draft.version().id, draft)
    outside.take(runner, race)
    outside.run(runner, None)
    assert len(model.asked) == asked + 64, "rows that the race did not ask about are asked about"


def test_headroom_holds_the_luck_of_choosing_the_best() -> None:
    rng = np.random.default_rng(0)
    seed = Runner("s", None, [float(x) for x in rng.random(64) < 0.5])  # type: ignore[arg-type]
    same = [replace_values(seed, rng.random(64) < 0.5) for _ in range(7)]
    gain, low, high = headroom(seed, same)
    assert low <= gain <= high and low < 0.1 < high
    assert headroom(seed, [seed]) == (0.0, 0.0, 0.0)


def replace_values(one: Runner, values: Any) -> Runner:
    return replace(one, id="o", values=[float(x) for x in values])


def test_equal_rows_do_not_drop_a_prompt() -> None:
    assert not is_behind([0.0] * 16) and not is_behind([-1.0] + [0.0] * 15)
    assert is_behind([-1.0] * 4 + [0.0] * 12)


def test_formats_are_different_and_keep_what_a_prompt_says() -> None:
    every = {marks.marks(i) for i in range(marks.count())}
    assert len(every) > 400  # a few are made in two ways
    pantry = Pantry(make_task(context="Be kind."), Reader(lambda _: True), rows(30), None, 0)
    for number in marks.sample(20, 3):
        text = pantry.draft(Recipe(marks=number)).version().text
        assert "Sort the message." in text and "Be kind." in text and text.count("number ") == 8
        assert all(name in text.casefold() for name in NAMES)


def test_typical_words_tell_labels_apart() -> None:
    found = typical_words(make_task(), rows(30))
    assert {name: words[0] for name, words in found.items()} == {name: name for name in NAMES}


def test_a_recipe_that_shows_nothing_is_one_prompt_whatever_its_order() -> None:
    assert Recipe(shots=0, order="turned", draw=2, pick="nearest").canonical() == Recipe(shots=0)
    assert Recipe(pick="nearest", order="turned").canonical() == Recipe(pick="nearest")
    assert Recipe(shots=4, rule=1, draw=2).differing(Recipe()) == ["rule", "shots"]
    assert Recipe(rule=1, draw=2).with_from(Recipe(), "order") == Recipe(rule=1)


def test_a_change_that_bought_nothing_is_taken_back_and_one_that_did_is_told(tmp_path: Path) -> None:
    rule = RULES["labels"][1]
    pantry = Pantry(make_task(), Reader(lambda prompt: rule in prompt), rows(60), None, 0)
    race = Race(make_task(), rows(100, 60)[:32], tmp_path / "race")
    search = Search(pantry, race, Kit({}, None, tmp_path), lambda: 0.0)
    search.best = search._enter(replace(search.seed_recipe, rule=1, wording=1))
    race.run(search.seed, None)
    race.run(search.best, None)
    (edit,) = search._taken_back()
    assert edit.what == "rule" and edit.bought > 0.3 and edit.rows == 32
    assert search.recipes[search.best.id] == replace(search.seed_recipe, rule=1)


def test_a_search_tells_of_every_prompt_before_it_asks_with_it(tmp_path: Path) -> None:
    rule = RULES["labels"][1]
    model, told = Reader(lambda prompt: rule in prompt), list[tuple[int, str]]()
    kit = Kit({"causal": model}, None, tmp_path, 0, progress=lambda one: told.append((len(model.asked), one.what)))
    train = rows(160)
    Optimise(prompts=24).fit(make_task(), train[:130], train[130:], kit)
    at = [asked for asked, _ in told] + [len(model.asked)]
    assert max(b - a for a, b in zip(at, at[1:], strict=False)) <= 96, "the last: the whole of what is recorded"
    of_search = at[: next(i for i, (_, what) in reversed(list(enumerate(told))) if what.startswith("prompts")) + 1]
    assert max(b - a for a, b in zip(of_search, of_search[1:], strict=False)) <= BLOCK
    assert {"prompts", "prompts on more rows"} <= {what.split(" (")[0] for _, what in told}
