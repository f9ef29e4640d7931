"""Which answers count as complete, how they are asked for, and how sure they are."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from endpoint_play import Play, ask, model_at, one, rows, spelled, states
from fault_server import Fault, Seen, answer, refusal

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.intake.shapes import infer_schema
from whichway.models.endpoint_request import make_body
from whichway.strategies.parts.answering import _sureness
from whichway.study.ledger import Ledger


@pytest.mark.parametrize(
    ("body", "finish", "problem"),
    [
        (answer("spam", "length"), "length", ""),
        (answer("", "length"), "length", ""),
        (answer("spam", "content_filter"), "failed", "content_filter"),
        (answer("spam", "tool_calls"), "failed", "tool_calls"),
        (answer(message={"content": None, "tool_calls": [{"id": 1}]}), "failed", "tool call"),
        (answer(message={"content": None, "refusal": "I cannot"}), "failed", "I cannot"),
        (answer("  "), "failed", "empty"),
        (answer(None), "failed", "empty"),
        (answer("", None), "failed", "empty"),
        (answer("spam", None), "stop", ""),
        (answer('{"label": "sp', None), "length", ""),
        (answer("spam", None, usage={"prompt_tokens": 9, "completion_tokens": 64}), "length", ""),
        (answer([{"type": "text", "text": "sp"}, {"type": "text", "text": "am"}]), "stop", ""),
    ],
)
def test_only_a_complete_answer_counts_as_one(play: Play, ledger: Ledger, body: Any, finish: str, problem: str) -> None:
    reply = one(play(Fault(body=body)), ledger)
    assert reply.finish == finish and problem in reply.problem and bool(reply.problem) == bool(problem)


def test_an_endpoint_that_gives_reasons_must_always_give_one(play: Play, ledger: Ledger) -> None:
    server = play([Fault(), Fault(body=answer("spam", None))])
    replies = model_at(server, ledger, max_concurrency=1).generate([ask("a"), ask("b")])
    assert [reply.finish for reply in replies] == ["stop", "failed"] and "cut off" in replies[1].problem


def test_another_model_than_the_asked_one_is_told_once_and_kept(
    play: Play, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "whichway"):
        model_at(play(Fault(body=answer(model="tiny"))), ledger).generate([ask(str(i)) for i in range(5)])
    assert [record.getMessage() for record in caplog.records if "'tiny'" in record.getMessage()] == [
        "The endpoint 'mine': asked for 'small', it answers as 'tiny'."
    ]
    assert {result["model"] for *_, result in rows(ledger)} == {"tiny"}


def test_choices_are_asked_for_as_json_that_labels_can_read(play: Play, ledger: Ledger) -> None:
    server = play(Fault(body=answer('{"label": "card_arrival"}')))
    reply = one(server, ledger, ask(choices=("card", "card_arrival")))
    form = server.log[0].body["response_format"]["json_schema"]["schema"]
    assert form["properties"]["label"]["enum"] == ["card", "card_arrival"]
    assert Labels(("card", "card_arrival")).read(reply.text) == "card_arrival"
    assert server.log[0].body["logprobs"] is True and server.log[0].body["top_logprobs"] == 5


@pytest.mark.parametrize(
    ("field", "status", "message"),
    [
        ("response_format", 400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported"),
        ("logprobs", 400, "logprobs are not available for this model"),
        ("logprobs", 422, [{"loc": ["body", "logprobs"], "msg": "extra fields not permitted"}]),
        ("max_tokens", 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("temperature", 400, "Unsupported value: 'temperature' does not support 0 with this model."),
    ],
)
def test_what_the_endpoint_refuses_is_left_out_from_then_on(
    play: Play, ledger: Ledger, field: str, status: int, message: Any
) -> None:
    error = refusal(message) if isinstance(message, str) else {"detail": message}
    server = play(lambda seen: Fault(status, error) if field in seen.body else Fault())
    replies = model_at(server, ledger).generate([ask(str(i), choices=("spam", "ham")) for i in range(6)])
    assert {(reply.finish, reply.text) for reply in replies} == {("stop", "spam")}
    assert [field in seen.body for seen in server.log] == [True] + [False] * 6
    assert len(rows(ledger)) == 7 and states(ledger).count(("validation:rejected", "settled")) == 1
    others = {"response_format", "logprobs", "temperature"} - {field}
    assert all(name in server.log[-1].body for name in others)


def test_a_complaint_that_leaving_out_does_not_cure_is_not_remembered(play: Play, ledger: Ledger) -> None:
    server = play([Fault(400, refusal("logprobs are bad")), Fault(400, refusal("bad words")), Fault()])
    replies = model_at(server, ledger, max_concurrency=1).generate([ask("a"), ask("b")])
    assert [reply.finish for reply in replies] == ["failed", "stop"] and "logprobs" in server.log[2].body


def test_sureness_is_that_of_the_tokens_of_the_label(play: Play, ledger: Ledger) -> None:
    tokens = (('{"', -3.0), ("label", -2.0), ('":"', -4.0), ("card", -0.1), ("_arr", -0.2), ('"', -0.3), ("}", -5.0))
    text = "".join(token for token, _ in tokens)
    reply = one(play(Fault(body=answer(text, logprobs=spelled(*tokens)))), ledger, ask(choices=("card", "card_arr")))
    assert [list(one) for one in reply.top_logprobs] == [["card"], ["_arr"], ['"']]
    assert _sureness(reply) == pytest.approx(2.718281828 ** -(0.1 + 0.2 + 0.3))


def test_sureness_is_that_of_the_chosen_token_even_if_another_was_likelier(play: Play, ledger: Ledger) -> None:
    server = play(
        [
            Fault(body=answer(logprobs=spelled(("spam", -2.0), others=(("ham", -0.2), ("spam", -2.0))))),
            Fault(body=answer(logprobs=spelled(("spam", -0.2), others=(("ham", -2.0), ("spam", -0.2))))),
        ]
    )
    first, second = model_at(server, ledger, max_concurrency=1).generate([ask("a"), ask("b")])
    assert first.top_logprobs == ({"spam": -2.0},)
    assert second.top_logprobs == ({"spam": -0.2, "ham": -2.0},)


@pytest.mark.parametrize(
    "said",
    [
        spelled(("sp", -0.1)),
        spelled(("spam", 3.0)),
        spelled(("spam", float("nan"))),
        {"content": [{"token": "spam"}]},
        {"content": ["spam"]},
        {"content": None},
        "yes",
    ],
)
def test_log_probabilities_that_do_not_fit_the_answer_are_left_out(play: Play, ledger: Ledger, said: Any) -> None:
    reply = one(play(Fault(body=answer(logprobs=said))), ledger)
    assert reply.finish == "stop" and reply.top_logprobs == ()


def test_an_object_is_asked_for_by_its_schema_and_without_it_where_there_is_none(play: Play, ledger: Ledger) -> None:
    schema = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}

    def script(seen: Seen) -> Fault:
        if "response_format" in seen.body:
            return Fault(400, refusal("Invalid parameter: 'response_format' of type 'json_schema' is not supported"))
        return Fault(body=answer('Here it is:\n```json\n{"sum": 4}\n```'))

    server = play(Fault(body=answer('{"sum": 4}')))
    assert one(server, ledger, ask(schema=schema)).text == '{"sum": 4}'
    sent = server.log[0].body["response_format"]
    assert sent["type"] == "json_schema" and sent["json_schema"]["schema"] == schema
    plain = play(script)
    reply = one(plain, ledger, ask("other", schema=schema))
    assert ["response_format" in seen.body for seen in plain.log] == [True, False]
    assert Fields({**schema, "additionalProperties": False}).read(reply.text) == {"sum": 4}, "repaired by parsing alone"


CLOSED = {
    "type": "object",
    "properties": {"sum": {"type": ["number", "null"]}},
    "required": ["sum"],
    "additionalProperties": False,
}
OPEN = {key: value for key, value in CLOSED.items() if key != "additionalProperties"}


def holding(inner: Any, **more: Any) -> dict[str, Any]:
    return {**CLOSED, "properties": {"sum": inner}, **more}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        (OPEN, False),
        ({**CLOSED, "required": []}, False),
        (infer_schema([{"sum": 1, "due": None}, {"sum": 2, "due": "May"}]), True),
        (infer_schema([{"sum": 1, "due": "June"}, {"sum": 2}]), False),
        (holding(OPEN), False),
        (holding({"type": "array", "items": CLOSED}), True),
        (holding({"type": "array", "items": {**CLOSED, "required": []}}), False),
        (holding({"anyOf": [OPEN, {"type": "null"}]}), False),
        (holding({"oneOf": [CLOSED, {"type": "null"}]}), False),
        (holding({"$ref": "#/$defs/one"}, **{"$defs": {"one": CLOSED}}), True),
        (holding({"$ref": "#/$defs/one"}, **{"$defs": {"one": OPEN}}), False),
        (holding(True), False),
    ],
)
def test_a_schema_is_strict_only_where_the_endpoint_takes_a_strict_one(schema: Any, strict: bool) -> None:
    sent = make_body("m", ask(schema=schema), frozenset({"response_format", "max_tokens"}))["response_format"]
    assert sent["json_schema"]["strict"] is strict and sent["json_schema"]["schema"] == schema
