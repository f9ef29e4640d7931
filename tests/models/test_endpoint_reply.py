"""Whatever an endpoint says, it is read without an exception and can be kept in the ledger."""

from __future__ import annotations

import json
from typing import Any

from fault_server import answer
from hypothesis import given, settings
from hypothesis import strategies as st

from whichway.models.endpoint_reply import complaint, read_answer, refused_options
from whichway.models.endpoint_wire import Redactor

LOGPROBS = {"content": [{"token": "spam", "logprob": -0.1, "top_logprobs": [{"token": "ham", "logprob": -3.0}]}]}
PLACES = (
    ("choices",),
    ("choices", 0),
    ("choices", 0, "message"),
    ("choices", 0, "message", "content"),
    ("choices", 0, "finish_reason"),
    ("choices", 0, "logprobs"),
    ("choices", 0, "logprobs", "content"),
    ("choices", 0, "logprobs", "content", 0, "logprob"),
    ("choices", 0, "logprobs", "content", 0, "token"),
    ("choices", 0, "logprobs", "content", 0, "top_logprobs"),
    ("usage",),
    ("usage", "prompt_tokens"),
    ("usage", "prompt_tokens_details"),
    ("model",),
    ("error",),
)
TEXTS = st.text(st.characters(), max_size=12) | st.just("\ud800")
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLACES), JSONS)
def test_no_value_in_any_place_breaks_the_reading(place: tuple[Any, ...], value: Any) -> None:
    body = json.loads(json.dumps(answer(logprobs=LOGPROBS)))
    at: Any = body
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    said = read_answer(json.dumps(body), ["hello"], 8, False)
    assert said.finish in ("stop", "length", "failed") and (said.finish != "failed" or said.problem)
    kept = {"text": said.text, "problem": said.problem, "model": said.model, "logprobs": list(said.top_logprobs)}
    json.dumps(kept, ensure_ascii=False, allow_nan=False).encode("utf-8")


@settings(max_examples=200, deadline=None)
@given(JSONS, TEXTS)
def test_no_error_body_breaks_the_reading(value: Any, text: str) -> None:
    for body in (json.dumps(value), json.dumps({"error": value}), json.dumps({"detail": value}), text):
        what = complaint(body)
        what.encode("utf-8")
        assert "\n" not in what and refused_options(what, frozenset()) == frozenset()


def test_a_short_key_is_no_secret_and_never_taken_out_of_an_answer() -> None:
    assert Redactor("EMPTY")("the box is EMPTY") == "the box is EMPTY"
    assert Redactor("")("text") == "text"
    assert Redactor("sk-0123456789abcdef")('"sk-0123456789abc***", else') == '"[key]", else'
