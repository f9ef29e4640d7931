"""Many calls as one batch: at its discount, paid once, found again after a kill; what it leaves unanswered is asked singly."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batch_server import PRICE_IN, PRICE_OUT, BatchServer
from endpoint_play import HASTE, ask, rows

from whichway.errors import BudgetReached, ProviderError
from whichway.models.endpoint import EndpointModel
from whichway.study.kit import TrialMeter
from whichway.study.ledger import Ledger

MANY = [ask(f"row {i}") for i in range(30)]
PROBES = 2


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "run", usd_cap=1.0)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whichway.models.endpoint_batch.LOOK_S", (0.01, 0.05))
    monkeypatch.setattr("whichway.models.endpoint_errand.TRIES", 2)


def model_at(server: BatchServer, ledger: Ledger, seconds: float = 60.0, **more: Any) -> EndpointModel:
    price = SimpleNamespace(input=PRICE_IN, output=PRICE_OUT, cached_input=None, training=None, batch_discount=0.5)
    said = {"base_url": server.base_url, "model": "small", "key_env": None, "price": price, "max_concurrency": 4}
    meter = TrialMeter(ledger, time.monotonic() + seconds)
    meter.trial, meter.phase = "prompt-zero@mine", "validation"
    settings = SimpleNamespace(**{**said, "timeout_s": 5.0, "batch": True, **more})
    return EndpointModel("mine", settings, meter, HASTE, in_study=True)


def booked(ledger: Ledger) -> float:
    return sum(usd for *_, usd, _ in rows(ledger))


def test_many_requests_go_out_as_one_batch_at_its_discount(ledger: Ledger):
    with BatchServer() as server:
        replies = model_at(server, ledger).generate(MANY)
        assert [one.text for one in replies] == [f"row {i}" for i in range(30)]
        assert server.asked.count("POST /batches") == 1 and server.chats == PROBES
        assert booked(ledger) == pytest.approx(server.bill_usd), "bill and ledger agree"
    batched = [usd for phase, _, usd, _ in rows(ledger) if phase == "validation:batched"]
    assert len(batched) == 30 and batched[0] == pytest.approx(0.5 * (16 * PRICE_IN + 4 * PRICE_OUT) / 1e6)


def test_each_line_of_the_file_is_the_call_that_would_have_been_made(ledger: Ledger):
    with BatchServer(say=lambda _: '{"label": "yes"}') as server:
        model_at(server, ledger).generate([ask(f"row {i}", choices=("yes", "no")) for i in range(20)])
        lines = [json.loads(line) for line in server.files[server.batches[0]["input_file_id"]].splitlines()]
    assert len({one["custom_id"] for one in lines}) == 20
    for one in lines:
        assert one["body"]["model"] == "small" and one["body"]["response_format"]["type"] == "json_schema"
    assert server.batches[0]["completion_window"] == "24h"


def test_few_requests_go_singly(ledger: Ledger):
    with BatchServer() as server:
        model_at(server, ledger).generate(MANY[:19])
        assert server.chats == 19 + PROBES and server.batches == []
        assert booked(ledger) == pytest.approx(server.bill_usd)


def test_what_was_answered_is_not_asked_again(ledger: Ledger):
    with BatchServer() as server:
        before = model_at(server, ledger).generate(MANY)
        calls = len(server.asked)
        assert model_at(server, ledger).generate(MANY) == before
        assert server.asked[calls:] == []


@pytest.mark.parametrize("fate", ["refused", "expired"])
def test_lines_without_an_answer_are_asked_singly(ledger: Ledger, fate: str):
    status = "expired" if fate == "expired" else "completed"
    with BatchServer(status=status, fate=lambda text: fate if text.endswith("7") else "answered") as server:
        replies = model_at(server, ledger).generate(MANY)
        assert [one.text for one in replies] == [f"row {i}" for i in range(30)]
        assert server.chats == 3 + PROBES and len(server.batches) == 1
        assert booked(ledger) == pytest.approx(server.bill_usd)


def test_a_batch_whose_creation_nobody_heard_of_is_found_and_not_made_twice(tmp_path: Path):
    with BatchServer(deaf_to="/batches") as server:
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        with pytest.raises(ProviderError):
            model_at(server, ledger).generate(MANY)
        ledger.close()
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        replies = model_at(server, ledger).generate(MANY)
        assert [one.text for one in replies] == [f"row {i}" for i in range(30)]
        assert len(server.batches) == 1 and booked(ledger) == pytest.approx(server.bill_usd)
        ledger.close()


def test_at_the_deadline_the_batch_goes_on_and_a_later_run_finds_its_answers(tmp_path: Path):
    with BatchServer(looks=40) as server:
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        with pytest.raises(BudgetReached, match="goes on"):
            model_at(server, ledger, seconds=0.7).generate(MANY)
        assert booked(ledger) > server.bill_usd, "until it is known what it cost, all it may cost is charged"
        ledger.close()
        server.looks = 1
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        assert len(model_at(server, ledger).generate(MANY)) == 30
        assert len(server.batches) == 1 and booked(ledger) == pytest.approx(server.bill_usd)
        ledger.close()


def test_a_run_killed_while_answers_were_booked_gives_back_what_was_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with BatchServer() as server:
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        model, settle = model_at(server, ledger), TrialMeter.settle

        def killed_at_the_end(meter: TrialMeter, ticket: int, spend: Any, result: Any) -> None:
            if "status" in result:
                raise KeyboardInterrupt
            settle(meter, ticket, spend, result)

        monkeypatch.setattr(TrialMeter, "settle", killed_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            model.generate(MANY)
        monkeypatch.undo()
        ledger.close()
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        assert len(model_at(server, ledger).generate(MANY)) == 30
        assert len(server.batches) == 1 and booked(ledger) == pytest.approx(server.bill_usd)
        ledger.close()


def test_a_failed_batch_says_why_costs_nothing_and_is_made_anew(tmp_path: Path):
    with BatchServer(status="failed") as server:
        ledger = Ledger(tmp_path / "run", usd_cap=1.0)
        with pytest.raises(ProviderError, match="line 3 is no JSON") as caught:
            model_at(server, ledger).generate(MANY)
        assert "batch: true" in caught.value.fix and booked(ledger) == pytest.approx(server.bill_usd)
        server.status = "completed"
        assert len(model_at(server, ledger).generate(MANY)) == 30 and len(server.batches) == 2
        ledger.close()


def test_a_batch_that_was_refused_costs_nothing_and_is_tried_again_by_the_next_run(tmp_path: Path):
    with BatchServer(refuses="/batches") as server:
        for number in range(2):
            ledger = Ledger(tmp_path / "run", usd_cap=1.0)
            if number == 0:
                with pytest.raises(ProviderError, match="too many batches"):
                    model_at(server, ledger).generate(MANY)
            else:
                assert len(model_at(server, ledger).generate(MANY)) == 30
            assert booked(ledger) == pytest.approx(server.bill_usd)
            ledger.close()


def test_an_endpoint_without_batches_says_so_and_costs_nothing(ledger: Ledger):
    with BatchServer(lacks=True) as server:
        for _ in range(2):
            with pytest.raises(ProviderError, match="no batches") as caught:
                model_at(server, ledger).generate(MANY)
        assert "batch: true" in caught.value.fix and booked(ledger) == pytest.approx(server.bill_usd)


def test_a_batch_that_could_pass_the_cap_is_not_sent(tmp_path: Path):
    ledger = Ledger(tmp_path / "run", usd_cap=2e-3)
    with BatchServer() as server:
        with pytest.raises(BudgetReached):
            model_at(server, ledger).generate(MANY)
        assert server.batches == [] and server.files == {}
    ledger.close()


def test_two_studies_never_share_a_batch(tmp_path: Path):
    with BatchServer() as server:
        for name in ("one", "two"):
            ledger = Ledger(tmp_path / name, usd_cap=1.0)
            model_at(server, ledger).generate(MANY)
            assert 0 < booked(ledger) <= server.bill_usd + 1e-12
            ledger.close()
        assert len(server.batches) == 2


def test_outside_a_study_nothing_goes_as_a_batch(ledger: Ledger):
    with BatchServer() as server:
        model = model_at(server, ledger)
        model.in_study = False
        model.generate(MANY)
        assert server.batches == [] and server.chats == 30


def test_a_file_of_answers_may_be_larger_than_any_single_answer(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("whichway.models.endpoint_wire.LARGEST_BYTES", 4000)
    with BatchServer() as server:
        assert len(model_at(server, ledger).generate(MANY)) == 30
        assert len(server.files[server.batches[0]["output_file_id"]]) > 4000
