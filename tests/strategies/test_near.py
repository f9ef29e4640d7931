"""A prompt in use asks only for the likelihoods that its reader can tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whichway.core.model import NearScorer, Scorer
from whichway.core.output import Labels
from whichway.core.strategy import Terse
from whichway.core.task import Example, Field, Task
from whichway.metrics.labels import Accuracy, AveragePrecision
from whichway.strategies.parts.answering import NEAR, LikelihoodReader, fit_reader, reader_from_json, reader_to_json
from whichway.strategies.parts.climbed import Climbed
from whichway.strategies.parts.lookup import LookedUp
from whichway.strategies.parts.prompted import PromptSolution, fitted_prompt
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.searched import SearchedPrompt
from whichway.strategies.parts.tuned import Tuned
from whichway.strategies.parts.writing import WrittenReader, WrittenSolution

NAMES = tuple(f"desk {letter}" for letter in "abcdefgh")
TASK = Task("desk", "Sort the message.", (Field("text"),), Labels(NAMES), Accuracy())


class Plain:
    """A model that scores everything; it knows no way to leave anything out."""

    name, is_local = "plain", True

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, tuple[float, ...]]] = []

    def score(self, prompts: Any, continuations: Any, shared: str = "") -> Any:
        self.asked.append(("all", np.inf, ()))
        return self.table(prompts, continuations)

    def table(self, prompts: Any, continuations: Any) -> Any:
        drawn = [np.random.default_rng(len(prompt)) for prompt in prompts]
        return np.array([one.normal(-20, 9, len(continuations)) for one in drawn])


class Sparing(Plain):
    """A model that gives bounds for what is far from the best."""

    def score_near(
        self, prompts: Any, continuations: Any, shared: str = "", within: float = 0.0, bias: Any = ()
    ) -> Any:
        self.asked.append(("near", within, tuple(bias)))
        less = self.table(prompts, continuations) - np.array(bias)
        bound = less.max(1, keepdims=True) - within - 0.01
        return np.maximum(less, bound) + np.array(bias)


def draft(model: Any, reader: LikelihoodReader | None = None) -> PromptSolution:
    return PromptSolution(TASK, model, PromptFormat(), (), None, 0, reader)


INPUTS = [{"text": "x" * size} for size in range(60)]


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.8])
def test_answers_are_the_same_and_confidences_differ_by_less_than_a_hundredth(heat: float) -> None:
    bias = tuple(np.linspace(-6, 6, len(NAMES)))
    reader = LikelihoodReader(NAMES, False, bias, heat, reach=NEAR * heat)
    plain, sparing = Plain(), Sparing()
    every, near = draft(plain, reader).predict(INPUTS), draft(sparing, reader).predict(INPUTS)
    assert sparing.asked == [("near", NEAR * heat, bias)] and plain.asked == [("all", np.inf, ())]
    assert [one.value for one in every] == [one.value for one in near]
    apart = [abs(a.confidence - b.confidence) for a, b in zip(every, near, strict=True)]
    assert 0 < max(apart) < 0.01, "bounds are more than what they stand for, by next to nothing"


def test_a_prompt_that_need_not_be_sure_gives_the_same_answers_by_the_best_alone() -> None:
    bias = tuple(np.linspace(-6, 6, len(NAMES)))
    reader = LikelihoodReader(NAMES, False, bias, 1.4)
    model = Sparing()
    whole = draft(model, reader)
    every = [one.value for one in whole.predict(INPUTS)]
    no_steps, folder = (), Path("weights")
    wrapped = [
        whole,
        Tuned(whole, folder),
        Tuned(Tuned(whole, folder), folder),  # type: ignore[arg-type]  # what it wraps need be no prompt
        Climbed(no_steps, whole, None),
        SearchedPrompt(whole, whole, (), {}),
    ]
    for one in wrapped:
        assert isinstance(one, Terse)
        assert [answer.value for answer in one.terse().predict(INPUTS)] == every
        assert model.asked[-1] == ("near", 0.0, bias)
        one.predict(INPUTS)
        assert model.asked[-1][0] == "all", "the way itself stays as it was"
    lookup: Any = None
    looked_up: Any = LookedUp(whole, lookup).terse()
    assert looked_up.inner.reader.reach == 0.0
    several = replace(whole, reader=replace(reader, multi=True))
    several.terse().predict(INPUTS)
    assert model.asked[-1][0] == "all", "several labels at once lie anywhere below the best"


def test_a_text_is_written_as_it_is_where_no_one_asks_how_sure_it_is() -> None:
    written = Climbed((), WrittenSolution(TASK, Plain(), PromptFormat(), (), None, 0, WrittenReader(8)), None)
    assert written.terse() == written


def learned(names: int, sharp: float, **more: Any) -> LikelihoodReader:
    """Return a reader of likelihoods that tell answers apart by so many nats."""
    rng = np.random.default_rng(0)
    right = rng.integers(0, names, 60)
    table = rng.normal(size=(60, names))
    table[np.arange(60), right] += sharp
    task = Task("t", "Sort.", (Field("text"),), Labels(tuple(f"n{i}" for i in range(names))), Accuracy(), **more)
    return fit_reader(task, table, [f"n{one}" for one in right], calibrate=False)


def test_a_reader_does_without_what_hardly_matters_where_that_is_most_of_all() -> None:
    few, many, flat = learned(40, 30.0), learned(400, 30.0), learned(40, 1.0)
    assert few.reach == NEAR * few.heat and flat.reach is None
    assert many.reach is not None and many.reach > (NEAR + 1.6) * many.heat, "of more answers each may weigh less"
    assert reader_from_json(reader_to_json(few)) == few and reader_from_json(reader_to_json(flat)) == flat
    model = Sparing()
    draft(model, LikelihoodReader(NAMES, False, (0.0,) * 8)).predict(INPUTS)
    assert [kind for kind, *_ in model.asked] == ["all"]


def test_a_metric_that_ranks_probabilities_is_given_all_of_them() -> None:
    assert learned(40, 30.0, further=(AveragePrecision("n1"),)).reach is None


def test_what_readers_learn_from_is_scored_whole() -> None:
    model = Sparing()
    rows = [Example(f"r{i}", {"text": "x" * i}, NAMES[i % 8]) for i in range(24)]
    fitted_prompt(draft(model), rows)
    assert [kind for kind, *_ in model.asked] == ["all"]


def test_a_model_says_by_its_methods_what_it_can_leave_out() -> None:
    assert isinstance(Plain(), Scorer) and not isinstance(Plain(), NearScorer)
    assert isinstance(Sparing(), NearScorer)
