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
from whichway.strategies.parts import sparing
from whichway.strategies.parts.answering import LikelihoodReader, fit_reader, reader_from_json, reader_to_json
from whichway.strategies.parts.climbed import Climbed
from whichway.strategies.parts.lookup import LookedUp
from whichway.strategies.parts.prompted import PromptSolution, fitted_prompt
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.racing import Race
from whichway.strategies.parts.searched import SearchedPrompt
from whichway.strategies.parts.tuned import Tuned
from whichway.strategies.parts.writing import WrittenReader, WrittenSolution

NAMES = tuple(f"desk {letter}" for letter in "abcdefgh")
TASK = Task("desk", "Sort the message.", (Field("text"),), Labels(NAMES), Accuracy())


LENGTHS = [1 + number % 4 for number in range(len(NAMES))]  # tokens of each


class Plain:
    """A model that scores everything; it knows no way to leave anything out."""

    name, is_local = "plain", True

    def __init__(self, noise: float = 0.2) -> None:
        self.noise = noise  # nats by which what follows a label's first token differs between rows
        self.asked: list[tuple[str, float, tuple[float, ...]]] = []

    def score(self, prompts: Any, continuations: Any, shared: str = "") -> Any:
        self.asked.append(("all", np.inf, ()))
        return np.nansum(self.steps(prompts), 2)

    def steps(self, prompts: Any) -> Any:
        found = np.full((len(prompts), len(NAMES), 4), np.nan)
        for prompt, row in zip(prompts, found, strict=True):
            drawn = np.random.default_rng(len(prompt))
            for number, length in enumerate(LENGTHS):
                row[number, 0] = drawn.normal(-6, 4)
                row[number, 1:length] = -np.abs(drawn.normal(number % 3, self.noise, length - 1))
        return found


class Sparing(Plain):
    """A model that estimates what is far from the best, as Branches does; told plainly, one label after the other."""

    def score_steps(self, prompts: Any, continuations: Any, shared: str = "") -> Any:
        self.asked.append(("steps", np.inf, ()))
        return self.steps(prompts)

    def score_near(
        self,
        prompts: Any,
        continuations: Any,
        shared: str = "",
        within: float = 0.0,
        bias: Any = (),
        usual: Any = (),
    ) -> Any:
        self.asked.append(("near", within, tuple(bias)))
        found = np.zeros((len(prompts), len(NAMES)))
        for table, row in zip(found, self.steps(prompts), strict=True):
            least = max(np.nansum(one) - leans for one, leans in zip(row, bias, strict=True)) - within
            for number, (one, leans, length) in enumerate(zip(row, bias, LENGTHS, strict=True)):
                read = 1
                while read < length and one[:read].sum() - leans >= least:
                    read += 1
                table[number] = one[:read].sum() + sum(usual[number][read:] if usual else ())
        return found


def draft(model: Any, reader: LikelihoodReader | None = None) -> PromptSolution:
    return PromptSolution(TASK, model, PromptFormat(), (), None, 0, reader)


INPUTS = [{"text": "x" * size} for size in range(60)]


ROWS = [Example(f"r{size}", {"text": "y" * size}, NAMES[size % 8]) for size in range(60, 100)]


def learnt(model: Plain, bias: Any = (0.0,) * 8, heat: float = 1.4) -> LikelihoodReader:
    """Return a reader with what it can do without, as labelled rows teach it."""
    reader = LikelihoodReader(NAMES, False, tuple(bias), heat)
    return replace(reader, sparing=sparing.learn_sparing(reader, draft(model).by_token(ROWS)[1]))


@pytest.mark.parametrize("heat", [0.7, 1.4, 2.8])
def test_answers_are_the_same_and_confidences_differ_by_a_hundredth_on_average(heat: float) -> None:
    model = Sparing()
    reader = learnt(model, np.linspace(-6, 6, len(NAMES)), heat)
    assert reader.sparing is not None and reader.reach == reader.sparing.close * heat
    every = draft(model, replace(reader, sparing=None)).predict(INPUTS)
    near = draft(model, reader).predict(INPUTS)
    assert [kind for kind, *_ in model.asked] == ["steps", "all", "near"]
    assert model.asked[-1][1:] == (reader.reach, reader.bias)
    assert [one.value for one in every] == [one.value for one in near]
    apart = [abs(a.confidence - b.confidence) for a, b in zip(every, near, strict=True)]
    assert 0 < sum(apart) / len(apart) < 2 * sparing.MOVED
    bounds = replace(reader, sparing=sparing.Sparing(reader.sparing.close, ()))
    further = [
        abs(a.confidence - b.confidence) for a, b in zip(every, draft(model, bounds).predict(INPUTS), strict=True)
    ]
    assert sum(further) > 2 * sum(apart), "bounds take more from the best answer than estimates do"


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
    sure = learnt(model, bias)
    assert sure.sparing is not None and sure.sparing.close > 0
    terse = replace(whole, reader=sure).terse().reader
    assert terse.sparing == sparing.Sparing(0.0, sure.sparing.usual), "what is not read is estimated as before"
    several = replace(whole, reader=replace(reader, multi=True))
    several.terse().predict(INPUTS)
    assert model.asked[-1][0] == "all", "several labels at once lie anywhere below the best"


def test_a_text_is_written_as_it_is_where_no_one_asks_how_sure_it_is() -> None:
    written = Climbed((), WrittenSolution(TASK, Plain(), PromptFormat(), (), None, 0, WrittenReader(8)), None)
    assert written.terse() == written


def test_a_reader_reads_as_little_as_leaves_confidences_where_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {noise: learnt(Sparing(noise)) for noise in (0.1, 1.0, 3.0)}
    closes = [one.sparing.close for one in found.values() if one.sparing]
    assert closes == sorted(closes) and closes[0] == sparing.CLOSE[0] < closes[-1]
    for noise, reader in found.items():
        assert reader.sparing is not None and reader.sparing.close in sparing.CLOSE
        assert reader_from_json(reader_to_json(reader)) == reader
        for length, said in zip(LENGTHS, reader.sparing.usual, strict=True):
            assert len(said) == length and all(one <= 0 for one in said[1:])
        less = [one for one in sparing.CLOSE if one < reader.sparing.close]
        if less:  # it would not do
            monkeypatch.setattr(sparing, "CLOSE", (less[-1],))
            assert learnt(Sparing(noise)).sparing is None
            monkeypatch.undo()


def test_what_is_usual_is_the_share_that_goes_on_and_estimates_are_made_of_it() -> None:
    model, bias = Sparing(0.5), tuple(np.linspace(-2, 2, len(NAMES)))
    steps = draft(model).by_token(ROWS)[1] - np.where(np.arange(4) == 0, 700.0, 0.0)  # as unlikely as nothing
    reader = LikelihoodReader(NAMES, False, bias, 1.4)
    found = sparing.learn_sparing(reader, steps)
    assert found is not None
    sums = np.nan_to_num(steps).cumsum(2)
    for number, length in enumerate(LENGTHS):
        for token in range(1, length):
            share = np.exp(sums[:, number, token] + 700).sum() / np.exp(sums[:, number, token - 1] + 700).sum()
            assert abs(np.exp(found.usual[number][token]) - share) < 2e-3
        assert abs(found.usual[number][0] + 700 - np.log(np.exp(sums[:, number, 0] + 700).mean())) < 1e-2
    rests = np.array([[sum(said[at + 1 :]) for at in range(4)] for said in found.usual])
    told, unread = sparing.spared(sums, np.array(LENGTHS), rests[None], bias, 3.0)
    model.steps = lambda prompts: steps  # type: ignore[method-assign]
    assert np.abs(told - model.score_near(ROWS, NAMES, "", 3.0, bias, found.usual)).max() < 1e-9


def test_of_labels_that_are_likely_in_no_row_a_part_goes_on_and_nothing_follows_their_end() -> None:
    shares = np.array([[[1.0, 0.5, 0.5, 0.5], [0.2, 1e-30, 1e-30, 1e-30], [1e-30, 1e-30, 1e-30, 1e-30]]])
    usual = sparing._usual(shares, np.array([2, 4, 3]), 1.0)
    assert np.abs(np.exp(usual[0, 0]) - [1.0, 0.5, 1.0, 1.0]).max() < 1e-3
    assert np.exp(usual[0, 1, 1]) < 1e-3 and np.abs(np.exp(usual[0, 1, 2:]) - sparing.GOES_ON).max() < 1e-9
    assert np.abs(np.exp(usual[0, 2, 1:]) - [sparing.GOES_ON, sparing.GOES_ON, 1.0]).max() < 1e-9
    rests = sparing._rests(usual)
    told = [[[sum(row[at + 1 :]) for at in range(4)] for row in part] for part in usual.tolist()]
    assert np.abs(rests - np.array(told)).max() < 1e-9


def test_each_row_is_estimated_by_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The likeliest label of each row but one goes on surely; by itself that one would say that it does not."""
    monkeypatch.setattr(sparing, "CLOSE", (1.0,))
    steps = np.full((3, 2, 2), np.log(0.5))
    steps[:, 1, 0], steps[:, 1, 1] = -3.0, -0.01  # far below, and all but certain to go on
    steps[0, 1, 1] = -9.0
    steps[0, 1, 0] = -2.9
    reader = LikelihoodReader(("a", "b"), False, (0.0, 0.0), 1.0)
    asked: list[Any] = []
    was = sparing.spared
    monkeypatch.setattr(sparing, "spared", lambda *said: asked.append(was(*said)) or asked[-1])
    sparing.learn_sparing(reader, steps)
    estimates = asked[0][0][:, 1] - steps[:, 1, 0]
    assert -0.1 < estimates[0] < 0.0, "as the two others say"
    assert estimates[1] < -0.3 and estimates[2] < -0.3, "as the first and each other say"


@pytest.mark.parametrize("share", [0.1, 0.35, 0.7])
def test_of_several_labels_none_is_left_out_that_may_belong_to_the_answer(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(sparing, "MOVED", 1.0)  # confidences may move as they like
    rng = np.random.default_rng(3)
    steps = np.concatenate([rng.normal(-8, 3, (440, 20, 1)), -np.abs(rng.normal(1, 1, (440, 20, 3)))], 2)
    several = LikelihoodReader(tuple(map(str, range(20))), True, (0.0,) * 20, 1.3, share=share)
    found = sparing.learn_sparing(several, steps[:40])
    assert found is not None and found.close >= -np.log(share)
    rests = np.array([[sum(said[at + 1 :]) for at in range(4)] for said in found.usual])
    sums = steps[40:].cumsum(2)
    told, unread = sparing.spared(sums, np.full(20, 4), rests[None], several.bias, found.close * several.heat)
    assert unread > sparing.SPARES
    whole = several.read(sums[:, :, -1])
    assert [one.value for one in several.read(told)] == [one.value for one in whole]
    assert len({len(one.value) for one in whole}) > (share < 0.5)


def test_a_reader_of_few_rows_may_move_confidences_less(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, steps = LikelihoodReader(NAMES, False, (0.0,) * 8, 1.4), draft(Sparing(1.0)).by_token(ROWS)[1]
    many, few = (sparing.learn_sparing(reader, part) for part in (np.repeat(steps, 2, 0), steps[:8]))
    monkeypatch.setattr(sparing, "ROWS", 1)
    assert many is not None and few is not None and few.close > many.close
    alike = sparing.learn_sparing(reader, steps[:8])
    assert alike is not None and alike.close < few.close


def test_where_little_goes_unread_or_nothing_is_told_all_is_read() -> None:
    reader, steps = LikelihoodReader(NAMES, False, (0.0,) * 8, 1.4), draft(Sparing()).by_token(ROWS)[1]
    assert sparing.learn_sparing(reader, steps) is not None
    assert sparing.learn_sparing(replace(reader, heat=100.0), steps) is None, "every label is close to the best"
    assert sparing.learn_sparing(reader, steps[:, :, :1]) is None, "labels of one token are read with the row"
    lost = steps.copy()
    lost[5] = np.nan
    assert sparing.learn_sparing(reader, lost) is None

    class Lost(Sparing):
        def steps(self, prompts: Any) -> Any:
            return lost

    table = draft(Lost()).by_token(ROWS)[0]
    assert np.isnan(table[5]).all() and not np.isnan(np.delete(table, 5, 0)).any()


def test_where_estimates_would_move_confidences_all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "CLOSE", (0.1,))
    model = Sparing(noise=3.0)
    reader = learnt(model, heat=4.0)
    assert reader.sparing is None and reader_from_json(reader_to_json(reader)) == reader
    draft(model, reader).predict(INPUTS)
    assert model.asked[-1][0] == "all"


def test_a_metric_that_ranks_probabilities_is_given_all_of_them() -> None:
    table, steps = draft(Sparing()).by_token(ROWS)
    targets = [row.target for row in ROWS]
    assert fit_reader(TASK, table, targets, False, steps).sparing is not None
    ranking = replace(TASK, further=(AveragePrecision("desk a"),))
    assert fit_reader(ranking, table, targets, False, steps).sparing is None


def test_what_readers_learn_from_is_scored_whole() -> None:
    model = Sparing()
    rows = [Example(f"r{i}", {"text": "x" * i}, NAMES[i % 8]) for i in range(24)]
    fitted_prompt(draft(model), rows)
    assert [kind for kind, *_ in model.asked] == ["steps"]
    fitted_prompt(draft(plain := Plain()), rows)
    assert [kind for kind, *_ in plain.asked] == ["all"]


def test_a_race_reads_the_first_rows_whole_and_of_others_what_matters(tmp_path: Path) -> None:
    model, whole = Sparing(), Plain()
    first, plain = Race(TASK, ROWS, tmp_path / "first"), Race(TASK, ROWS, tmp_path / "plain")
    one, other = first.enter("p", draft(model)), plain.enter("p", draft(whole))
    first.run(one, None)
    plain.run(other, None)
    assert [kind for kind, *_ in model.asked] == ["steps", "near", "near"]
    assert one.reader is not None and one.reader.sparing is not None and other.reader is not None
    assert other.reader.sparing is None
    assert np.mean(np.abs(np.array(one.values) - other.values)) < 0.02
    killed = Race(TASK, ROWS, tmp_path / "first")
    taken_up = killed.enter("p", draft(silent := Sparing()))
    killed.run(taken_up, None)
    assert silent.asked == [] and (taken_up.values, taken_up.reader) == (one.values, one.reader)


def test_what_a_race_takes_over_from_another_it_reads_as_that_does(tmp_path: Path) -> None:
    there, here = Race(TASK, ROWS, tmp_path / "there"), Race(TASK, ROWS[::-1], tmp_path / "here")
    known = draft(Sparing())
    id_ = known.version().id
    one = there.enter(id_, known)
    there.run(one, None)
    mine = here.enter(id_, draft(silent := Sparing()))
    here.take(mine, there)
    here.run(mine, None)
    assert silent.asked == [] and mine.reader is not None and one.reader is not None
    assert mine.reader.sparing == one.reader.sparing is not None


def test_a_model_says_by_its_methods_what_it_can_leave_out() -> None:
    assert isinstance(Plain(), Scorer) and not isinstance(Plain(), NearScorer)
    assert isinstance(Sparing(), NearScorer)
