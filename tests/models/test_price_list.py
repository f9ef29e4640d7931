"""List prices: each has a source and a day, the user's own goes before them, and nothing is guessed."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from whichway.errors import UsageError
from whichway.models import price_list
from whichway.models.pricing import Tariff, known_price, price_of, training_price

OPENAI = "https://api.openai.com/v1"
PROVIDERS = yaml.safe_load(price_list.FILE.read_text())["providers"]


def endpoint(model: str = "gpt-4.1-mini", base_url: str = OPENAI, price: Any = None) -> Any:
    return SimpleNamespace(base_url=base_url, model=model, price=price)


def own(**more: Any) -> Any:
    return SimpleNamespace(**{"input": 3.0, "output": 9.0, "cached_input": None, "training": None, **more})


def test_a_known_model_has_its_list_price_with_day_and_source():
    found = known_price("big", endpoint())
    assert found.plain == Tariff(0.4, 1.6, 0.1) and found.batch == Tariff(0.2, 0.8, 0.1)
    assert found.said == "list price of 2026-10-14, https://developers.openai.com/api/docs/pricing"
    assert price_of(endpoint("gpt-4.1-mini-2025-04-14")).plain == found.plain


@pytest.mark.parametrize(
    "one",
    [
        endpoint("gpt-4.1-mini-2031-01-01"),
        endpoint("ft:gpt-4.1-mini-2025-04-14:me::1"),
        endpoint("GPT-4.1-mini"),
        endpoint(base_url="https://eu.api.openai.com/v1"),
        endpoint(base_url="https://api.openai.com.example.org/v1"),
        endpoint(base_url="https://example.org/api.openai.com/v1"),
        endpoint(base_url="http://api.openai.com/v1"),
    ],
    ids=lambda one: f"{one.base_url} {one.model}",
)
def test_what_only_looks_like_a_known_model_has_no_price(one: Any):
    assert price_of(one) is None
    with pytest.raises(UsageError, match="price of the endpoint 'big' is unknown"):
        known_price("big", one)


def test_the_users_own_price_goes_before_the_list():
    found = known_price("big", endpoint(price=own()))
    assert found.plain == Tariff(3.0, 9.0, 3.0) == found.batch and found.said == "the task file's"
    assert known_price("big", endpoint(price=own(batch_discount=0.5))).batch == Tariff(1.5, 4.5, 1.5)


def test_training_has_its_list_price_and_the_users_goes_before_it():
    snapshot = "gpt-4.1-mini-2025-04-14"
    assert training_price("big", endpoint(snapshot)) == 5.0
    assert (
        price_of(endpoint(snapshot)).training_said
        == "list price of 2025-06-26, https://platform.openai.com/docs/pricing"
    )
    assert training_price("big", endpoint(snapshot, price=own(training=25.0))) == 25.0
    for unknown in (endpoint(), endpoint("gpt-5"), endpoint(snapshot, price=own())):
        with pytest.raises(UsageError, match="price of training"):
            training_price("big", unknown)


def test_a_fine_tuned_model_has_a_price_of_its_own():
    assert price_of(endpoint("gpt-4.1-mini-2025-04-14")).tuned == Tariff(input=0.8, output=3.2, cached_input=0.2)
    assert price_of(endpoint(price=own(training=25.0))).tuned == Tariff(3.0, 9.0, 3.0)


def test_a_server_on_this_machine_is_free_unless_the_user_says_otherwise():
    here = "http://127.0.0.1:8000/v1"
    assert price_of(endpoint(base_url=here)).is_free
    assert not price_of(endpoint(base_url=here, price=own())).is_free


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one["host"])
def test_every_price_of_the_list_has_a_day_and_a_source_that_can_be_looked_up_and_makes_sense(provider: Any):
    for said in (provider, *filter(None, [provider.get("fine_tuning")])):
        assert said["source"].startswith("https://") and date.fromisoformat(said["as_of"]) <= date.today()
        assert re.search(r"https://[^ ,]+/[^ ,]+", said["read_by"]), "who read it can be looked up"
    for said in provider["models"].values():
        assert 0 < said["cached_input"] <= said["input"] <= said["output"] < 1000
        if "batch" in said:
            assert said["batch"]["input"] < said["input"] and said["batch"]["output"] < said["output"]
    for name, said in provider.get("fine_tuning", {"models": {}})["models"].items():
        plain = price_list.listed(f"https://{provider['host']}", name).plain
        assert plain[0] <= said["input"] <= said["training"] and plain[2] <= said["output"]


def test_the_list_is_part_of_the_wheel():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert price_list.FILE.suffix == ".yaml" and "*.yaml" in project["tool"]["setuptools"]["package-data"]["*"]
