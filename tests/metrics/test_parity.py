"""Entity F1 and slot errors against other people's definitions of them, on rows written by hand or drawn."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from whichway import registry
from whichway.core.task import Example, Prediction

TYPES, NAMES = ("party", "lender", "place"), ("Acme", "Bank of Ulm", "Ulm", "Borrower", "Ann Lee", "1 May")


def spans(rng: random.Random) -> set[tuple[str, str]]:
    return {(rng.choice(TYPES), rng.choice(NAMES)) for _ in range(rng.randrange(5))}


def grouped(pairs: set[tuple[str, str]]) -> dict[str, list[str]]:
    """Write spans as a record with a list per type."""
    return {kind: [text for one, text in sorted(pairs) if one == kind] for kind in TYPES}


def listed(pairs: set[tuple[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Write spans as a record with one list of objects."""
    return {"entities": [{"type": kind, "text": text} for kind, text in sorted(pairs)]}


@pytest.mark.parametrize("written", [grouped, listed])
@pytest.mark.parametrize("seed", range(6))
def test_entity_f1_is_the_micro_f1_of_scikit_learn_over_pairs_of_type_and_span(written, seed):
    rng = random.Random(seed)
    gold = [spans(rng) for _ in range(40)]
    said = [
        {one for one in some if rng.random() < 0.7} | (spans(rng) if rng.random() < 0.4 else set()) for some in gold
    ]
    metric = registry.get("metric", "entity_f1")()
    rows = [Example(str(i), {}, written(some)) for i, some in enumerate(gold)]
    scores = [metric.score_example(row, Prediction(written(some), 1.0)) for row, some in zip(rows, said, strict=True)]
    table = MultiLabelBinarizer().fit([*gold, *said])
    theirs = f1_score(table.transform(gold), table.transform(said), average="micro", zero_division=0)
    assert metric.aggregate(scores) == pytest.approx(theirs)


# Slots that are missing, added or have a wrong value, per slot given (Wen et al. 2015, section 5.1; Dusek et al. 2019,
# section 3, counts wrong values as well): counted here by hand.
VALUES = {"food": ["Thai", "Greek"], "area": ["harbour", "old town"], "price": ["cheap", "dear"], "kids": ["yes", "no"]}
FIG = {"name": "The Fig", "food": "Thai", "area": "harbour", "price": "cheap"}
OAK = {"name": "Oak", "food": "Greek"}
TEXTS = [  # row, text, missing, added, wrong
    (FIG, "The Fig is a cheap Thai place by the harbour.", 0, 0, 0),
    (FIG, "By the harbour you find The Fig, a cheap Thai restaurant, and it is cheap.", 0, 0, 0),
    (FIG, "The Fig is a Thai place.", 2, 0, 0),
    (FIG, "The Fig is a cheap Greek place by the harbour.", 0, 0, 1),
    (FIG, "The Fig is a dear Greek place.", 1, 0, 2),
    (OAK, "Oak serves Greek food.", 0, 0, 0),
    (OAK, "Oak serves Greek food in the old town.", 0, 1, 0),
    (OAK, "Oak is a Thai place.", 0, 0, 1),
    (OAK, "A Greek place in the harbour.", 1, 1, 0),
]


@pytest.mark.parametrize(("row", "text", "missing", "added", "wrong"), TEXTS)
def test_slot_errors_of_a_text_are_those_counted_by_hand(row, text, missing, added, wrong):
    found = registry.get("metric", "slot_coverage")(values=VALUES).errors(row, text)
    assert len(found) == missing + added + wrong
    assert sum(one.startswith("invented") for one in found) == added


def test_slot_coverage_of_a_corpus_is_one_minus_the_published_slot_error_rate():
    metric = registry.get("metric", "slot_coverage")(values=VALUES)
    scores = [
        metric.score_example(Example(str(i), row), Prediction(text, 1.0)) for i, (row, text, *_) in enumerate(TEXTS)
    ]
    rate = sum(missing + added + wrong for *_, missing, added, wrong in TEXTS) / sum(len(row) for row, *_ in TEXTS)
    assert metric.aggregate(scores) == pytest.approx(1 - rate) and rate == pytest.approx(10 / 28)
