"""Reading a label back: what a model wrote is the label it spelled, never another one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whichway.core.output import Labels

ALIKE = [
    ("<=50K", ">50K"),
    ("C", "C#", "C++"),
    ("+", "-"),
    ("No", "no", "NO!"),
    ("1.50", "1.5", "null"),
    ("a b", "a_b"),
]
LABELS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="|\n\r\x1c\x1d\x1e\x85\u2028\u2029\x0b\x0c"), min_size=1)
    .map(str.strip)
    .filter(bool),
    min_size=2,
    max_size=6,
    unique=True,
)


@pytest.mark.parametrize("names", ALIKE)
def test_labels_that_differ_in_punctuation_or_case_alone_stay_apart(names: tuple[str, ...]) -> None:
    output = Labels(names)
    for name in names:
        for said in (name, f"  {name}\n", f"```\n{name}\n```", json.dumps({"label": name}), f"Label: {name}"):
            assert output.read(said) == name, said


@settings(deadline=None)
@given(LABELS)
def test_every_label_is_read_back_as_itself(names: list[str]) -> None:
    output, many = Labels(tuple(names)), Labels(tuple(names), multi=True)
    for name in names:
        assert output.read(output.write(name)) == name
    if not any("none" in name.casefold() for name in names):
        assert many.read(many.write(())) == ()


@pytest.mark.parametrize("name", ['"quoted"', "[1]", '{"a": "other"}', "```x```"])
def test_a_label_that_looks_like_json_or_code_is_read_as_itself(name: str) -> None:
    assert Labels((name, "quoted", "other", "x")).read(name) == name


def test_case_and_punctuation_are_folded_where_one_label_alone_can_be_meant() -> None:
    output = Labels(("card_arrival", "Card lost"))
    assert output.read("Card arrival.") == "card_arrival" and output.read("CARD LOST") == "Card lost"
    assert output.read("I think it is the card-lost case.") == "Card lost"
    assert output.read("card_arrival or card lost") is None and output.read("card") is None


@pytest.mark.parametrize(
    ("names", "said", "read"),
    [
        (("C", "C#", "C++"), "c++.", "C++"),
        (("C", "C#", "C++"), '"C#"', "C#"),
        (("C", "C#", "C++"), "The language is C++.", "C++"),
        (("C#", "C++"), "The language is C.", None),
        (("C#", "C++"), "c", None),
        (("yes", "YES"), "Yes", None),
        (("+", "-"), "?", None),
        (("+", "-"), "", None),
        (("<=50K", ">50K"), "50K", None),
        (("C++", "C#", "Python"), "Not C but Python", None),
    ],
)
def test_a_spelling_that_several_labels_share_is_no_answer(names: tuple[str, ...], said: str, read: str | None) -> None:
    assert Labels(names).read(said) == read


@pytest.mark.parametrize(
    ("names", "said", "read"),
    [
        (("a, b", "c"), "a, b | c", ("a, b", "c")),
        (("a, b", "c"), "a, b, c", ("a, b", "c")),
        (("a, b", "c"), "c; a, b;", ("a, b", "c")),
        (("a, b", "c"), "a, b", ("a, b",)),
        (("a", "b", "a b"), "a, b", ("a", "b")),
        (("a", "b", "a b"), "a b", ("a b",)),
        (("a", "b"), "a,b\nb", ("a", "b")),
        (("a", "b"), '["b", "a"]', ("a", "b")),
        (("a", "b"), '{"labels": ["b"]}', ("b",)),
        (("a", "b"), "a, z", None),
        (("a", "b"), "None.", ()),
        (("a", "b"), "[]", ()),
        (("C++", "C#"), "C++ | C#", ("C#", "C++")),
        (("C++", "C#"), "c", None),
        (("billing_refund", "other"), "billing, refund", ("billing_refund",)),
    ],
)
def test_several_labels_are_told_apart_though_they_hold_commas(
    names: tuple[str, ...], said: str, read: tuple[str, ...] | None
) -> None:
    assert Labels(names, multi=True).read(said) == read


@settings(deadline=None)
@given(LABELS, st.data())
def test_any_set_of_labels_is_read_back_as_written(names: list[str], data: st.DataObject) -> None:
    plain = [name for name in names if "," not in name and ";" not in name and name.casefold() != "none"]
    chosen = tuple(sorted(data.draw(st.sets(st.sampled_from(plain))))) if plain else ()
    output = Labels(tuple(names), multi=True)
    written = output.write(chosen)
    if written.strip()[:1] not in ("[", "{", '"', "`"):
        assert output.read(written) == chosen or "none" in names
