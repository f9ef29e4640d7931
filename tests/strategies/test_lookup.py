"""Passages put beside rows: how many, found without a row's own help, and kept up with other documents."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_choosing import manuals
from test_retrieval import Words, filler, reranked

from whichway.core.strategy import Choosing, Kit, Updatable
from whichway.core.task import Document, Example, Field, Prediction, Task
from whichway.core.text import Text
from whichway.errors import UsageError
from whichway.registry import get
from whichway.report import found
from whichway.strategies.parts.choosing import enough_passages
from whichway.strategies.parts.lookup import FIELD, LookedUp, Lookup, Wanted, load_lookup, make_lookup

TASK = Task("t", "Answer.", (Field("q"),), Text(), SimpleNamespace(name="token_f1"), documents=tuple(filler(70)))


def test_as_few_passages_are_shown_as_find_nearly_all_that_five_would():
    second = [(["x", "gold", "y"], ["gold"])] * 60
    assert enough_passages(second, 5, 3) == 2
    assert enough_passages([(["gold"], ["gold"])] * 99 + [(["x", "gold"], ["gold"])], 5, 3) == 1
    assert enough_passages([(["gold"], ["gold"])] * 90 + [(["x", "y", "gold"], ["gold"])] * 10, 5, 3) == 3
    assert enough_passages(second[:9], 5, 3) == 3, "too few to tell"


def test_train_rows_are_not_given_what_only_their_own_question_finds():
    index = reranked(filler(70), ("noise nothing", "noise of other kind"), ("f65", "f66"))
    lookup = Lookup(TASK, index, 1)
    row = Example("r", {"q": "noise nothing"}, "x", gold_documents=("f65",))
    (use,) = lookup.examples([row], own=False)
    (train,) = lookup.examples([row], own=True)
    assert "number 65 " in use.inputs[FIELD] and "number 65 " not in train.inputs[FIELD]
    assert list(use.inputs) == [FIELD, "q"]


def test_what_was_chosen_and_what_each_choice_scored_is_kept_and_told(tmp_path):
    documents, rows = manuals()
    task = replace(TASK, documents=tuple(documents), metric=get("metric", "token_f1")())
    lookup = make_lookup(task, rows, Wanted(), Kit({}, Words(), tmp_path))
    chosen = lookup.told["chosen"]
    assert chosen["shown"] == lookup.count == 1 and chosen["words"] == lookup.index.settings.words
    assert {one["words"] for one in lookup.told["tried"]} == {90, 180, 270}
    lookup.save(tmp_path)
    again = load_lookup(task, tmp_path, Words())
    assert again == replace(lookup, index=again.index)
    solution = LookedUp(Cites(), again)
    assert isinstance(solution, Choosing) and solution.choices() == json.loads(json.dumps(lookup.told))
    table = found.retrieval({"trials": [{"strategy": "rag", "lookup": lookup.told}]}).tables[0]
    assert len(table.rows) == 9 and table.rows[table.marked][0].text == f"{chosen['words']} words"
    assert "96 rows to learn from" in table.note and "rag shows 1" in table.note


class Cites:
    """An inner solution that answers with the passages it was given."""

    def predict(self, inputs):
        return [Prediction(row[FIELD], 0.9) for row in inputs]

    def save(self, folder):
        """Nothing to write."""


def test_other_documents_are_answered_from_and_only_they_are_embedded():
    index = reranked(filler(30), ("when does the mill open",), ("f3",))
    solution = LookedUp(Cites(), Lookup(TASK, index, 1))
    assert isinstance(solution, Updatable)
    index.embedder.seen = []
    moved = solution.with_documents(
        [*filler(30)[5:], Document("mill", "The mill", "The mill opens when the bell rings.")]
    )
    assert len(index.embedder.seen) == 2, "title and body of the new one"
    (answer,) = moved.predict([{"q": "when does the mill open"}])
    assert answer.sources == ("mill",) and "bell rings" in answer.value
    assert answer.passages == ("The mill: The mill opens when the bell rings.",)
    assert answer.value == f"[1] {answer.passages[0]}", "cited is what was shown"
    (before,) = solution.predict([{"q": "when does the mill open"}])
    assert before.sources != ("mill",)


class Letters:
    """Embeds a text by how often it holds each letter."""

    name = "letters"

    def embed(self, texts):
        counts = np.array(
            [[text.lower().count(one) for one in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32
        )
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def test_a_stored_answer_is_forgotten_when_its_document_says_something_else(tmp_path):
    """A policy that moved from 20 to 28 days must not be answered from last year's rows."""
    embedder = Letters()
    documents = (
        Document("leave", "Leave", "You get 20 days of leave."),
        Document("pay", "Pay", "Pay comes on Fridays."),
    )
    task = replace(TASK, documents=documents, metric=get("metric", "token_f1")())
    rows = [
        Example(f"r{i}", {"q": f"how many days of leave {i}"}, "20 days", gold_documents=("leave",)) for i in range(8)
    ] + [Example(f"p{i}", {"q": f"when is pay {i}"}, "on Fridays", gold_documents=("pay",)) for i in range(8)]
    kit = Kit({}, embedder, tmp_path)
    solution = get("strategy", "extractive")().fit(task, rows, rows[:4], kit)
    assert {row.target for row in solution.near.examples} == {"20 days", "on Fridays"}
    moved = solution.with_documents([replace(documents[0], text="You get 28 days of leave."), documents[1]])
    assert {row.target for row in moved.near.examples} == {"on Fridays"}
    same = solution.with_documents(list(documents))
    assert len(same.near.examples) == len(solution.near.examples)


def test_without_an_encoder_answers_are_found_by_words_and_with_one_they_need_it_again(tmp_path):
    documents, rows = manuals(8)
    task = replace(TASK, documents=tuple(documents), metric=get("metric", "token_f1")())
    made = get("strategy", "extractive")()
    asked = [row.inputs for row in rows[:6]]
    for folder, embedder in ((tmp_path / "words", None), (tmp_path / "encoder", Words())):
        folder.mkdir()
        solution = made.fit(task, rows[6:], rows[:6], Kit({}, embedder, folder))
        assert (solution.lookup.index.settings.mode == "lexical") or embedder
        assert "bars" in solution.predict(asked)[0].value
        solution.save(folder)
        assert made.load(task, folder, Kit({}, embedder, folder)).predict(asked) == solution.predict(asked)
    again = made.load(task, tmp_path / "words", Kit({}, Words(), tmp_path))
    assert again.near.embedder.name == "words" and again.vectors.shape[1] == again.near.embedder.embed([""]).shape[1]
    with pytest.raises(UsageError, match="there is none here"):
        made.load(task, tmp_path / "encoder", Kit({}, None, tmp_path))


def test_what_learns_from_documents_is_given_whole_ones_where_these_are_found_as_well(tmp_path):
    words = [f"thing{i}" for i in range(12)]
    documents = tuple(
        Document(one, one, f"{one} is told of here. " + "Much is said of it in many words. " * 42 + "So it is good.")
        for one in words
    )
    rows = [Example(one, {"q": f"what of {one}?"}, "x", gold_documents=(one,)) for one in words]
    task, kit = replace(TASK, documents=documents), Kit({}, Words(), tmp_path)
    lookups = [make_lookup(task, rows, Wanted(learns=learns), kit) for learns in (False, True)]
    assert [one.index.settings.words for one in lookups] == [180, 0]
    given = [replace(one, count=1).examples(rows[:1], own=False)[0].inputs[FIELD] for one in lookups]
    assert len(given[0].split()) < 250 < len(given[1].split()) and "So it is good." in given[1]
    lookups[1].save(tmp_path)
    assert load_lookup(task, tmp_path, Words()).longest == lookups[1].longest == 560
    longer = replace(task, documents=tuple(replace(one, text=one.text * 3) for one in documents))
    assert make_lookup(longer, rows, Wanted(learns=True), kit).index.settings.words > 0, "too long to be given whole"
