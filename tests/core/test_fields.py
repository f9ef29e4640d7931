"""Objects by a schema: asked for, written, read back, never guessed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whichway.core.fields import Fields

SCHEMA = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "description": "As printed on the invoice."},
        "total": {"type": "number"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"what": {"type": "string"}}}},
        "paid": {"type": ["boolean", "null"]},
    },
    "required": ["number", "total", "lines"],
    "additionalProperties": False,
}
OUTPUT = Fields(SCHEMA)
GOOD = {"number": "A-1", "total": 12.5, "lines": [{"what": "tea"}]}


def test_it_asks_for_every_field_with_its_type_and_what_is_said_of_it():
    asked = OUTPUT.ask()
    assert "- number: string. As printed on the invoice." in asked and "- lines: list of object" in asked
    assert "  - what: string" in asked and "- paid: boolean or null, may be left out" in asked


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"Sure, here it is:\n```json\n{json.dumps(GOOD, indent=2)}\n```\nAnything else?",
        'The object {"number": 1} is wrong; ' + json.dumps(GOOD),
        '{"number": "A-1", "total": 12.5, "lines": [{"what": "tea"},],}',
    ],
)
def test_an_object_is_found_in_what_models_put_around_it(text):
    assert OUTPUT.read(text) == GOOD


@pytest.mark.parametrize(
    "text",
    ["", "tea", "[]", '{"number": "A-1", "total": 12.5, "lines": [', '{"number": "A-1", "total": "12.5", "lines": []}',
     '{"number": "A-1", "total": 1, "lines": [], "extra": 1}', "{" * 5000],
)  # fmt: skip
def test_what_breaks_the_schema_or_was_cut_off_is_no_answer(text):
    assert OUTPUT.read(text) is None


def test_a_part_of_what_was_cut_off_is_not_taken_for_the_whole():
    loose = Fields({"type": "object", "properties": {"what": {"type": "string"}}})
    assert loose.read('{"lines": [{"what": "tea"}, {"what": "cof') is None
    assert loose.read('{"lines": [{"what": "tea"}, ') is None
    assert loose.read('Of {these}, {"what": "tea"} is it') == {"what": "tea"}


def test_equal_objects_are_written_alike_and_the_empty_one_states_nothing():
    assert OUTPUT.write(dict(reversed(GOOD.items()))) == OUTPUT.write(GOOD)
    assert OUTPUT.write(GOOD).startswith('{"number": "A-1", "total"')
    assert OUTPUT.empty() == {"number": None, "total": None, "lines": [], "paid": None}


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.lists(st.text(), max_size=4))
def test_what_is_written_reads_back(number, total, lines):
    value = {"number": number, "total": total, "lines": [{"what": one} for one in lines]}
    assert OUTPUT.read("Answer: " + OUTPUT.write(value)) == value


@pytest.mark.parametrize("total", ["NaN", "1e999", "-Infinity"])
def test_a_number_that_json_cannot_keep_is_no_answer(total):
    assert OUTPUT.read(f'{{"number": "A-1", "total": {total}, "lines": []}}') is None


def test_half_of_a_surrogate_pair_is_no_answer():
    assert OUTPUT.read('{"number": "\\ud83d", "total": 1, "lines": []}') is None
    assert OUTPUT.read('{"number": "\\ud83d\\ude00", "total": 1, "lines": []}')["number"] == "\N{GRINNING FACE}"


def object_of(required: str = "", **fields):
    return {"type": "object", "properties": fields, "required": required.split()}


TEXT, NULL = {"type": "string"}, {"type": "null"}
PRICE = {"anyOf": [{"type": "number"}, NULL]}
PART_OF = {"anyOf": [{"$ref": "#/$defs/Seller"}, NULL]}
REFERRING = object_of(  # as pydantic writes the schema of nested models
    "seller lines due tax",
    seller={"$ref": "#/$defs/Seller", "description": "Who sells."},
    lines={"type": "array", "items": {"$ref": "#/$defs/Line"}},
    due={"anyOf": [{"type": "string", "format": "date"}, NULL]},
    tax={"allOf": [{"$ref": "#/$defs/Tax"}]},
    paid_by={"oneOf": [object_of(iban=TEXT), object_of(card=TEXT)]},
)
REFERRING["$defs"] = {
    "Line": object_of("what", what=TEXT, price=PRICE),
    "Seller": object_of("name", name=TEXT, part_of=PART_OF),
    "Tax": {"enum": ["full", "none"], "type": "string"},
}


def test_references_and_choices_are_followed_in_what_is_asked_read_and_left_empty():
    output = Fields(REFERRING)
    asked = output.ask().splitlines()[1:]
    assert asked == [
        "- seller: object. Who sells.",
        "  - name: string",
        "  - part_of: object or null, may be left out",
        "    with the same fields again",
        "- lines: list of object",
        "  - what: string",
        "  - price: number or null, may be left out",
        "- due: string or null",
        '- tax: one of "full", "none"',
        "- paid_by: object, may be left out",
        "  - iban: string, may be left out",
        "  or",
        "  - card: string, may be left out",
    ]
    value = {"lines": [{"price": 1, "what": "tea"}], "seller": {"part_of": {"part_of": None, "name": "B"}, "name": "A"}}
    value |= {"tax": "none", "due": None}
    wanted = (
        '{"seller": {"name": "A", "part_of": {"name": "B", "part_of": null}}, "lines": [{"what": "tea", "price": 1}]'
    )
    assert output.write(value) == wanted + ', "due": null, "tax": "none"}'
    assert output.read(json.dumps(value)) == value
    assert output.empty() == {
        "seller": {"name": None, "part_of": None},
        "lines": [],
        "due": None,
        "tax": None,
        "paid_by": {"iban": None},
    }


@pytest.mark.parametrize("where", ["#/$defs/Node", "#/$defs/Nobody", "https://elsewhere.org/schema", "#"])
def test_a_schema_that_refers_to_itself_or_to_nothing_comes_to_an_end(where):
    loop = {"$defs": {"Node": {"$ref": "#/$defs/Node"}}, "type": "object", "properties": {"next": {"$ref": where}}}
    output = Fields(loop)
    assert output.ask().count("- next") == 1 and list(output.empty()) == ["next"]
    assert output.write({"next": {"next": None}}) == '{"next": {"next": null}}'
