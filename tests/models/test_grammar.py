"""JSON held to a schema while it is written, in one batch with rows that are not."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")

from whichway.core.fields import Fields
from whichway.core.model import Request
from whichway.errors import UsageError
from whichway.models.causal import CausalModel

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
    (reply,) = model.generate([ask("A very long story.", 30, wordy)])
    assert reply.finish == "length" and set(json.loads(reply.text)) == {"story"}


def test_a_schema_that_cannot_be_followed_is_named(model):
    with pytest.raises(UsageError) as caught:
        model.generate([ask("x", 8, {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}})])
    assert "schema" in caught.value.problem and "output.schema" in caught.value.fix
