"""Which retrieval is chosen: sizes, modes and counts tried on train rows, by gold documents or by answers."""

from __future__ import annotations

import pytest
from test_retrieval import Words

from whichway.core.task import Document, Example
from whichway.errors import NotApplicable
from whichway.registry import get
from whichway.strategies.parts import choosing
from whichway.strategies.parts.choosing import Sought, asked_in, choose, enough_to_show
from whichway.strategies.parts.covered import surplus
from whichway.strategies.parts.retrieval import RetrieverSettings
from whichway.study.lines import needs_embedder


def manuals(count: int = 24) -> tuple[list[Document], list[Example]]:
    """Long documents with four sections each, every one with a fact of its own, and a question about each."""
    documents, rows = [], []
    for i in range(count):
        parts = [
            f"The dial{i}x{n} shows value{i}x{n} bars. " + f"Note the usual warnings of part {n}. " * 12
            for n in range(4)
        ]
        documents.append(Document(f"m{i}", "Manual", "\n\n".join(parts)))
        rows += [Example(f"r{i}.{n}", {"q": f"What does dial{i}x{n} show?"}, f"value{i}x{n} bars") for n in range(4)]
    return documents, rows


def test_without_gold_documents_size_mode_and_count_are_chosen_by_what_holds_the_answers():
    documents, rows = manuals()
    embedder = Words()
    sought = Sought(asked_in, lambda row: row.target)
    settings, reranker, table = choose(documents, embedder, rows, 0, sought)
    assert {one.settings.words for one in table} == {180, 90, 270} and {one.judged_by for one in table} == {"answers"}
    assert {one.settings.mode for one in table} == {"lexical", "dense", "fused"}
    assert all(len(one.by_count) == 5 and one.rows == len(rows) for one in table)
    assert len(embedder.seen) == len(set(embedder.seen)), "vectors are shared by content"
    chosen = next(one for one in table if one.settings == settings)
    assert chosen.score > 0.45 and reranker is None
    assert max(one.score for one in table) - chosen.score <= choosing.MARGIN_OF_ANSWERS
    assert enough_to_show(table, settings) == 1
    by_labels = choose(documents, Words(), rows, 0, Sought(asked_in))
    assert by_labels == (RetrieverSettings(), None, ()), "a label stands in no passage"
    assert choose(documents, Words(), rows[:29], 0, sought)[2] == (), "too few to tell"


def test_smaller_passages_are_taken_where_they_find_the_gold_documents_better():
    plain = "plain words of no use here. " * 13
    documents, rows = [], []
    for i in range(40):  # the next manual names both things more often, far apart
        said = [f"alpha{i} beta{i} {plain}", plain, f"alpha{i - 1} alpha{i - 1} alpha{i - 1} {plain}"]
        said += [f"beta{i - 1} beta{i - 1} beta{i - 1} {plain}", plain, plain]
        documents.append(Document(f"d{i}", "", "\n\n".join(said)))
        rows.append(Example(f"r{i}", {"q": f"alpha{i} beta{i}"}, gold_documents=(f"d{i}",)))
    settings, _, table = choose(documents, None, rows, 0)
    best = {one.settings.words: one.score for one in table}
    assert set(best) == {180, 0, 90, 270} and settings.words == 90 and best[90] > best[180] + 0.2
    assert choose(documents, None, rows, 0, Sought(asked_in, words=270))[0].words == 270
    fixed = choose(documents, Words(), rows, 0, Sought(asked_in, mode="dense"))
    assert {one.settings.mode for one in fixed[2]} == {"dense"} and fixed[1] is None


def test_of_very_many_words_further_sizes_are_searched_by_words_alone(monkeypatch):
    documents, rows = manuals(8)
    monkeypatch.setattr(choosing, "READABLE", 100)
    table = choose(documents, Words(), rows, 0, Sought(asked_in, lambda row: row.target))[2]
    assert {one.settings.words for one in table if one.settings.mode != "lexical"} == {180}
    assert {one.settings.words for one in table if one.settings.mode == "lexical"} == {180, 90, 270}


def test_what_passages_hold_of_any_answer_does_not_count():
    answers = ["red lamp", "blue lamp", "green lamp"]
    shown = [["a red thing", "a lamp"], ["a blue thing", "a lamp"], ["a green thing", "a red blue green lamp"]]
    assert surplus(answers, shown, 2) == pytest.approx((0.5, 0.333333), abs=1e-5)
    assert surplus(answers, [[], [], []], 1) == (0.0,)


def about_pumps(count: int) -> tuple[list[Document], list[Example]]:
    documents = [Document(f"d{i}", f"Pump {i}", f"The pump{i} runs at speed{i} in winter.") for i in range(count)]
    rows = [Example(f"r{i}", {"q": f"How fast is pump{i}?"}, "fast", gold_documents=(f"d{i}",)) for i in range(count)]
    return documents, rows


@pytest.mark.parametrize(("rerank", "rows", "mode", "tried", "taken"), [
    ("auto", 40, "auto", True, False), ("no", 40, "auto", False, False), ("yes", 40, "auto", True, True),
    ("auto", 40, "fused", False, False), ("yes", 40, "lexical", True, True), ("auto", 12, "auto", False, False),
    ("yes", 12, "auto", True, True),
])  # fmt: skip
def test_a_reranker_is_learned_where_it_helps_or_is_asked_for(rerank, rows, mode, tried, taken):
    documents, asking = about_pumps(rows)
    sought = Sought(asked_in, mode=mode, rerank=rerank)
    _, reranker, table = choose(documents, Words(), asking, 0, sought)
    assert any(one.reranked for one in table) is tried and (reranker is not None) is taken


def test_a_reranker_that_cannot_be_learned_is_refused_with_what_it_needs():
    documents, rows = about_pumps(9)
    with pytest.raises(NotApplicable, match="9 do, and 10 are needed"):
        choose(documents, Words(), rows, 0, Sought(asked_in, rerank="yes"))
    with pytest.raises(NotApplicable, match="no sentence encoder"):
        choose(documents, None, rows, 0, Sought(asked_in, rerank="yes"))
    for way in ("rag", "raft", "extractive"):
        assert needs_embedder(get("strategy", way)(rerank="yes")) and not needs_embedder(get("strategy", way)())
