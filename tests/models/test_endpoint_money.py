"""What calls cost, what is charged when nobody knows, and that the cap holds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from endpoint_play import Play, ask, echo, model_at, one, rows, states
from fault_server import Fault, Seen, answer

from whichway.errors import BudgetReached, UsageError
from whichway.study.ledger import Ledger


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "12",
        {},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": "10", "completion_tokens": 2},
        {"prompt_tokens": 1e400, "completion_tokens": 2},
        {"prompt_tokens": 10**30, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": 0, "completion_tokens": 2},
        {"prompt_tokens": 10, "completion_tokens": 0},
    ],
)
def test_usage_that_cannot_be_true_is_charged_at_the_bound(play: Play, ledger: Ledger, usage: Any) -> None:
    reply = one(play(Fault(body=answer(usage=usage))), ledger)
    assert reply.finish == "stop"
    assert reply.spend.usd == pytest.approx((256 + 2 * 16 + len("Sort it.hello") + 2 * 64) / 1e6)
    assert rows(ledger)[0][2] == pytest.approx(reply.spend.usd)


def test_tokens_hidden_in_the_total_are_paid_as_output(play: Play, ledger: Ledger) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 40}
    assert one(play(Fault(body=answer(usage=usage))), ledger).spend.tokens_out == 30


def test_a_bill_above_the_bound_is_told_once_and_kept(
    play: Play, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 90_000}
    with caplog.at_level(logging.WARNING, "whichway"):
        model_at(play(Fault(body=answer(usage=usage))), ledger).generate([ask("a"), ask("b"), ask("c")])
    assert sum("billed above" in record.getMessage() for record in caplog.records) == 1
    assert all(result["above_bound"] for *_, result in rows(ledger))
    assert sum(usd for *_, usd, _ in rows(ledger)) == pytest.approx(3 * 0.18001)


def test_the_bill_stays_within_the_cap_with_eight_workers(play: Play, tmp_path: Path) -> None:
    cap = 0.01

    def script(seen: Seen) -> Fault:
        if seen.number % 7 == 3:
            return Fault(429)
        if seen.number % 11 == 5:
            return Fault(reset=True, billed_usd=300e-6)
        used = {"prompt_tokens": 40 + seen.number % 50, "completion_tokens": 5 + seen.number % 40}
        cost = (used["prompt_tokens"] + 2 * used["completion_tokens"]) / 1e6
        return Fault(body=answer(usage=used), delay_s=0.002 * (seen.number % 4), billed_usd=cost)

    server = play(script)
    ledger = Ledger(tmp_path / "run", usd_cap=cap)
    model = model_at(server, ledger, max_concurrency=8)
    with pytest.raises(BudgetReached):
        model.generate([ask(f"row {i}") for i in range(400)])
    booked = sum(usd for *_, usd, _ in rows(ledger))
    assert server.bill_usd <= booked <= cap
    assert booked > cap - 2 * 450e-6, "money that came back near the end was not used"
    assert "reserved" not in {state for _, state in states(ledger)}
    assert len(rows(ledger)) == len(server.log), "every call has its row"
    calls = len(server.log)
    with pytest.raises(BudgetReached):
        model.generate([ask(f"row {i}") for i in range(400)])
    assert len(server.log) <= calls + 1
    ledger.close()


def test_answers_paid_for_before_the_cap_are_not_asked_again(play: Play, tmp_path: Path) -> None:
    server, requests = play(echo), [ask(f"row {i}") for i in range(60)]
    ledger = Ledger(tmp_path / "run", usd_cap=0.001)
    with pytest.raises(BudgetReached):
        model_at(server, ledger).generate(requests)
    ledger.close()
    ledger = Ledger(tmp_path / "run", usd_cap=1.0)
    replies = model_at(server, ledger).generate(requests)
    ledger.close()
    assert [reply.text for reply in replies] == [f"row {i}" for i in range(60)] and len(server.log) == 60


def test_an_unknown_price_is_refused_except_on_this_machine(play: Play, ledger: Ledger) -> None:
    with pytest.raises(UsageError) as caught:
        model_at("http://10.1.2.3/v1", ledger, price=None)
    assert "price" in caught.value.fix and "input" in caught.value.fix
    reply = one(play(), ledger, price=None)
    assert reply.finish == "stop" and reply.spend.usd == 0
