"""A prompt that one search has scored is not scored again by another, and costs that one what it took."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whichway.core.output import Labels
from whichway.core.strategy import Kit
from whichway.core.task import Example, Field, Task
from whichway.registry import get
from whichway.strategies.hybrid import Hybrid, _Climb
from whichway.strategies.optimise import Optimise
from whichway.strategies.parts.prompted import PromptSolution
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.racing import Race
from whichway.strategies.parts.scored import scored_prompts
from whichway.study.beside import Beside
from whichway.study.ledger import Ledger
from whichway.study.trainings import KeptTrainings

NAMES = ("invoice", "parcel", "password")
TASK = Task("desk", "Sort the message.", (Field("text"),), Labels(NAMES), get("metric", "accuracy")())


def rows(start: int, end: int) -> list[Example]:
    return [Example(f"r{i}", {"text": f"number {i} about {NAMES[i % 3]}"}, NAMES[i % 3]) for i in range(start, end)]


class Reader:
    """A model on this machine that scores answers; half of the time it sees which word the row holds."""

    name, is_local, where = "reader", True, ""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def score(self, prompts: Any, continuations: Any, shared: str = "") -> Any:
        self.asked += [(prompt, tuple(continuations)) for prompt in prompts]
        return np.array([self._row(prompt) for prompt in prompts])

    def _row(self, prompt: str) -> Any:
        last = prompt.rstrip().splitlines()[-2] if "number" in prompt else ""
        sees = np.random.default_rng(len(prompt)).random() < (0.9 if "Title" in prompt else 0.5)
        return np.array([float(sees and name in last) for name in NAMES]) + np.linspace(0, 0.1, len(NAMES))

    def count(self, text: str) -> int:
        return len(text.split())

    def train(self, *more: Any) -> Any:
        raise LookupError("not in this test")


def a_draft(model: Any) -> PromptSolution:
    return PromptSolution(TASK, model, PromptFormat(), (), None, 0, None)


def kit_of(home: Path, way: str, model: Any, weights: str = "w", run: str = "run", near: Beside | None = None) -> Kit:
    kept = KeptTrainings(home / run, way, near or Beside(), lambda: weights)
    folder = home / run / "trials" / way
    folder.mkdir(parents=True, exist_ok=True)
    return Kit({"causal": model}, None, folder, 0, trainings=kept)


def optimised(home: Path, model: Any, way: str = "optimise", **how: Any) -> tuple[Any, Any]:
    kit = kit_of(home, way, model, **how)
    found = Optimise(prompts=9, rows=32, gate=False).fit(TASK, rows(0, 100), rows(100, 140), kit)
    return found, kit.trainings


def first_search(home: Path, model: Any, **how: Any) -> tuple[_Climb, Any]:
    """Go up hybrid's first step."""
    kit = kit_of(home, "hybrid", model, **how)
    climb = _Climb(Hybrid(prompts=9, rows=32), TASK, rows(0, 100), rows(100, 140), kit)
    climb._once("prompt", climb._search)
    return climb, kit.trainings


def test_a_second_way_asks_only_what_the_first_has_not(tmp_path: Path) -> None:
    first, second, alone = Reader(), Reader(), Reader()
    optimised(tmp_path, first)
    climb, kept = first_search(tmp_path, second)
    there, _ = first_search(tmp_path / "alone", alone)
    asked = set(alone.asked) - set(first.asked)
    assert set(second.asked) == asked and len(second.asked) < len(alone.asked) / 2
    assert [one.values for one in climb.race.runners.values()] == [one.values for one in there.race.runners.values()]
    assert {(one["kind"], one["way"], one["run"]) for one in kept.spared} == {("scored prompt", "optimise", "")}
    spent = sum(one.spend.seconds for one in climb.race.runners.values())
    assert 0 < sum(one["seconds"] for one in kept.spared) <= spent


def test_what_is_in_use_of_it_is_counted_and_no_more_after_a_kill_too(tmp_path: Path) -> None:
    optimised(tmp_path, Reader())
    climb, kept = first_search(tmp_path, Reader())
    used = [one for one in climb.race.runners.values() if one.found and one.replayed]
    seconds = sum(block["spend"]["seconds"] for one in used for block in one.blocks[: min(one.found, one.replayed)])
    assert sum(one["seconds"] for one in kept.spared) == pytest.approx(seconds) and len(kept.spared) == len(used)
    again, after = first_search(tmp_path, silent := Reader())  # goes on where the first search has ended
    assert silent.asked == []
    with pytest.raises(LookupError, match="not in this test"):
        again.climb()
    assert sum(one["seconds"] for one in after.spared) == pytest.approx(seconds)


def test_a_prompt_that_is_used_for_one_block_costs_one_block(tmp_path: Path) -> None:
    kit, model = kit_of(tmp_path, "one", Reader()), Reader()
    known = scored_prompts(kit, TASK, model, rows(0, 48), rows(48, 90))
    first = Race(TASK, rows(0, 48), tmp_path / "a", known)
    one = first.enter("id", a_draft(model))
    first.run(one, None)
    first.share()
    other = kit_of(tmp_path, "two", model)
    second = Race(TASK, rows(0, 48), tmp_path / "b", scored_prompts(other, TASK, model, rows(0, 48), rows(48, 90)))
    two = second.enter("id", a_draft(model))
    asked = len(model.asked)
    second.advance(two, 16)
    second.share()
    assert len(model.asked) == asked and two.found == 3
    (counted,) = other.trainings.spared  # type: ignore[union-attr]
    assert counted["seconds"] == one.blocks[0]["spend"]["seconds"] < one.spend.seconds
    assert counted["kind"] == "scored prompt" and counted["way"] == "one"


def test_what_a_killed_search_has_scored_is_shared_when_it_has_gone_on(tmp_path: Path) -> None:
    model = Reader()
    known = scored_prompts(kit_of(tmp_path, "one", model), TASK, model, rows(0, 48), rows(48, 90))
    killed = Race(TASK, rows(0, 48), tmp_path / "a", known)
    killed.run(killed.enter("id", a_draft(model)), None)  # and before it shares anything
    goes_on = Race(TASK, rows(0, 48), tmp_path / "a", known)
    goes_on.run(goes_on.enter("id", a_draft(model)), None)
    goes_on.share()
    asked, other = len(model.asked), kit_of(tmp_path, "two", model)
    second = Race(TASK, rows(0, 48), tmp_path / "b", scored_prompts(other, TASK, model, rows(0, 48), rows(48, 90)))
    second.run(second.enter("id", a_draft(model)), None)
    assert len(model.asked) == asked == 48


def test_the_same_prompt_with_answers_spelled_otherwise_is_another(tmp_path: Path) -> None:
    model, names = Reader(), ("invoice", "parcel", "top_up")
    task = replace(TASK, output=Labels(names))
    known = scored_prompts(kit_of(tmp_path, "one", model), task, model, rows(0, 48), rows(48, 90))
    shown = tuple(row for row in rows(0, 6) if row.target in names)  # of none is the spelling to be seen
    spelled, as_is = (
        replace(a_draft(model), task=task, shown=shown, form=PromptFormat(labels=False, words=words))
        for words in (True, False)
    )
    assert spelled.version().id == as_is.version().id
    assert known is not None and known._key(spelled) != known._key(as_is)


def test_a_run_beside_is_looked_into(tmp_path: Path) -> None:
    Ledger(tmp_path / "before").close()
    optimised(tmp_path, Reader(), run="before")
    _, kept = first_search(tmp_path, Reader(), run="now", near=Beside(tmp_path / "now"))
    assert {(one["way"], one["run"]) for one in kept.spared} == {("optimise", "before")}


def test_what_was_found_is_not_kept_again_under_another_name(tmp_path: Path) -> None:
    optimised(tmp_path, Reader())
    first_search(tmp_path, Reader())
    _, kept = optimised(tmp_path, Reader(), "optimise@other")
    assert {one["way"] for one in kept.spared} == {"optimise"}


@pytest.mark.parametrize(
    "how", [{"weights": "others"}, {"weights": ""}, {"run": "elsewhere"}], ids=["weights", "none tells", "run"]
)
def test_other_weights_and_runs_are_scored_anew(tmp_path: Path, how: dict[str, Any]) -> None:
    first, second = Reader(), Reader()
    optimised(tmp_path, first)
    _, kept = first_search(tmp_path, second, **how)
    assert kept.spared == [] and set(first.asked) & set(second.asked)


def test_other_rows_words_and_seeds_are_other_prompts(tmp_path: Path) -> None:
    kit, model = kit_of(tmp_path, "optimise", Reader()), Reader()
    scored, pool = rows(0, 32), rows(32, 80)

    def content(task: Task = TASK, one: Any = scored, other: Any = pool, kit: Kit = kit) -> str:
        found = scored_prompts(kit, task, model, one, other)
        assert found is not None
        return found.content

    changed = [replace(scored[0], inputs={"text": "another"}), *scored[1:]]
    known = {
        content(),
        content(replace(TASK, instruction="Sort it.")),
        content(replace(TASK, context="A desk.")),
        content(replace(TASK, output=Labels(NAMES[::-1]))),
        content(one=changed),
        content(one=scored[::-1]),
        content(other=pool[1:]),
        content(kit=replace(kit, seed=1)),
    }
    assert len(known) == 8 and content() in known
    paid = Reader()
    paid.is_local = False  # type: ignore[misc]
    assert scored_prompts(kit, TASK, paid, scored, pool) is None
    assert scored_prompts(replace(kit, trainings=None), TASK, model, scored, pool) is None
