"""Distillation: only rows that all teachers answer alike are learned from, the surest of each answer."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_preferences import Pupil

from whichway.core.model import Reply
from whichway.core.output import Labels
from whichway.core.strategy import Kit
from whichway.core.task import Example, Field, Prediction, Task
from whichway.core.text import Text
from whichway.errors import NotApplicable
from whichway.registry import get
from whichway.strategies.distill import Distill, Guess, agreed

WORDS = {"a": "apple", "b": "bread"}


class Letters:
    """Embeds a text by which of the words it holds; 'fruit' lies near 'apple', which no labelled row says."""

    name = "letters"
    near = {"apple": (1.0, 0.0, 0.3), "bread": (0.0, 1.0, 0.3), "fruit": (0.9, 0.0, 0.5), "crust": (0.0, 0.9, 0.5)}

    def embed(self, texts: Any) -> Any:
        """Return unit vectors."""
        rows = np.array([np.sum([v for w, v in self.near.items() if w in t] or [(0, 0, 1.0)], axis=0) for t in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_task(pool: list[str]) -> Task:
    unlabelled = tuple({"text": one} for one in pool)
    metric = get("metric", "accuracy")()
    return Task("t", "Sort.", (Field("text"),), Labels(("a", "b")), metric, unlabelled=unlabelled)


def rows(count: int = 12) -> list[Example]:
    return [Example(f"r{i}", {"text": f"{WORDS['ab'[i % 2]]} {i}"}, "ab"[i % 2]) for i in range(count)]


def fit(task: Task, folder: Path, **settings: Any) -> Any:
    kit = Kit({"causal": settings.pop("writer_model", None)}, Letters(), folder)
    return Distill(**{"teachers": ("probe",), "student": "classic", **settings}).fit(task, rows(), [], kit)


def test_a_student_learns_words_that_no_labelled_row_holds(tmp_path: Path) -> None:
    task = make_task([f"{word} number {i}" for i in range(20) for word in ("fruit", "crust")])
    taught = fit(task, tmp_path)
    asked = [{"text": "fruit salad"}, {"text": "crust of it"}]
    assert [one.value for one in taught.predict(asked)] == ["a", "b"]
    assert taught.facts == {"unlabelled": 40, "written": 0, "kept": 36, "kept_written": 0}
    taught.save(tmp_path / "saved")
    kept = json.loads((tmp_path / "saved" / "learned.json").read_text())
    assert all(one["labelled_by"] == "teachers" for one in kept["rows"]) and len(kept["rows"]) == 36
    again = Distill(teachers=("probe",), student="classic").load(task, tmp_path / "saved", Kit({}, Letters(), tmp_path))
    assert again.predict(asked) == taught.predict(asked) and again.learned_from() == taught.learned_from()


def test_rows_on_which_teachers_differ_are_left_out(tmp_path: Path) -> None:
    task = make_task([f"fruit {i}" for i in range(10)] + [f"apple {i} more" for i in range(10)])
    taught = fit(task, tmp_path, teachers=("probe", "classic"), keep=1.0)
    said = {json.dumps(dict(one.inputs)) for one in taught.learned}
    assert sum("apple" in one for one in said) == 10  # classic knows nothing of fruit, and probe calls it an apple
    assert all(isinstance(one, Example) and one.target == "a" for one in taught.learned if "apple" in str(one.inputs))


def test_without_rows_to_learn_from_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no rows without labels"):
        fit(make_task([]), tmp_path)


def test_a_student_that_is_trained_learns_what_teachers_said_and_answers_the_same_when_loaded(tmp_path: Path) -> None:
    pool = tuple({"text": f"Question {i}?"} for i in range(5))
    task = Task("t", "Reply.", (Field("text"),), Text(), get("metric", "token_f1")(), unlabelled=pool)
    labelled = [Example(f"r{i}", {"text": f"Labelled {i}?"}, "No.") for i in range(4)]
    model, way = Pupil(), Distill(teachers=("prompt-zero",), student="finetune")
    kit = Kit({"causal": model}, None, tmp_path)
    taught = way.fit(task, labelled, labelled[:2], kit)
    ((prompts, answers),) = model.trained
    assert sum("Question" in one for one in prompts) == answers.count(" Yes.") == 4  # of five the surest
    assert answers.count(" No.") == 3 * 4, "people's rows count three times"
    assert taught.version() == taught.student.version() is not None
    other = taught.rewritten("format", 0)
    assert other is not None and other.version() != taught.version()
    taught.save(tmp_path / "saved")
    again = way.load(task, tmp_path / "saved", kit)
    assert again.predict(pool) == taught.predict(pool) and again.version() == taught.version()


def test_written_rows_are_kept_where_teachers_agree_and_are_marked(tmp_path: Path) -> None:
    class Writer:
        name, is_local, calls = "writer", True, 0

        def generate(self, requests: Any) -> list[Reply]:
            self.calls += len(requests)
            said = [one.messages[0][1] for one in requests]
            # For 'b' half of what it writes is a fruit: the teacher does not agree, so that is not learned from.
            return [Reply(f"fruit {i}" if "kind 'a'" in text or i % 2 else f"crust {i}") for i, text in enumerate(said)]

    taught = fit(make_task([]), tmp_path, synthetic=9, writer_model=Writer(), keep=1.0)
    assert taught.facts["written"] == 6 and taught.facts["kept_written"] == taught.facts["kept"] == 5
    assert all(("fruit" if one.target == "a" else "crust") in one.inputs["text"] for one in taught.learned)
    assert {one.target for one in taught.learned} == {"a", "b"} and all("synthetic" in one.id for one in taught.learned)
    taught.save(tmp_path / "saved")
    kept = json.loads((tmp_path / "saved" / "learned.json").read_text())["rows"]
    assert all(one["written_by"] == "model" for one in kept)


@pytest.mark.parametrize(
    ("fields", "shape", "why"),
    [
        ((Field("text"), Field("title")), Labels(("a", "b")), "one text field alone can be written.*text, title"),
        ((Field("text"), Field("amount", "number")), Labels(("a", "b")), "one text field alone.*text, amount"),
        ((Field("text"),), Text(), "inputs are written for labels, and the answers are text"),
    ],
)
def test_where_nothing_can_be_written_rows_without_labels_are_learned_from_and_that_is_told(
    tmp_path: Path, fields: tuple[Field, ...], shape: Any, why: str
) -> None:
    pool = tuple({"text": f"{word} number {i}", "title": "t", "amount": i} for i in range(9) for word in WORDS.values())
    task = Task("t", "Sort.", fields, shape, get("metric", "accuracy")(), unlabelled=pool)
    way = Distill(teachers=("classic",), student="classic", synthetic=9)
    if isinstance(shape, Labels):
        some = [replace(one, inputs={**one.inputs, "title": "t", "amount": i}) for i, one in enumerate(rows())]
        assert way.lacks(task) == "", "it is not left out"
        taught = way.fit(task, some, [], Kit({}, Letters(), tmp_path))
        assert taught.facts["written"] == 0 and taught.facts["kept"] > 0 == taught.facts["kept_written"]
        assert re.search(why, taught.facts["not_written"])
    assert re.search(why, way.unwritten(task)) and not replace(way, synthetic=0).unwritten(task)
    bare = replace(task, unlabelled=())
    if isinstance(shape, Labels):
        assert re.search(f"data.unlabelled.*{why}", way.lacks(bare))
    with pytest.raises(NotApplicable, match=why):
        way.fit(bare, rows(), [], Kit({}, Letters(), tmp_path))


def test_a_writer_that_writes_nothing_of_use_leaves_nothing_to_learn_from(tmp_path: Path) -> None:
    class Silent:
        def generate(self, requests: Any) -> list[Reply]:
            return [Reply("") for _ in requests]

    with pytest.raises(NotApplicable, match="no rows without labels to learn from, and the model wrote none"):
        fit(make_task([]), tmp_path, synthetic=9, writer_model=Silent())


def test_an_answer_that_cannot_be_read_is_no_agreement() -> None:
    good, bad = Prediction("a", 0.9), Prediction("a", 0.8, parsed=False)
    assert agreed([[good], [good]], None) == [Guess("a", 0.9)] and agreed([[good], [bad]], None) == [None]
    assert agreed([[good], [Prediction("b", 0.9)]], None) == [None]


def test_probabilities_are_brought_to_the_shares_of_the_labels() -> None:
    rows = [Prediction("a", p, {"a": p, "b": 1 - p}) for p in (0.9, 0.8, 0.6, 0.55)]
    found = agreed([rows], {"a": 0.5, "b": 0.5})  # the teacher says 'a' of every row, and half of them are 'b'
    assert [one.value for one in found if one] == ["a", "a", "b", "b"]
    assert found[0].confidence > found[1].confidence and found[3].confidence > found[2].confidence
    skewed = agreed([rows], {"a": 0.9, "b": 0.1})
    assert [one.value for one in skewed if one] == ["a"] * 4
