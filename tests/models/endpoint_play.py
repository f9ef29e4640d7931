"""What the tests of the endpoints share: a model at a fault server, requests for it, and a look into the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from fault_server import Fault, FaultServer, Seen, answer

from whichway.core.model import Reply, Request
from whichway.models.endpoint import EndpointModel
from whichway.models.endpoint_patience import Patience
from whichway.study import tables
from whichway.study.kit import TrialMeter
from whichway.study.ledger import Ledger

HASTE = Patience(base_s=0.01, cap_s=0.2)
KEY = "sk-test-4f9a8b7c6d5e4f3a2b1c"
Play = Callable[..., FaultServer]


def model_at(server: FaultServer | str, ledger: Ledger, patience: Patience = HASTE, **more: Any) -> EndpointModel:
    url = server if isinstance(server, str) else server.base_url
    price = SimpleNamespace(input=1.0, output=2.0, cached_input=0.5)
    known = {"base_url": url, "model": "small", "key_env": None, "price": price, "max_concurrency": 4, "timeout_s": 5.0}
    meter = TrialMeter(ledger)
    meter.trial, meter.phase = "prompt", "validation"
    return EndpointModel("mine", SimpleNamespace(**{**known, **more}), meter, patience)


def ask(text: str = "hello", **more: Any) -> Request:
    return Request((("system", "Sort it."), ("user", text)), **more)


def one(server: FaultServer, ledger: Ledger, request: Request | None = None, **more: Any) -> Reply:
    return model_at(server, ledger, **more).generate([request or ask()])[0]


def rows(ledger: Ledger) -> list[tuple[str, str, float, dict[str, Any]]]:
    """Return (phase, state, usd, result) of every unit of work."""
    return [(row.phase, row.state, row.usd, json.loads(row.result)) for row in ledger._read(tables.units.select())]


def states(ledger: Ledger) -> list[tuple[str, str]]:
    return [(phase, state) for phase, state, *_ in rows(ledger)]


def echo(seen: Seen) -> Fault:
    return Fault(body=answer(seen.body["messages"][-1]["content"]))


def spelled(*tokens: tuple[str, float], others: tuple[tuple[str, float], ...] = ()) -> dict[str, Any]:
    """Return log-probabilities of the tokens of an answer; `others` are the alternatives of each."""
    top = [{"token": token, "logprob": value} for token, value in others]
    return {"content": [{"token": token, "logprob": value, "top_logprobs": top} for token, value in tokens]}
