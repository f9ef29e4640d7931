"""What of a written reply counts as the answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from whichway.core.fields import Fields
from whichway.core.model import Reply
from whichway.core.task import Example, Field, Task
from whichway.core.text import Text
from whichway.strategies.parts.prompted import pick_shots
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.writing import read_reply


def task(output) -> Task:
    return Task("t", "Write.", (Field("q"),), output, SimpleNamespace(name="chrf"))


@pytest.mark.parametrize(
    ("said", "finish", "value"),
    [
        ("It rains. It pours and", "length", "It rains."),
        ("It rains. It pours. And", "length", "It rains. It pours."),
        ("It rains at 3.5 degrees and", "length", None),
        ('He said "no." Then he', "length", 'He said "no."'),
        ("It rains and", "stop", "It rains and"),
        ("It rains. It", "failed", None),
    ],
)
def test_a_text_that_was_cut_off_counts_up_to_its_last_whole_sentence(said, finish, value):
    found = read_reply(task(Text()), Reply(said, finish=finish))
    assert (found.value if found.parsed else None) == value


def test_an_object_that_was_cut_off_is_no_answer():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert not read_reply(task(Fields(schema)), Reply('{"a": "x. y."', finish="length")).parsed
    assert read_reply(task(Fields(schema)), Reply('{"a": "x. y."}')).parsed


def test_an_object_that_a_grammar_closed_at_the_limit_is_an_answer():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert read_reply(task(Fields(schema)), Reply('{"a": "xxxx"}', finish="length")).value == {"a": "xxxx"}
    assert not read_reply(task(Fields(schema)), Reply('{"a": "xxxx"}', finish="failed")).parsed


INVOICES = [Example(str(i), {"q": "item " * (40 * i) + f"number {i}"}, {"n": i}) for i in range(1, 13)]


def test_examples_of_objects_are_shown_whole_so_that_nothing_is_seen_to_be_invented():
    asked = task(Fields({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}))
    shown = [PromptFormat().row(asked, one.inputs, one.target) for one in INVOICES]
    assert [f"number {one.target['n']}" in text for one, text in zip(INVOICES, shown, strict=True)] == [True] * 7 + [
        False
    ] * 5
    assert "number 4" not in PromptFormat().row(task(Text()), INVOICES[3].inputs, "4"), "other shapes are cut earlier"
    for seed in range(5):
        picked = {one.target["n"] for one in pick_shots(asked, INVOICES, 8, seed)}
        assert picked == {1, 2, 3, 4, 5, 6, 7, 8}, "those that are whole, then the shortest"
    assert len({tuple(one.id for one in pick_shots(asked, INVOICES, 2, seed)) for seed in range(9)}) > 4
