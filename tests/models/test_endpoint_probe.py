"""Two calls tell what an endpoint offers; they are paid once, and what it does not offer is not asked for again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from endpoint_play import HASTE, Play, ask, rows, spelled
from fault_server import Fault, FaultServer, Seen, answer, refusal, to_probe

from whichway.errors import BudgetReached, ProviderError
from whichway.models.endpoint import EndpointModel
from whichway.models.endpoint_patience import Patience
from whichway.study.kit import TrialMeter
from whichway.study.ledger import Ledger

COLOURS = ("red", "blue")


def probing(server: FaultServer, ledger: Ledger, patience: Patience = HASTE, **more: Any) -> EndpointModel:
    price = SimpleNamespace(input=1.0, output=2.0, cached_input=0.5)
    known = {"base_url": server.base_url, "model": "small", "key_env": None, "price": price, "max_concurrency": 4}
    return EndpointModel(
        "mine", SimpleNamespace(**{**known, "timeout_s": 5.0, **more}), TrialMeter(ledger), patience, True
    )


def able(seen: Seen) -> Fault:
    """Do all that is asked for."""
    choices = seen.body.get("response_format")
    text = (
        json.dumps({"label": choices["json_schema"]["schema"]["properties"]["label"]["enum"][0]}) if choices else "yes"
    )
    logprobs = spelled((text, -0.1)) if seen.body.get("logprobs") else None
    return Fault(body=answer(text, logprobs=logprobs))


def without(*refused: str) -> Callable[[Seen], Fault]:
    """Refuse these parameters by name."""

    def script(seen: Seen) -> Fault:
        bad = [name for name in refused if name in seen.body]
        return Fault(400, refusal(f"Unsupported parameter: {bad[0]} is not supported")) if bad else able(seen)

    return script


def deaf(seen: Seen) -> Fault:
    """Take everything, and do none of it."""
    return Fault(body=answer("Yes, I think so."))


def sent(server: FaultServer, name: str) -> list[bool]:
    return [name in seen.body for seen in server.log]


def test_an_able_endpoint_costs_two_calls_and_is_asked_for_everything(play: Play, ledger: Ledger):
    server = play(able)
    reply = probing(server, ledger).generate([ask("a", choices=COLOURS)])[0]
    assert len(server.log) == 3 and reply.text == '{"label": "red"}' and reply.top_logprobs
    assert [phase for phase, *_ in rows(ledger)].count("fit:probe") == 1
    assert sum(usd > 0 for *_, usd, _ in rows(ledger)) == 3, "both calls are in the ledger at their price"


@pytest.mark.parametrize(
    "refused", [("logprobs",), ("response_format",), ("logprobs", "response_format", "temperature")]
)
def test_what_is_refused_is_refused_in_the_probe_alone(play: Play, ledger: Ledger, refused: tuple[str, ...]):
    server = play(without(*refused))
    probing(server, ledger).generate([ask(str(i), choices=COLOURS) for i in range(20)])
    rejected = [phase for phase, *_ in rows(ledger) if phase.endswith("rejected")]
    assert len(rejected) == len(refused)
    for name in refused:
        assert not any(sent(server, name)[-20:])


def test_what_is_taken_and_not_done_is_not_asked_for_again(play: Play, ledger: Ledger):
    server = play(deaf)
    probing(server, ledger).generate([ask(str(i), choices=COLOURS) for i in range(5)])
    assert sent(server, "response_format") == [True, False, False, False, False, False, False]
    assert sent(server, "logprobs") == [True, True, False, False, False, False, False]


def test_an_answer_that_was_cut_off_proves_nothing(play: Play, ledger: Ledger):
    server = play(lambda seen: Fault(body=answer("", finish="length")) if seen.number < 2 else able(seen))
    probing(server, ledger).generate([ask("a", choices=COLOURS)])
    assert sent(server, "response_format")[-1] and sent(server, "logprobs")[-1]


def test_a_continued_study_does_not_pay_for_it_again(play: Play, tmp_path: Path):
    server = play(without("temperature"))
    for text in ("a", "b"):
        ledger = Ledger(tmp_path / "run")
        probing(server, ledger).generate([ask(text)])
        ledger.close()
    assert len(server.log) == 1 + 2 + 1 + 1, "one refused, two answered, one request of each session"
    assert sent(server, "temperature") == [True, False, False, False, False]


def test_another_model_at_the_same_address_is_asked_anew(play: Play, ledger: Ledger):
    server = play(able)
    for name in ("small", "large"):
        probing(server, ledger, model=name).generate([ask("a")])
    assert len(server.log) == 6


def test_a_probe_that_fails_leaves_nothing_behind_and_the_study_goes_on(play: Play, ledger: Ledger):
    server = play(lambda seen: Fault(body=b"<html>") if seen.number < 2 else able(seen))
    reply = probing(server, ledger).generate([ask("a", choices=COLOURS)])[0]
    assert reply.finish == "stop" and "fit:probe" not in [phase for phase, *_ in rows(ledger)]


def is_probe(seen: Seen) -> bool:
    return to_probe(seen) is not None


@pytest.mark.parametrize("bad", [Fault(500, refusal("cannot do that")), Fault(body=b"<html>"), Fault(reset=True)])
def test_a_probe_that_fails_does_not_count_against_the_endpoint(play: Play, ledger: Ledger, bad: Fault):
    patience = Patience(2, base_s=0.0, cap_s=0.0, in_a_row=3, open_after_s=0.0)
    server = play(lambda seen: bad if is_probe(seen) else able(seen))
    replies = probing(server, ledger, patience).generate([ask(str(i)) for i in range(4)])
    assert [one.finish for one in replies] == ["stop"] * 4


def test_a_dead_endpoint_is_noticed_by_the_calls_after_the_probe(play: Play, ledger: Ledger):
    patience = Patience(1, base_s=0.0, cap_s=0.0, in_a_row=3, open_after_s=60.0)
    server = play(Fault(500, refusal("down")))
    with pytest.raises(ProviderError, match="failed too many times in a row; the last time: HTTP 500: down"):
        probing(server, ledger, patience, max_concurrency=1).generate([ask(str(i)) for i in range(20)])
    assert sum(not is_probe(seen) for seen in server.log) == 3


def test_a_probe_keeps_to_the_budget_and_names_a_wrong_setup(play: Play, tmp_path: Path):
    ledger = Ledger(tmp_path / "poor", usd_cap=1e-9)
    server = play(able)
    with pytest.raises(BudgetReached):
        probing(server, ledger).generate([ask("a")])
    assert server.log == []
    ledger.close()
    ledger = Ledger(tmp_path / "wrong")
    with pytest.raises(ProviderError, match="401"):
        probing(play(Fault(401, refusal("no such key"))), ledger).generate([ask("a")])
    ledger.close()
