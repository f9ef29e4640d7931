"""Slot coverage: what a text must state, and phrases learned from rows; also on the E2E data where it is there."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from whichway import registry
from whichway.core.task import Example, Prediction, Task
from whichway.core.text import Text
from whichway.metrics.phrases import known_values, learn_phrases
from whichway.study.run import taught
from whichway.study.split import make_split

DATA = (
    Path(os.environ.get("WHICHWAY_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "e2e_nlg_cleaned"
)
ROW = {"name": "The Old Mill", "area": "harbour", "petFriendly": "no", "stars": 4.0, "price": None}
PHRASES = {"price": {"low": ["cheap", "bargain"], "high": ["expensive"]}, "petFriendly": {"no": ["not welcome dogs"]}}
VALUES = {"price": ["low", "high"], "near": ["Kiosk", "Harbour Inn"], "area": ["harbour", "old town"]}


def metric(**settings):
    return registry.get("metric", "slot_coverage")(**settings)


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("Old Mill, by the HARBOUR, has 4 stars. It isn't very pet-friendly.", []),
        ("The Old Mill's harbour bar has 4 stars and does not welcome dogs.", []),
        ("The Old Mill in the harbour has 4 stars.", ["missing: petFriendly = no"]),
        ("The Old Mill in the harbour is pet friendly and has 4 stars.", ["missing: petFriendly = no"]),
        (
            "The Old Mill in the harbour has 4 stars, is not pet friendly and cheap.",
            ["invented: price = low"],
        ),
        (
            "The Old Mill in the harbour has 4 stars, is not pet friendly, close to Kiosk.",
            ["invented: near = Kiosk"],
        ),
        (
            "The Old Mill in the harbour of the old town has 4 stars, not pet friendly.",
            ["contradicted: area = old town"],
        ),
    ],
)
def test_each_slot_error_is_named(text, errors):
    phrases = {**PHRASES, "petFriendly": {"no": ["not welcome dogs"]}}
    assert metric(phrases=phrases, values=VALUES).errors(ROW, text) == errors


def test_another_value_in_place_of_the_right_one_is_one_error():
    text = "The Old Mill in the old town has 4 stars and is not pet friendly."
    assert metric(values=VALUES).errors(ROW, text) == ["missing: area = harbour"]


def test_a_phrase_that_two_values_share_contradicts_neither():
    shared = {"kids": {"no": ["not for kids", "adults"], "few": ["not for kids", "quiet"]}}
    one = metric(phrases=shared)
    assert one.errors({"kids": "few"}, "It is not for kids.") == []
    assert one.errors({"kids": "few"}, "It is quiet, for adults.") == ["contradicted: kids = no"]


def test_only_the_named_fields_are_looked_at():
    assert metric(values=VALUES, fields=["name"]).errors(ROW, "The Old Mill in the old town, near Kiosk.") == []


def test_coverage_is_one_minus_errors_per_slot_over_all_rows():
    one = metric(phrases=PHRASES, values=VALUES)
    rows = [Example("a", ROW), Example("b", {"name": "Kiosk"})]
    scores = [
        one.score_example(rows[0], Prediction("The Old Mill, 4 stars, cheap.", 1.0)),  # no area, no pets, a price
        one.score_example(rows[1], Prediction("Kiosk is not bad.", 1.0)),
    ]
    assert scores == [[1, 4], [1, 1]]
    assert one.aggregate(scores) == pytest.approx(2 / 5)
    assert one.score_example(rows[0], Prediction("The Old Mill", 1.0, parsed=False)) == [0, 4]
    assert metric(fields=["name"]).score_example(rows[0], Prediction("The Old Mill", 1.0)) == [1, 1]


def test_errors_never_outnumber_the_slots():
    one = metric(phrases=PHRASES, values=VALUES)
    assert one.score_example(Example("b", {"area": "harbour"}), Prediction("cheap, near Kiosk", 1.0)) == [0, 1]


def made_up(n=200):
    """Write rows whose texts say each value in a way of its own, or not word for word."""
    rng, rows = random.Random(0), []
    ways = {
        "price": {"low": ["at bargain prices", "that costs little"], "high": ["for deep pockets", "that is costly"]},
        "kids": {"yes": ["where children may come", "open to young ones"], "no": ["where children may not come"]},
    }
    for at in range(n):
        given = {"name": rng.choice(["Fig", "Oak", "Elm", "Ash", "Yew"])}
        said = f"{given['name']} is a place"
        for field, values in ways.items():
            if rng.random() < 0.7:
                given[field] = rng.choice(sorted(values))
                said += " " + rng.choice(values[given[field]])
        rows.append(Example(str(at), given, said + "."))
    return rows


def test_phrases_are_learned_from_rows():
    rows = made_up()
    learned = learn_phrases(rows)
    assert set(learned) == {"price", "kids"}
    assert sorted(learned["price"]["low"]) == ["prices", "that costs little"]
    assert not set(learned["kids"]["no"]) & set(learned["kids"]["yes"])
    assert known_values(rows)["kids"] in (["yes", "no"], ["no", "yes"])
    one = metric(phrases=learned, values=known_values(rows))
    right = [one.score_example(row, Prediction(row.target, 1.0)) for row in rows]
    assert one.aggregate(right) == 1.0
    assert metric().aggregate([metric().score_example(row, Prediction(row.target, 1.0)) for row in rows]) < 0.7
    shifted = [one.score_example(row, Prediction(other.target, 1.0)) for row, other in zip(rows, rows[1:])]
    assert one.aggregate(shifted) < 0.6


def test_what_goes_with_another_attribute_is_not_learned():
    rng, rows = random.Random(1), []
    for row in made_up(400):
        price = row.inputs.get("price")
        pace = {"low": "fast", "high": "slow"}.get(price if rng.random() < 0.8 else "", None)
        said = {"fast": " You are served in no time.", "slow": " Bring a book.", None: ""}[pace]
        rows.append(Example(row.id, {**row.inputs, "pace": pace}, row.target + said))
    learned = learn_phrases(rows)
    assert learned["price"] == learn_phrases(made_up(400))["price"]
    assert "book" in " ".join(learned["pace"]["slow"])


def test_too_few_rows_teach_no_phrases():
    assert learn_phrases(made_up(10)) == {}


def e2e(part: str) -> list[Example]:
    path = DATA / f"{part}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Example(row["id"], row["input"], row["output"], references=tuple(row["references"])) for row in rows]


def test_people_of_the_e2e_data_make_few_slot_errors_and_changed_rows_are_noticed():
    train, test = e2e("train"), e2e("test")[::4]
    one = metric(phrases=learn_phrases(train), values=known_values(train))
    texts = [(row, text) for row in test for text in dict.fromkeys((row.target, *row.references))]
    scores = [one.score_example(row, Prediction(text, 1.0)) for row, text in texts]
    assert one.aggregate(scores) > 0.94  # measured on all of test: 0.960
    good = [(row, text) for row, text in texts if not one.errors(row.inputs, text)]
    for name, least in (
        ("area", 0.95),
        ("familyFriendly", 0.95),
        ("food", 0.95),
        ("priceRange", 0.9),
        ("customer rating", 0.9),
    ):
        held = [(row, text) for row, text in good if name in row.inputs]
        without = [({key: value for key, value in row.inputs.items() if key != name}, text) for row, text in held]
        assert sum(bool(one.errors(*pair)) for pair in without) / len(without) > least


def test_a_study_teaches_the_metric_from_train_rows_alone():
    rows = {row.id: row for row in made_up(200)}
    odd = {f"v{i}": Example(f"v{i}", {"name": "Fig", "price": "odd"}, "Fig is quite odd in price.") for i in range(40)}
    split = make_split([*rows.values(), *odd.values()], None, 0)
    first = split.folds[0]
    assert len(split.folds) == 5 and split.test
    task = Task("t", "Say it.", (), Text(), metric(), further=(metric(),))
    told = taught(task, {**rows, **odd}, split)
    learned = known_values([{**rows, **odd}[id_] for id_ in split.learning])
    assert told.metric.values == told.further[0].values == learned and told.metric.phrases
    assert taught(task, rows, replace(split, folds=(replace(first, train=("0", "1"), dev=()),))).metric.values == (
        known_values([rows["0"], rows["1"]])
    )


def test_one_field_may_be_named_as_a_word():
    """Read letter by letter, it would name no field, and every text would state all there is."""
    example = Example("r", {"area": "harbour", "food": "fish"}, "")
    said = Prediction("Fish is served.", 0.5)
    assert (
        metric(fields="area").score_example(example, said)
        == metric(fields=["area"]).score_example(example, said)
        == [0, 1]
    )
