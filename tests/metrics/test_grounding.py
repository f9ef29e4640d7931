"""Are the sentences of an answer supported by what it cites; do answers repeat each other."""

from __future__ import annotations

import numpy as np
import pytest

from whichway import registry
from whichway.core.task import Example, Prediction

DOCUMENTS = {
    "refunds": "Refunds are paid within 14 days after the parcel arrives at our warehouse. The fee is $1,200.50.",
    "hours": "The shop opens at nine in the morning from Monday to Friday.",
}


def score(*answers, **settings):
    one = registry.get("metric", "groundedness")(documents=DOCUMENTS, **settings)
    return one.aggregate([one.score_example(Example("x", {}, ""), answer) for answer in answers])


def said(text, *sources, parsed=True, passages=()):
    return Prediction(text, 1.0, parsed=parsed, sources=sources, passages=passages)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (said("The refund is paid within 14 days.", "refunds"), 1.0),
        (said("The refund is paid within fourteen days.", "refunds"), 1.0),
        (said("The refund is paid within 15 days.", "refunds"), 0.0),
        (said("The fee is 1200.5 dollars.", "refunds"), 0.0),  # two content words, one of them not there
        (said("The fee of 1200.5 is paid.", "refunds"), 1.0),
        (said("The shop opens at 9 on Monday.", "hours"), 1.0),
        (said("The shop opens at nine on Monday.", "refunds"), 0.0),
        (said("The refund is paid within 14 days."), 0.0),
        (said("The refund is paid within 14 days.", "unknown"), 0.0),
        (said("The refund is paid within 14 days. Call our friendly hotline.", "hours", "refunds"), 0.5),
        (said("The shop opens on Monday and refunds are paid within 14 days.", "hours", "refunds"), 0.0),
        (said("The refund is paid within 14 days.", "refunds", parsed=False), 0.0),
        (said("", "refunds"), 0.0),
    ],
)
def test_a_sentence_is_supported_by_one_cited_document_that_holds_its_words_and_numbers(answer, wanted):
    assert score(answer) == wanted


def test_an_answer_is_judged_by_the_passages_it_was_given_and_by_documents_where_it_names_none():
    text = "Refunds are paid within 14 days."
    other, right = "Refunds: The fee is $1,200.50.", "Refunds: They are paid within 14 days after the parcel arrives."
    assert score(said(text, "refunds")) == 1.0
    assert score(said(text, "refunds", passages=(other,))) == 0.0, "it stands elsewhere in the document"
    assert score(said(text, "refunds", passages=(other, right))) == 1.0
    assert score(said("The fee of 14 is paid.", "refunds", passages=(other, right))) == 0.0, "no single passage says it"
    assert score(said(text, "refunds", passages=(other,)), by="documents") == 1.0, "as it was judged before"
    with pytest.raises(ValueError, match="'passages' or 'documents'"):
        score(said(text), by="pages")


def test_all_sentences_count_alike_and_an_empty_answer_has_none():
    good, bad = "The refund is paid within 14 days.", "Bananas are yellow."
    assert score(said(f"{good} {good} {bad}", "refunds"), said(bad, "hours"), said("", "hours")) == pytest.approx(2 / 4)


def test_the_threshold_says_how_many_words_must_be_there():
    half = said("Refunds need bananas.", "refunds")
    assert (score(half, threshold=0.3), score(half, threshold=0.7)) == (1.0, 0.0)


def distinct(texts, index=None):
    one = registry.get("metric", "distinctness")()
    scores = [one.score_example(Example(str(at), {}, ""), Prediction(text, 1.0)) for at, text in enumerate(texts)]
    return one.aggregate(scores) if index is None else one.resample(scores, np.array(index))


def test_distinctness_is_the_share_of_different_pairs_of_words():
    assert distinct(["a b c d"]) == 1.0
    assert distinct(["a b a b"]) == pytest.approx(2 / 3)
    assert distinct(["a nice day", "a nice day", "a nice week"]) == pytest.approx(3 / 6)
    assert distinct(["", "one"]) == 0.0


def test_a_row_drawn_twice_does_not_look_like_a_repetition():
    assert distinct(["a b c", "a b d"], [[0, 0], [0, 1], [1, 1]]) == pytest.approx([1.0, 3 / 4, 1.0])


@pytest.mark.parametrize("seed", range(3))
def test_distinctness_of_many_resamples_is_what_counting_gives(seed):
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(list("abcde"), rng.integers(0, 6))) for _ in range(12)]
    index, wanted = rng.integers(0, 12, (300, 12)), []
    for row in index:
        pairs = [pair for at in set(row.tolist()) for pair in zip(texts[at].split(), texts[at].split()[1:])]
        wanted.append(len(set(pairs)) / len(pairs) if pairs else 0.0)
    assert distinct(texts, index) == pytest.approx(wanted)
