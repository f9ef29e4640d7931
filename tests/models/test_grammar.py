"""JSON held to a schema while it is written, in one batch with rows that are not."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from whichway.core.fields import Fields  # noqa: E402
from whichway.core.model import Request  # noqa: E402
from whichway.errors import UsageError  # noqa: E402
from whichway.models.causal import CausalModel  # noqa: E402
from whichway.models.grammar import SPARE, Grammars  # noqa: E402

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["red", "green"]}},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
ASKED = ("Anna is 31 and likes red.", "Tell me a story.", "]]}}", "Œuvre \N{SNOWMAN} für Bob, 7.", "x " * 200)


@pytest.fixture(scope="module")
def model() -> CausalModel:
    return CausalModel()


def ask(text: str, most: int, schema=SCHEMA, heat: float = 0.0) -> Request:
    return Request((("user", f"Write JSON about this. {text}"),), max_tokens=most, temperature=heat, schema=schema)


@pytest.mark.slow
@pytest.mark.parametrize("heat", [0.0, 1.5])
@pytest.mark.parametrize("most", [24, 80])
def test_every_answer_keeps_the_schema_however_short_its_room_and_however_wild_it_is_drawn(model, most, heat):
    output = Fields(SCHEMA)
    for text, reply in zip(ASKED * 2, model.generate([ask(one, most, heat=heat) for one in ASKED * 2]), strict=True):
        assert output.accepts(json.loads(reply.text)), (text, reply.text)
        assert reply.spend.tokens_out <= most


@pytest.mark.slow
def test_rows_without_a_schema_write_what_they_would_write_alone(model):
    free = Request((("user", "What is the capital of France?"),), max_tokens=12)
    mixed = model.generate([ask(ASKED[0], 40), free])
    assert json.loads(mixed[0].text)["age"] == 31 and "Paris" in mixed[1].text
    assert "Paris" in model.generate([free])[0].text


@pytest.mark.slow
def test_an_answer_that_had_to_be_closed_counts_as_cut_off(model):
    wordy = {"type": "object", "properties": {"story": {"type": "string"}}, "required": ["story"]}
    wordy |= {"additionalProperties": False}
    (reply,) = model.generate([ask("A very long story.", 12, wordy)])
    assert reply.finish == "length" and set(json.loads(reply.text)) == {"story"}


def test_a_schema_that_cannot_be_followed_is_named(model):
    with pytest.raises(UsageError) as caught:
        model.generate([ask("x", 8, {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}})])
    assert "schema" in caught.value.problem and "output.schema" in caught.value.fix


ITEM = {
    "type": "object",
    "properties": {
        "description": {"type": "string"},
        "quantity": {"type": "integer"},
        "unit_price": {"type": "number"},
        "unit": {"enum": ["piece", "kilogramme", "metre"]},
        "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        "delivered_on": {"type": "string"},
    },
    "required": ["description", "quantity", "unit_price", "unit", "note", "delivered_on"],
    "additionalProperties": False,
}
NESTED = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "orders": {"type": "array", "items": {"$ref": "#/$defs/order"}},
        "paid": {"type": "boolean"},
    },
    "required": ["number", "orders", "paid"],
    "additionalProperties": False,
    "$defs": {
        "order": {
            "type": "object",
            "properties": {"to": {"type": "string"}, "lines": {"type": "array", "items": ITEM}},
            "required": ["to", "lines"],
            "additionalProperties": False,
        }
    },
}
LINE = {
    "description": "blue widget",
    "quantity": 3,
    "unit_price": 1.5,
    "unit": "piece",
    "note": None,
    "delivered_on": "May",
}
WHOLE = {
    "number": "A-1",
    "orders": [{"to": "Oslo", "lines": [LINE, LINE, LINE]}, {"to": "Bergen", "lines": [LINE]}],
    "paid": True,
}


def written(model: CausalModel, most: int, whole: str = "") -> tuple[str, bool, int]:
    """Return what stands in the end where the network always wants the next token of `whole`; if it was closed; its tokens."""
    grammars = Grammars(model.tokenizer, int(model.network.config.vocab_size), model.stops())
    matcher = grammars.matcher(NESTED, most)
    wanted = [*model.tokens(whole or json.dumps(WHOLE)), sorted(grammars.stops)[0]]
    logits, out = torch.randn(grammars.vocabulary, generator=torch.Generator().manual_seed(most)), []
    while len(out) < most and (not out or out[-1] not in grammars.stops):
        out.append(matcher.choose(wanted[min(len(out), len(wanted) - 1)], logits))
    said = model.tokenizer.decode([one for one in out if one not in grammars.stops])
    return said, matcher.was_closed, len(out)


@pytest.mark.slow
def test_lists_of_objects_are_ended_in_time_wherever_the_room_ends(model):
    whole = len(model.tokens(json.dumps(WHOLE))) + 1
    for most in range(100, whole + 1, 13):
        said, _, _ = written(model, most)
        assert Fields(NESTED).accepts(json.loads(said)), (most, said)


@pytest.mark.slow
def test_an_answer_that_ends_by_itself_just_in_time_is_left_as_it_is(model):
    whole = len(model.tokens(json.dumps(WHOLE))) + 1
    said, was_closed, used = written(model, whole + SPARE + 1)
    assert json.loads(said) == WHOLE and not was_closed and used == whole


@pytest.mark.slow
def test_an_escape_is_written_out_before_its_string_ends(model):
    """Behind a backslash the end is farther away than a string's end usually is."""
    wild = json.dumps({**WHOLE, "number": "\x1d\x1d\x1d\x1d\x1d\x1d\x1d\x1d\x1d\x1d"})
    for most in range(30, len(model.tokens(wild[:90])), 5):
        said, _, _ = written(model, most, wild)
        assert Fields(NESTED).accepts(json.loads(said)), (most, said)
