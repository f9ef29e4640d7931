"""House rules: each is found broken, said in words, and asked for in a prompt."""

from __future__ import annotations

import pytest

from whichway import registry
from whichway.core.rules import Rules, reading_grade, sentences, words
from whichway.core.task import Example, Prediction
from whichway.errors import UsageError

ROW = {"name": "The Fig Tree", "price": 12.0, "note": ""}
TEXT = "The Fig Tree is lovely. Come by for $12, children are welcome!"


@pytest.mark.parametrize(
    ("rule", "kept", "broken"),
    [
        ({"must_mention": ["{name}"]}, TEXT, "A tree of figs."),
        ({"must_mention": ["only {price}"]}, "Only 12!", "Only 123"),
        ({"must_not_say": ["cheap"]}, "A cheapish thing", "So CHEAP."),
        ({"must_not_say": ["café"]}, TEXT, "the CAFE's"),
        ({"tone": {"formal": ["hey", "awesome"]}}, TEXT, "Hey you."),
        ({"min_words": 3}, "one two three", "one two"),
        ({"max_words": 3}, "one two three", "one two three four"),
        ({"max_sentences": 2}, TEXT, TEXT + " Bye."),
        (
            {"max_reading_grade": 5},
            "The cat sat on the mat.",
            "Incomprehensible institutional documentation proliferates.",
        ),
    ],
)
def test_each_rule_is_kept_or_named(rule, kept, broken):
    rules = Rules.of(rule)
    assert rules.broken(kept, ROW) == ()
    (said,) = rules.broken(broken, ROW)
    assert said.startswith("must ")
    assert len(rules.describe()) > 10


def test_a_field_without_a_value_need_not_be_mentioned():
    assert Rules(must_mention=("{note}", "{unknown}")).checked("anything", ROW) == []


def test_a_tone_without_words_is_asked_for_and_not_checked():
    rules = Rules(tone={"calm": ()})
    assert rules.checked("wow", ROW) == [] and "calm" in rules.describe()


def test_broken_rules_are_named_with_what_was_wanted():
    rules = Rules(must_mention=("{name}",), must_not_say=("cheap",), tone={"calm": ("wow", "yay")}, max_words=2)
    assert rules.broken("wow, so cheap", ROW) == (
        "must mention 'The Fig Tree'",
        "must not say 'cheap'",
        "must keep the tone calm, without 'wow'",
        "must have at most 2 words, not 3",
    )


def test_rules_are_asked_for_in_sentences():
    rules = Rules(
        must_mention=("{name}",),
        must_not_say=("cheap", "best"),
        tone={"calm": ()},
        max_sentences=1,
        max_reading_grade=8,
    )
    assert rules.describe() == (
        "Mention the name. Never say 'cheap', 'best'. Keep the tone calm. Write at most 1 sentence. "
        "Write so that school grade 8 can read it."
    )
    assert Rules().describe() == ""


def test_a_name_that_is_no_rule_is_refused():
    with pytest.raises(UsageError, match="max_word"):
        Rules.of({"max_word": 3})


def test_rules_of_a_task_file_can_be_hashed():
    assert isinstance(
        hash(Rules.of({"must_mention": ["{name}"], "must_not_say": "cheap", "tone": {"calm": ["wow"]}})), int
    )


def test_words_are_comparable():
    assert words("Kid-friendly, isn't it? £20-25, 1,200.50 at the CAFÉ Brésil") == (
        ["kid", "friendly", "isnt", "it", "£", "20", "25", "1200.50", "at", "the", "cafe", "bresil"]
    )


def test_sentences_end_where_they_end():
    assert sentences("Dr. Who paid $1.50 to J. Smith. He left!\nBye") == [
        "Dr. Who paid $1.50 to J. Smith.",
        "He left!",
        "Bye",
    ]
    assert sentences(' ... "') == []


@pytest.mark.parametrize(
    ("text", "grade"),
    [
        ("The cat sat on the mat.", 0.0),  # 0.39 * 6 + 11.8 * 1 - 15.59 = -1.45
        (
            "This sentence, taken as a reading passage unto itself, is being used to prove a point.",
            7.61,
        ),  # 16 words, 23 syllables
        (
            "The Australian platypus is seemingly a hybrid of a mammal and reptilian creature.",
            11.27,
        ),  # 13 words, 24 syllables
    ],
)
def test_the_reading_grade_is_that_of_flesch_and_kincaid(text, grade):
    assert reading_grade(text) == pytest.approx(grade, abs=0.01)


def test_the_metric_is_the_share_of_rules_kept():
    rules = {"must_mention": ["{name}", "{note}"], "must_not_say": ["cheap"], "max_words": 3}
    one = registry.get("metric", "rule_compliance")(rules=rules)
    row = Example("x", ROW, "")
    assert one.score_example(row, Prediction("The Fig Tree is cheap", 1.0)) == pytest.approx(1 / 3)
    assert one.score_example(row, Prediction("Fig", 1.0)) == pytest.approx(2 / 3)
    assert one.score_example(row, Prediction("The Fig Tree", 1.0, parsed=False)) == 0.0
    assert registry.get("metric", "rule_compliance")().score_example(row, Prediction("x", 1.0)) == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_words": "forty"},
        {"max_words": True},
        {"min_words": -1},
        {"max_sentences": 1.5},
        {"max_reading_grade": "8"},
    ],
)
def test_a_limit_that_is_no_number_is_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"The rule {next(iter(wrong))} cannot be"):
        Rules.of(wrong)


def test_places_are_the_input_fields_a_text_must_mention():
    assert Rules.of({"must_mention": ["{name}, in {town}", "open"]}).places() == ["name", "town"]
