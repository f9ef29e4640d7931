"""Fine-tuning behind an endpoint: uploaded once, paid once, found again after a kill, cancelled at the budget."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fault_server import answer
from tuning_server import TOKENS, Provider

from whichway.core.output import Labels
from whichway.core.strategy import Budget, Kit
from whichway.core.task import Example, Field, Task
from whichway.errors import BudgetReached, NotApplicable, ProviderError, UsageError
from whichway.models.endpoint import EndpointModel
from whichway.models.endpoint_patience import Patience
from whichway.models.pricing import Tariff
from whichway.registry import get
from whichway.strategies.finetune import Finetune
from whichway.study.kit import TrialMeter
from whichway.study.ledger import Ledger

ROWS = [[("user", f"row {i}"), ("assistant", "a")] for i in range(20)]
SETTINGS = {"epochs": 2, "batch": 8}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "run", usd_cap=1.0)
    yield made
    made.close()


def model_at(provider: Provider, ledger: Ledger, training: float | None = 100.0, **more: Any) -> EndpointModel:
    price = SimpleNamespace(input=1.0, output=2.0, cached_input=0.5, training=training)
    said = {"base_url": provider.url, "model": "small", "key_env": None, "price": price, "max_concurrency": 4}
    settings = SimpleNamespace(**{**said, "timeout_s": 5.0, "fine_tuning": True, **more})
    meter = TrialMeter(ledger)
    meter.trial, meter.phase = "finetune@mine", "fit"
    return EndpointModel("mine", settings, meter, Patience(base_s=0.01, cap_s=0.1))


def kit(tmp_path: Path, seconds: float = 60.0) -> Kit:
    return Kit({}, None, tmp_path, budget=Budget(time.monotonic() + seconds))


def spent(ledger: Ledger) -> float:
    return sum(one.usd for *_, one in ledger.spends())


def test_rows_go_out_as_chats_and_the_bill_is_that_of_the_tokens_trained_on(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider(breaks=("files", "look"))  # both are tried again
    made = model_at(provider, ledger).tune(ROWS, ROWS[:4], SETTINGS, kit(tmp_path))
    assert (made.name, made.tokens) == ("ft:small:1", TOKENS)
    train, dev = provider.files.values()
    assert b'{"messages": [{"role": "user", "content": "row 19"}, {"role": "assistant", "content": "a"}]}' in train
    assert dev.count(b'"messages"') == 4
    (job,) = provider.jobs
    assert job["model"] == "small" and (job["training_file"], job["validation_file"]) == tuple(provider.files)
    assert job["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2, "batch_size": 8}
    assert spent(ledger) == pytest.approx(TOKENS * 100 / 1e6)
    assert sum(one.tokens_in for *_, one in ledger.spends()) == TOKENS


def test_the_same_job_is_never_made_or_paid_for_twice(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider()
    first = model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path))
    before = spent(ledger)
    assert model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path)) == first
    assert len(provider.jobs) == 1 and spent(ledger) == before and len(provider.files) == 1
    model_at(provider, ledger).tune(ROWS, [], {**SETTINGS, "epochs": 1}, kit(tmp_path))
    assert len(provider.jobs) == 2


def test_a_run_killed_while_it_waits_finds_its_job_again(tmp_path: Path) -> None:
    provider, book = Provider(looks=10**6), Ledger(tmp_path / "run", 1.0)

    class Killed(Exception):
        pass

    def die(progress: Any) -> None:
        if "running" in progress.what:
            raise Killed

    with pytest.raises(Killed):
        model_at(provider, book).tune(ROWS, [], SETTINGS, Kit({}, None, tmp_path, progress=die))
    book.close()
    provider.looks = 1
    book = Ledger(tmp_path / "run", 1.0)
    assert model_at(provider, book).tune(ROWS, [], SETTINGS, kit(tmp_path)).name == "ft:small:1"
    assert len(provider.jobs) == 1 and spent(book) == pytest.approx(TOKENS * 100 / 1e6)
    book.close()


def test_a_job_whose_making_was_not_heard_of_is_found_by_its_mark(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider(breaks=("jobs",))
    with pytest.raises(ProviderError, match="does not give a fine-tuning job"):
        model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path))
    assert len(provider.jobs) == 1
    assert model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path)).name == "ft:small:1"
    assert len(provider.jobs) == 1
    assert spent(ledger) == pytest.approx(TOKENS * 100 / 1e6)  # what was lost with the first try was this very job


def test_a_job_that_another_run_has_made_costs_this_run_nothing_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider, books = Provider(), [Ledger(tmp_path / name, 1.0) for name in ("first", "second")]
    made = [model_at(provider, one).tune(ROWS, [], SETTINGS, kit(tmp_path)) for one in books]
    assert len(provider.jobs) == 1 and len(provider.files) == 1
    assert [one.name for one in made] == ["ft:small:1"] * 2 and [one.is_paid for one in made] == [True, False]
    assert [spent(one) for one in books] == [pytest.approx(TOKENS * 100 / 1e6), 0.0]
    assert all(one.usd >= 0 and one.tokens_in >= 0 for *_, one in books[1].spends())
    assert "another run has made the fine-tuning job job-0" in caplog.text
    assert not model_at(provider, books[1]).tune(ROWS, [], SETTINGS, kit(tmp_path)).is_paid, "and the ledger knows it"
    for one in books:
        one.close()


def test_a_job_of_another_run_is_not_cancelled_at_the_deadline_and_made_anew_when_that_run_cancels(tmp_path: Path):
    provider, books = Provider(looks=10**6), [Ledger(tmp_path / name, 1.0) for name in ("first", "second")]

    class Killed(Exception):
        pass

    def die(progress: Any) -> None:
        if "running" in progress.what:
            raise Killed

    with pytest.raises(Killed):
        model_at(provider, books[0]).tune(ROWS, [], SETTINGS, Kit({}, None, tmp_path, progress=die))
    with pytest.raises(BudgetReached, match="it goes on: another run has made it"):
        model_at(provider, books[1]).tune(ROWS, [], SETTINGS, kit(tmp_path, 0.2))
    assert provider.jobs[0]["status"] == "running" and spent(books[1]) == 0
    provider.jobs[0]["status"], provider.looks = "cancelled", 1
    made = model_at(provider, books[1]).tune(ROWS, [], SETTINGS, kit(tmp_path))
    assert made.is_paid and len(provider.jobs) == 2 and spent(books[1]) == pytest.approx(TOKENS * 100 / 1e6)
    for one in books:
        one.close()


def test_a_job_that_was_refused_costs_nothing_and_is_made_by_the_next_run(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider(breaks=("refuse jobs",))
    with pytest.raises(ProviderError, match="too many jobs"):
        model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path))
    assert spent(ledger) == 0
    assert model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path)).tokens == TOKENS


def test_at_the_deadline_the_job_is_cancelled(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider(looks=10**6)
    with pytest.raises(BudgetReached, match="was cancelled"):
        model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path, 1.0))
    assert provider.jobs[0]["status"] == "cancelled"
    set_aside = spent(ledger)
    assert set_aside > TOKENS * 100 / 1e6, "nobody has said what it trained on: all that was set aside stays charged"
    provider.looks = 1  # with more time the same command makes a new job
    assert model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path)).name == "ft:small:1"
    assert len(provider.jobs) == 2 and spent(ledger) == pytest.approx(set_aside + TOKENS * 100 / 1e6)


def test_a_cancelled_job_is_booked_at_the_tokens_that_it_says_it_has_trained_on(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider(looks=10**6, trained=150)
    with pytest.raises(BudgetReached, match="was cancelled"):
        model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path, 0.5))
    assert spent(ledger) == pytest.approx(150 * 100 / 1e6)


def test_a_job_that_could_pass_the_cap_is_refused_before_anything_is_sent(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider()
    with pytest.raises(BudgetReached):
        model_at(provider, ledger, training=10_000.0).tune(ROWS, [], SETTINGS, kit(tmp_path))
    assert not provider.files and not provider.jobs and spent(ledger) == 0


def test_a_failed_job_says_why(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider(status="failed")
    with pytest.raises(ProviderError, match="job-0 at 'mine' failed: bad rows"):
        model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path))
    assert spent(ledger) == 0
    provider.looks, provider.status = 1, "succeeded"
    assert model_at(provider, ledger).tune(ROWS, [], SETTINGS, kit(tmp_path)).name == "ft:small:1"


class Kinds:
    """Vectors that say a row's kind alone."""

    def embed(self, texts: Any) -> Any:
        return np.eye(2)[[int("even" in one) for one in texts]]


def test_nearest_examples_stand_in_what_is_trained_and_in_what_is_asked(ledger: Ledger, tmp_path: Path) -> None:
    asked: list[Any] = []

    def says(messages: Any) -> Any:
        asked.append(messages)
        return answer("a")

    provider, labels = Provider(says=says), Labels(("a", "b"))
    task = Task("t", "Say.", (Field("text"),), labels, get("metric", "accuracy")())
    rows = [Example(f"r{i}", {"text": f"{'odd' if i % 2 else 'even'} {i}"}, "ab"[i % 2]) for i in range(36)]
    models = {"mine": model_at(provider, ledger)}
    own = replace(kit(tmp_path), models=models, embedder=Kinds())
    made = Finetune(model="mine", shown=2, epochs=1).fit(task, rows[:24], rows[24:], own)
    for content, some in zip(provider.files.values(), (rows[:24], rows[24:]), strict=True):
        chats = [json.loads(line)["messages"] for line in content.splitlines() if line.startswith(b"{")]
        assert len(chats) == len(some) and all(len(chat) == 6 for chat in chats)
        for chat, row in zip(chats, some, strict=True):
            texts = [one["content"] for one in chat]
            kind = row.inputs["text"].split()[0]
            assert all(kind in one for one in texts[::2]) and texts[1] == texts[3] == texts[5] == row.target
            assert sum(f"{row.inputs['text']}\n" in f"{one}\n" for one in texts) == 1, "a row does not carry itself"
    made.save(tmp_path)
    asked.clear()
    Finetune(model="mine", shown=2).load(task, tmp_path, own).predict([{"text": "odd 99"}])
    assert len(asked[0]) == 5 and all("odd" in one["content"] for one in asked[0][::2])
    with pytest.raises(NotApplicable, match="'rank' does nothing at an endpoint"):
        Finetune(model="mine", rank=4).fit(task, rows, [], own)


def test_who_does_not_say_that_it_fine_tunes_or_what_it_costs_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    provider = Provider()
    with pytest.raises(NotApplicable):
        model_at(provider, ledger, fine_tuning=False).tune(ROWS, [], SETTINGS, kit(tmp_path))
    with pytest.raises(UsageError, match="price of training"):
        model = model_at(provider, ledger, training=None)
        model.settings.base_url = "https://api.example.com/v1"
        model.tune(ROWS, [], SETTINGS, kit(tmp_path))
    assert not provider.asked


def test_the_tuned_model_is_asked_where_it_was_made(ledger: Ledger) -> None:
    provider = Provider()
    tuned = model_at(provider, ledger).tuned("ft:small:1")
    assert tuned._profile.model == "ft:small:1" and tuned._profile.base_url == provider.url


def test_a_tuned_model_is_booked_at_its_own_list_price(ledger: Ledger) -> None:
    said = {"base_url": "https://api.openai.com/v1", "model": "gpt-4.1-mini-2025-04-14", "price": None}
    settings = SimpleNamespace(**said, key_env=None, timeout_s=5.0, max_concurrency=1, fine_tuning=True)
    model = EndpointModel("big", settings, TrialMeter(ledger))
    assert model._profile.tariff == Tariff(0.4, 1.6, 0.1)
    assert model.tuned("ft:gpt-4.1-mini-2025-04-14:me::1")._profile.tariff == Tariff(0.8, 3.2, 0.2)
