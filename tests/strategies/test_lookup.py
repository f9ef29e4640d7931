"""Passages put beside rows: how many, found without a row's own help, and kept up with other documents."""

from __future__ import annotations

from types import SimpleNamespace

from test_retrieval import filler, reranked

from whichway.core.strategy import Updatable
from whichway.core.task import Document, Example, Field, Prediction, Task
from whichway.core.text import Text
from whichway.strategies.parts.choosing import enough_passages
from whichway.strategies.parts.lookup import FIELD, LookedUp, Lookup

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
    (before,) = solution.predict([{"q": "when does the mill open"}])
    assert before.sources != ("mill",)
