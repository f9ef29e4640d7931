"""What is sent to an endpoint, and under which key its reply is kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from whichway.core.model import Meter, Reply, Request, Spend
from whichway.core.schema import kinds
from whichway.models.endpoint_reply import LABEL
from whichway.models.pricing import Tariff

CONTRACT = 1  # raise it when the same request would be sent or read in another way
WRAPPING = 16  # tokens that {"label": "..."} adds to an answer
ALTERNATIVES = 5
# What OpenAI's strict schemas may not hold (its guide to structured outputs, 2026-11; a refusal names the field that is missing).
NEVER_STRICT = frozenset(
    "allOf oneOf not if then else dependentRequired dependentSchemas patternProperties prefixItems".split()
)


@dataclass(frozen=True)
class Job:
    """A request with the key under which its reply is kept; `tried` calls of it were given up before."""

    key: str
    request: Request
    tried: int = 0

    @property
    def place(self) -> str:
        """The key in the ledger; a call that was given up keeps its own, so that it is not taken for the reply."""
        return f"{self.key}/{self.tried}" if self.tried else self.key


@dataclass(frozen=True)
class Profile:
    """Where calls go and what they cost."""

    name: str
    base_url: str
    model: str
    key_env: str | None
    timeout_s: float
    tariff: Tariff


def job_key(profile: Profile, request: Request, repeat: int) -> str:
    """Return the SHA-256 of all that decides about a reply; `repeat` tells apart samples of the same request."""
    said = {
        "contract": CONTRACT,
        "base_url": profile.base_url.rstrip("/"),
        "model": profile.model,
        "messages": request.messages,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "choices": request.choices,
        "repeat": repeat,
        **({"schema": request.schema} if request.schema is not None else {}),
        **({"strict": False} if request.schema is not None and not is_strict(request.schema) else {}),
        **({"draw": request.draw} if request.draw else {}),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def request_keys(profile: Profile, requests: Sequence[Request]) -> list[str]:
    """Return a key per request; the same request twice has the same, unless a temperature above 0 makes its answers differ."""
    seen: Counter[str] = Counter()
    keys = []
    for request in requests:
        first = job_key(profile, request, 0)
        repeat = seen[first] if request.temperature > 0 else 0
        seen[first] += 1
        keys.append(job_key(profile, request, repeat) if repeat else first)
    return keys


def recall_reply(meter: Meter, job: Job) -> Reply | Job:
    """Return the committed reply of a job, or the job with the number of calls of it that were given up."""
    while (kept := meter.recall(job.place)) is not None:
        if "given_up" not in kept:
            spend = Spend(**{one.name: kept[one.name] for one in fields(Spend)})
            return Reply(kept["text"], spend, kept["finish"], kept["problem"], tuple(kept["top_logprobs"]))
        job = replace(job, tried=job.tried + 1)
    return job


def make_body(model: str, request: Request, options: frozenset[str]) -> dict[str, Any]:
    """Return the arguments of a chat completion; `options` are those the endpoint is not known to refuse."""
    limit = "max_tokens" if "max_tokens" in options else "max_completion_tokens"
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": role, "content": _sendable(text)} for role, text in request.messages],
        limit: room_for(request, options),
    }
    if "temperature" in options:
        body["temperature"] = request.temperature
    if "logprobs" in options:
        body |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
    if request.choices and "response_format" in options:
        body["response_format"] = _one_of(tuple(_sendable(text) for text in request.choices))
    elif request.schema is not None and "response_format" in options:
        body["response_format"] = _format(request.schema)
    return body


def room_for(request: Request, options: frozenset[str]) -> int:
    """Return the most tokens an answer may have, in the form it is asked for."""
    return request.max_tokens + (WRAPPING if request.choices and "response_format" in options else 0)


def sent_options(request: Request, options: frozenset[str]) -> frozenset[str]:
    """Return those options that a request made use of."""
    return options if request.choices or request.schema is not None else options - {"response_format"}


def most_it_may_cost(tariff: Tariff, body: Mapping[str, Any]) -> Spend:
    """Return the bound of a call; a response format counts as part of the prompt."""
    texts = [one["content"] for one in body["messages"]]
    if "response_format" in body:
        texts.append(json.dumps(body["response_format"]))
    return tariff.bound(texts, body.get("max_tokens") or body.get("max_completion_tokens") or 0)


def _one_of(choices: tuple[str, ...]) -> dict[str, Any]:
    """Return the response format that allows {"label": one of the choices} and nothing else."""
    schema = {
        "type": "object",
        "properties": {LABEL: {"type": "string", "enum": list(choices)}},
        "required": [LABEL],
        "additionalProperties": False,
    }
    return _format(schema)


def is_strict(schema: Any) -> bool:
    """Tell whether a schema can be asked for strictly: each object is closed and requires every field that it names."""
    return "anyOf" not in schema and _may_be_strict(schema)


def _may_be_strict(schema: Any) -> bool:
    if not isinstance(schema, Mapping) or NEVER_STRICT & schema.keys() or ("$ref" in schema and len(schema) > 1):
        return False
    fields = schema.get("properties", {})
    if fields or "object" in kinds(schema):
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(fields):
            return False
    named = [*fields.values(), *schema.get("$defs", {}).values(), *schema.get("definitions", {}).values()]
    items = [schema["items"]] if "items" in schema else []
    return all(_may_be_strict(one) for one in (*named, *items, *schema.get("anyOf", ())))


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for a schema, strictly where that can be: a strict one with an optional field is refused as a whole.

    Otherwise the endpoint takes the schema for a hint, and answers are read and checked here as always.
    """
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": is_strict(schema), "schema": schema}}


def _sendable(text: str) -> str:
    """Replace lone surrogates, which JSON cannot carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
