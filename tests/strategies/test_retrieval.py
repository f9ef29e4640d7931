"""Passages, search by words and by meaning, what train questions teach, and what must never be in an index."""

from __future__ import annotations

import json
import os
import random
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from whichway.core.ranking import hit_at
from whichway.core.task import Document, Example
from whichway.errors import UsageError, WhichwayError
from whichway.strategies.parts import choosing
from whichway.strategies.parts.choosing import asked_in, choose
from whichway.strategies.parts.chunks import chunk
from whichway.strategies.parts.fusion import best, fuse, ranks
from whichway.strategies.parts.lexical import index_words, tokens
from whichway.strategies.parts.pairs import FEATURES, Asked
from whichway.strategies.parts.rerank import Reranker, learn
from whichway.strategies.parts.retrieval import RetrieverSettings, build, load

DATA = Path(os.environ.get("WHICHWAY_DATA", Path(__file__).parents[3] / "shared" / "data"))
MODES = [RetrieverSettings(mode="lexical"), RetrieverSettings(mode="dense", embed="both"), RetrieverSettings()]
DOCUMENTS = (
    Document("pump", "Cleaning the pump", "Close the valve. Rinse the pump with warm water, then dry it."),
    Document("bill", "Invoices", "An invoice such as INV-204 is sent on the first day of each month."),
    Document("door", "Opening hours", "The doors are open from nine to five, on Saturdays until noon."),
)


class Words:
    """Embeds a text as the sum of one random vector per word, and remembers what it was given."""

    name = "words"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts):
        self.seen += texts
        found = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in zip(found, texts):
            for word in tokens(text):
                row += np.random.default_rng(zlib.crc32(word.encode())).normal(size=256)
            row /= np.linalg.norm(row) or 1.0
        return found


def found_by(index, *queries, k=5):
    return [index.documents(hits) for hits in index.search(queries, k)]


def reranked(documents=DOCUMENTS, questions=("How do I rinse it?", "When do you close?"), gold=("pump", "door")):
    """An index with a reranker that weighs everything the same."""
    embedder = Words()
    asked = Asked(tuple(questions), embedder.embed(list(questions)), tuple((one,) for one in gold))
    return build(documents, embedder, RetrieverSettings(), reranker=Reranker((1.0,) * len(FEATURES), asked))


def test_a_short_document_stays_one_passage_under_its_own_id():
    (passage,) = chunk([DOCUMENTS[0]])
    assert (passage.id, passage.document, passage.title) == ("pump", "pump", "Cleaning the pump")
    assert passage.text == DOCUMENTS[0].text


def test_a_long_document_is_cut_at_its_headings_which_travel_in_the_title():
    text = "\n".join(["# Care", "said " * 40, "## Weekly", "rinse " * 40, "# Parts", "list " * 40])
    found = chunk([Document("m", "Manual", text)], words=50)
    assert [(one.id, one.title) for one in found] == [
        ("m#0", "Manual > Care"),
        ("m#1", "Manual > Care > Weekly"),
        ("m#2", "Manual > Parts"),
    ]
    assert [one.text.split()[0] for one in found] == ["said", "rinse", "list"]
    assert len(chunk([Document("m", "Manual", text)], words=0)) == 1


def test_a_comment_in_code_is_no_heading_and_a_heading_alone_is_not_lost():
    text = "start " * 90 + "\n```\n# a comment\n```\n# Last words"
    found = chunk([Document("m", "", text)], words=50)
    assert all(">" not in one.title and "comment" not in one.title for one in found)
    assert found[-1].text == "Last words"


@pytest.mark.parametrize("overlap", [0, 12])
def test_cutting_loses_no_word_and_keeps_the_size(overlap):
    numbers = [f"w{i}" for i in range(900)]
    lines = [" ".join(numbers[i : i + 9]) + "." for i in range(0, 450, 9)]  # sentences in one paragraph
    lines = [" ".join(lines).replace(". w", ". W")] + [
        "- " + " ".join(numbers[i : i + 20]) for i in range(450, 690, 20)
    ]
    lines += ["", " ".join(numbers[690:])]  # one sentence longer than a passage
    found = chunk([Document("m", "t", "\n".join(lines))], words=50, overlap=overlap)
    assert max(len(one.text.split()) for one in found) <= 50
    said = [word.strip(".-").casefold() for one in found for word in one.text.split() if word != "-"]
    assert list(dict.fromkeys(said)) == numbers
    assert (len(said) > len(numbers)) == bool(overlap)
    assert not any(one.text.endswith(" -") for one in found)


def test_list_items_stay_whole():
    items = [f"- item {i} " + "word " * 17 for i in range(8)]
    found = chunk([Document("m", "", "\n".join(items))], words=50, overlap=0)
    assert [[line.split()[2] for line in one.text.splitlines()] for one in found] == [
        [*"01"],
        [*"23"],
        [*"45"],
        [*"67"],
    ]


def test_what_is_said_again_never_makes_a_passage_too_long():
    text = "One two three four five six seven eight. " * 6 + "Long " * 45 + "end. " + "One two three. " * 9
    found = chunk([Document("m", "", text)], words=50, overlap=20)
    assert max(len(one.text.split()) for one in found) <= 50


def test_words_are_found_whole_in_parts_and_without_their_plural():
    assert tokens("The INV-204 invoices, is it O'Neil's?") == ["inv-204", "inv", "204", "invoice", "o", "neil"]
    nothing = index_words(["the of and", ""])
    assert nothing.scores(nothing.count(["of", "pump"])).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert found_by(build(DOCUMENTS, None, MODES[0]), "inv-204", "Is there an invoice?", k=1) == [["bill"], ["bill"]]


def test_equal_scores_share_a_rank_and_fusing_is_the_papers_formula():
    words, meaning = np.array([[3.0, 1.0, 1.0]]), np.array([[0.1, 0.9, 0.5]])
    assert ranks(words).tolist() == [[1, 2, 2]]
    expected = [1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 62 + 1 / 62]
    assert fuse([words, meaning])[0].tolist() == pytest.approx(expected)
    assert best(np.array([[1.0, 2.0, 2.0]]), 2).tolist() == [[1, 2]]


@pytest.mark.parametrize("settings", MODES, ids=lambda one: one.mode)
def test_each_mode_finds_the_document_that_says_it(settings):
    index = build(DOCUMENTS, Words(), settings)
    asked = ("rinse with warm water", "invoice each month", "open on Saturdays")
    assert [one[0] for one in found_by(index, *asked)] == ["pump", "bill", "door"]
    assert index.search([], 3) == []
    hits = index.search(["", "zzz"], 2)
    assert [len(one) for one in hits] == [2, 2]


@pytest.mark.parametrize("embed", ["title", "body", "both", "max"])
def test_what_is_embedded_is_a_setting(embed):
    embedder = Words()
    build(DOCUMENTS[:1], embedder, RetrieverSettings(mode="dense", embed=embed))
    title, body = DOCUMENTS[0].title, DOCUMENTS[0].text
    wanted = {"title": [title], "body": [body], "both": [f"{title}\n{body}"], "max": [title, body]}
    assert embedder.seen == wanted[embed]


def test_an_index_of_nothing_finds_nothing():
    for settings in MODES:
        index = build([], Words(), settings)
        assert index.search(["anything", "else"], 3) == [[], []]
        assert [one.id for one in index.update(DOCUMENTS).contents] == ["pump", "bill", "door"]
    assert reranked(()).search(["anything"], 3) == [[]]


@pytest.mark.parametrize("made", [*[lambda one=one: build(DOCUMENTS, Words(), one) for one in MODES], reranked])
def test_a_saved_index_finds_the_same_and_holds_no_pickle(tmp_path, made):
    index = made()
    index.save(tmp_path)
    again = load(tmp_path, Words())
    asked = ["rinse the pump", "INV-204", "open at noon", ""]
    assert again.search(asked, 3) == index.search(asked, 3)
    assert again.settings == index.settings
    assert {one.suffix for one in tmp_path.rglob("*")} <= {".json", ".safetensors"}


def test_a_damaged_index_is_refused_in_words(tmp_path):
    reranked().save(tmp_path)
    about = json.loads((tmp_path / "reranker.json").read_text())
    (tmp_path / "reranker.json").write_text(json.dumps(about | {"weights": {"something": 1.0}}))
    with pytest.raises(WhichwayError, match="another version"):
        load(tmp_path, Words())
    (tmp_path / "vectors.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(WhichwayError, match="cannot be read"):
        load(tmp_path, Words())


@pytest.mark.parametrize("made", [lambda: build(DOCUMENTS, Words(), RetrieverSettings()), reranked])
def test_an_update_embeds_only_what_is_new_and_equals_a_fresh_index(made):
    index = made()
    index.embedder.seen.clear()
    changed = replace(DOCUMENTS[1], text="An invoice is sent by letter.")
    new = Document("shop", "Spare parts", "Valves are sold at the counter.")
    updated = index.update([DOCUMENTS[2], changed, new])
    assert sorted(index.embedder.seen) == sorted([changed.text, new.title, new.text])
    fresh = build([DOCUMENTS[2], changed, new], Words(), index.settings, reranker=index.reranker)
    asked = ["sent by letter", "rinse the pump", "valves", "open on Saturdays"]
    assert updated.search(asked, 9) == fresh.search(asked, 9)
    assert (updated.vectors.table == fresh.vectors.table).all()
    assert "pump" not in {name for hits in found_by(updated, *asked) for name in hits}


def questions(count: int, seed: int = 0) -> list[Example]:
    """Rows whose words stand in no document but say, once it is learned, which document is meant."""
    chosen = random.Random(seed)
    secret = {"pump": "gurgle splash drip", "bill": "money owe cheque", "door": "shut late weekend"}
    rows = []
    for i in range(count):
        name = chosen.choice(sorted(secret))
        said = " ".join(chosen.sample(secret[name].split(), 2)) + f" please{seed}x{i}y"
        rows.append(Example(f"r{i}", {"question": said, "age": i}, "SECRETANSWER", gold_documents=(name,)))
    return rows


def filler(count: int) -> list[Document]:
    return [Document(f"f{i}", f"Notice {i}", f"Notice number {i} of the board about matter{i}.") for i in range(count)]


def test_questions_asked_before_teach_where_words_and_meaning_fail():
    documents, rows = [*filler(40), *DOCUMENTS], questions(80)
    settings, reranker, table = choose(documents, Words(), rows, seed=1)
    assert reranker is not None
    plain = max(one.hit_at_1 for one in table if not one.reranked)
    learned = next(one for one in table if one.reranked)
    assert plain < 0.5 and learned.hit_at_1 > 0.9 and learned.rows == 80
    index = build(documents, Words(), settings, reranker=reranker)
    new = questions(30, seed=7)
    ranked = found_by(index, *map(asked_in, new))
    assert np.mean([hit_at(one.gold_documents, found, 1) for one, found in zip(new, ranked)]) > 0.9
    assert choose(documents, Words(), rows, seed=1)[2] == table


def test_documents_nobody_asked_for_are_found_beside_those_somebody_did():
    chosen = random.Random(5)
    things = [f"thing{i}" for i in range(30)]
    documents = [Document(f"d{i}", f"On {one}", f"How {one} is done, with extra{i}.") for i, one in enumerate(things)]
    rows = [
        Example(f"r{i}.{n}", {"q": f"nick{i} help mate {said} {n}x"}, gold_documents=(f"d{i}",))
        for i in range(20)
        for n, said in enumerate((things[i], things[i], things[i], chosen.choice(things[:20])))
    ]
    settings, reranker, _ = choose(documents, Words(), rows, 0)
    index = build(documents, Words(), settings, reranker=reranker)
    ranked = found_by(index, *[f"help mate {one}" for one in things[20:]])
    assert np.mean([found[0] == f"d{20 + i}" for i, found in enumerate(ranked)]) >= 0.9


def test_what_was_asked_before_speaks_for_its_document_unless_it_may_not_be_looked_at():
    index = reranked()
    vectors = index.embedder.embed(["When do you close?"])
    numbers, features = index.pairing.features(["When do you close?"], vectors, 3)
    name = {index.passages[i].id: features[0, place] for place, i in enumerate(numbers[0])}
    before, meaning = FEATURES.index("asked before"), FEATURES.index("better meaning")
    assert name["door"][before] == pytest.approx(1.0 - name["door"][meaning], abs=1e-5)
    assert name["door"][before] > 0.5 and name["bill"][before] == 0.0
    _, hidden = index.pairing.features(["When do you close?"], vectors, 3, np.array([[False, True]]))
    assert hidden[0, :, before].max() < 0.3


def test_a_train_row_is_never_compared_with_itself_nor_with_its_group():
    chosen = random.Random(3)
    documents = filler(60)
    rows = []
    for i in range(60):  # no question says anything about its document, and each stands there twice, in one group
        said, gold = f"noise{i} nothing{i}", (f"f{chosen.randrange(60)}",)
        rows += [Example(f"r{i}.{copy}", {"q": said}, group=f"g{i}", gold_documents=gold) for copy in "ab"]
    _, _, table = choose(documents, Words(), rows, seed=0)
    assert all(one.hit_at_1 < 0.15 for one in table)
    alone = [replace(one, group=None) for one in rows]
    _, _, leaking = choose(documents, Words(), alone, seed=0)
    assert max(one.hit_at_1 for one in leaking) > 0.5  # what it would look like


def test_a_train_question_is_searched_for_as_if_it_were_new():
    index = reranked(filler(70), ("noise nothing", "noise of other kind"), ("f65", "f66"))
    assert found_by(index, "noise nothing", k=1) == [["f65"]]
    assert [hit.passage.document for hit in index.search(["noise nothing"], 1, without_self=True)[0]] != ["f65"]


def test_no_text_is_embedded_twice_in_choosing():
    embedder = Words()
    choose([*filler(10), *DOCUMENTS], embedder, questions(40), 0)
    assert len(embedder.seen) == len(set(embedder.seen))


def test_search_by_meaning_without_an_embedder_is_refused_in_words(tmp_path):
    with pytest.raises(UsageError, match="needs an embedder"):
        build(DOCUMENTS, None, RetrieverSettings())
    reranked().save(tmp_path)
    with pytest.raises(UsageError, match="needs an embedder"):
        load(tmp_path, None).search(["anything"])


def test_the_simplest_of_ways_that_are_as_good_is_taken():
    rows = [Example(f"r{i}", {"q": one.text}, gold_documents=(one.id,)) for i, one in enumerate(DOCUMENTS * 12)]
    settings, reranker, table = choose(DOCUMENTS, Words(), rows, 0)
    assert (settings.mode, reranker) == ("lexical", None)
    assert len([one for one in table if one.hit_at_1 == 1.0]) > 1


def test_of_many_passages_fewer_rows_are_measured(monkeypatch):
    monkeypatch.setattr(choosing, "WORK", 43 * 70)
    _, _, table = choose([*filler(40), *DOCUMENTS], Words(), questions(90), 0)
    assert {one.rows for one in table} == {70}


def test_without_gold_documents_nothing_is_tried_and_the_default_is_taken():
    rows = [replace(one, gold_documents=()) for one in questions(50)] + questions(5)
    assert choose(DOCUMENTS, Words(), rows, 0) == (RetrieverSettings(), None, ())
    assert choose(DOCUMENTS, None, rows, 0) == (RetrieverSettings(mode="lexical"), None, ())


def test_without_an_embedder_only_words_are_tried():
    settings, reranker, table = choose(DOCUMENTS, None, questions(40), 0)
    assert (settings.mode, reranker) == ("lexical", None)
    assert {one.settings.mode for one in table} == {"lexical"}


def test_an_index_holds_no_answer_and_no_row_but_those_of_train(tmp_path):
    documents, train, test = [*filler(40), *DOCUMENTS], questions(80), questions(30, seed=7)
    settings, reranker, _ = choose(documents, Words(), train, seed=1)
    index = build(documents, Words(), settings, reranker=reranker)
    before = index.search([asked_in(one) for one in train], 3)
    found_by(index, *map(asked_in, test))
    assert index.search([asked_in(one) for one in train], 3) == before  # searching teaches nothing
    index.save(tmp_path)
    kept = b"".join(one.read_bytes() for one in tmp_path.rglob("*.json")).decode()
    assert "SECRETANSWER" not in kept
    assert all(asked_in(one) in kept for one in train)  # on purpose
    assert not any(asked_in(one) in kept for one in test)


def test_what_speaks_for_a_passage_never_counts_against_it():
    chosen = np.random.default_rng(0)
    features = chosen.normal(size=(50, 6, len(FEATURES)))
    right = np.zeros((50, 6), dtype=bool)
    right[np.arange(50), (features[:, :, 0] - features[:, :, 1]).argmax(axis=1)] = True
    weights = learn(features, right)
    assert weights[0] > 1.0 and weights[1] == 0.0
    assert min(weights) >= 0.0
    assert set(learn(features, right & False)) == {0.0}


def test_more_rows_than_are_measured_are_all_remembered(monkeypatch):
    monkeypatch.setattr(choosing, "MOST", 40)
    _, reranker, table = choose([*filler(40), *DOCUMENTS], Words(), questions(60), 0)
    assert {one.rows for one in table} == {40}
    assert reranker is not None and len(reranker.asked.questions) == 60


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "stackfaq").is_dir(), reason="the data beside the project are not there")
def test_support_questions_find_their_entry():
    from whichway.study.kit import CachedEmbedder, ModelShelf

    def lines(part):
        return [json.loads(one) for one in (DATA / "stackfaq" / f"{part}.jsonl").read_text().splitlines()]

    def rows(part):
        return [
            Example(one["id"], {"q": one["input"]}, gold_documents=tuple(one["gold_doc_ids"])) for one in lines(part)
        ]

    models = SimpleNamespace(models=SimpleNamespace(embedder="embedded", endpoints={}))
    embedder = CachedEmbedder(ModelShelf(models, lambda: None), None)  # a second run finds the vectors on disk
    documents = [Document(**one) for one in lines("documents")]
    settings, reranker, _ = choose(documents, embedder, rows("train"), 0)
    test = rows("test")
    ranked = found_by(build(documents, embedder, settings, reranker=reranker), *map(asked_in, test), k=50)
    assert np.mean([hit_at(one.gold_documents, found, 1) for one, found in zip(test, ranked)]) >= 0.93
    assert np.mean([hit_at(one.gold_documents, found, 5) for one, found in zip(test, ranked)]) >= 0.98
