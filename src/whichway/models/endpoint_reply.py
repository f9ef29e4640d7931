"""What an endpoint says: its answer, why it ended, how sure it was, and what it complains about."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from whichway.models.pricing import Usage, read_usage

LABEL = "label"  # the one key of a structured answer
LONGEST_PROBLEM = 200

_VALUE = re.compile(r'"label"\s*:\s*"((?:[^"\\]|\\.)*")', re.DOTALL)
_COMPLAINTS = {
    "response_format": re.compile(r"response_format|json_schema|structured.output", re.IGNORECASE),
    "logprobs": re.compile(r"logprob", re.IGNORECASE),
    "max_tokens": re.compile(r"max_completion_tokens\W+instead|unsupported.{0,40}\bmax_tokens", re.IGNORECASE),
    "temperature": re.compile(r"unsupported.{0,40}temperature|temperature.{0,60}support", re.IGNORECASE),
}
ALL_OPTIONS = frozenset(_COMPLAINTS)


@dataclass(frozen=True)
class Answer:
    """A reply that arrived whole. `says_why` tells whether it gave a finish_reason; `usage` is None if not credible."""

    text: str = ""
    finish: Literal["stop", "length", "failed"] = "failed"
    problem: str = ""
    model: str = ""
    says_why: bool = False
    usage: Usage | None = None
    top_logprobs: tuple[dict[str, float], ...] = ()
    is_nonsense: bool = False


def read_answer(body: str, prompt: Sequence[str], max_tokens: int, always_says_why: bool) -> Answer:
    """Read a chat completion; whatever it is, this returns an Answer.

    `always_says_why`: the endpoint is known to give finish reasons, so an answer without one was cut off.
    """
    said = _load(body)
    choice = _first(said.get("choices")) if isinstance(said, Mapping) else None
    if choice is None:
        return Answer(problem=f"bad response: {_nature(body, said)}", is_nonsense=True)
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return Answer(problem="bad response: the choice holds no message", is_nonsense=True)
    text = _text(message.get("content"))
    usage = read_usage(said.get("usage"), prompt, text)
    reason = choice.get("finish_reason")
    out = usage.tokens_out if usage else 0
    finish, problem = _finish(reason, message, text, out >= max_tokens, always_says_why)
    found = _logprobs(choice.get("logprobs"), text) if finish == "stop" else ()
    model = said.get("model")
    named = _clean(model)[:LONGEST_PROBLEM] if isinstance(model, str) else ""
    return Answer(text, finish, problem, named, isinstance(reason, str), usage, found)


def complaint(body: str) -> str:
    """Return in one line what an error body says, without what it echoes of the request."""
    said = _load(body)
    if isinstance(said, Mapping):
        said = said.get("error") or said.get("detail") or said
    if isinstance(said, Mapping):
        said = " ".join(str(said[name]) for name in ("message", "msg", "param", "code") if said.get(name))
    elif isinstance(said, list):
        parts = [one for one in said if isinstance(one, Mapping)]
        said = "; ".join(f"{one.get('loc', '')} {one.get('msg', '')}" for one in parts)
    elif not isinstance(said, str):
        said = "" if "<" in body[:50] else body
    return _clean(" ".join(said[: 10 * LONGEST_PROBLEM].split()))


def refused_options(what: str, sent: frozenset[str]) -> frozenset[str]:
    """Return those of the sent options that a complaint is about."""
    return frozenset(name for name in sent if _COMPLAINTS[name].search(what))


def is_out_of_credit(body: str) -> bool:
    """Tell whether a rejection means that waiting does not help."""
    return "insufficient_quota" in complaint(body)


def _load(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _first(choices: Any) -> Mapping[str, Any] | None:
    good = isinstance(choices, list) and choices and isinstance(choices[0], Mapping)
    return choices[0] if good else None


def _nature(body: str, said: Any) -> str:
    if isinstance(said, Mapping) and said.get("error"):
        return f"an error with status 200: {complaint(body)[:LONGEST_PROBLEM]}"
    if isinstance(said, Mapping):
        return "there are no choices in it"
    if said is not None:
        return "it is JSON, but no object"
    start = body.lstrip()[:15].lower()
    return "a web page instead of JSON" if start.startswith(("<!doctype", "<html")) else "it is not JSON"


def _text(content: Any) -> str:
    """Return the text of a message, whose content may be a list of parts."""
    if isinstance(content, list):
        parts = [one.get("text") for one in content if isinstance(one, Mapping) and one.get("type") == "text"]
        content = "".join(one for one in parts if isinstance(one, str))
    return _clean(content) if isinstance(content, str) else ""


def _clean(text: str) -> str:
    """Replace lone surrogates, which no database and no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _finish(
    reason: Any, message: Mapping[str, Any], text: str, is_full: bool, always_says_why: bool
) -> tuple[Literal["stop", "length", "failed"], str]:
    """Return how the answer ended and, where it failed, why; what may have been cut off never counts as complete."""
    if reason == "length":
        return "length", ""
    if message.get("tool_calls") or message.get("function_call"):
        return "failed", "a tool call instead of text"
    if not text.strip():
        refusal = message.get("refusal")
        said = _clean(refusal)[:LONGEST_PROBLEM] if isinstance(refusal, str) else ""
        why = f"refused: {said}" if said else "empty answer"
        return "failed", why if reason in ("stop", None) else f"finish_reason {str(reason)[:40]!r}"
    if reason == "stop":
        return "stop", ""
    if reason is not None:
        return "failed", f"finish_reason {_clean(str(reason))[:40]!r}"
    if always_says_why:
        return "failed", "the answer was cut off: it has no finish_reason, which this endpoint otherwise gives"
    cut = is_full or (text.lstrip().startswith("{") and _load(text) is None)
    return ("length", "") if cut else ("stop", "")


def _logprobs(said: Any, text: str) -> tuple[dict[str, float], ...]:
    """Return per token of the answer {token: log-probability}, or nothing where it is not certain which they are.

    Of a structured answer those tokens count that hold the value and the quote that ends it: that quote is what tells
    'card' from 'card_arrival'. Alternatives are kept where none is likelier than the token that was chosen.
    """
    content = said.get("content") if isinstance(said, Mapping) else None
    tokens = [_token(one) for one in content] if isinstance(content, list) else []
    known = [one for one in tokens if one is not None]
    if not known or len(known) < len(tokens) or "".join(one[0] for one in known) != text:
        return ()
    value = _VALUE.search(text) if text.lstrip().startswith("{") else None
    start, end = value.span(1) if value else (0, len(text))
    found, at = [], 0
    for token, logprob, others in known:
        if at < end and at + len(token) > start:
            found.append({**others, token: logprob})
        at += len(token)
    return tuple(found)


def _token(one: Any) -> tuple[str, float, dict[str, float]] | None:
    """Return a token, its log-probability, and the alternatives if it is the likeliest; None if it makes no sense."""
    pair = _pair(one)
    if pair is None:
        return None
    listed = one.get("top_logprobs")
    others = dict(two for two in map(_pair, listed) if two) if isinstance(listed, list) else {}
    return (*pair, others if others and max(others.values()) <= pair[1] else {})


def _pair(one: Any) -> tuple[str, float] | None:
    token, value = (one.get("token"), one.get("logprob")) if isinstance(one, Mapping) else (None, None)
    if not isinstance(token, str) or not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    good = abs(value) < 1e6 and math.isfinite(value) and value <= 1e-6
    return (_clean(token), min(0.0, float(value))) if good else None
