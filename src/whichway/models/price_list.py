"""List prices of known providers, each with its source and the day it was read: what counts where the user gives no price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

FILE = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True)
class Listed:
    """US dollars per million tokens of one model: input, cached input, output; `batch` the same within a batch, if offered.

    `training` is the price of a million tokens trained on, `tuned` those of the model that comes of it, where they are listed,
    and `training_said` says whose.
    """

    plain: tuple[float, float, float]
    batch: tuple[float, float, float] | None
    source: str
    as_of: str
    training: float | None = None
    tuned: tuple[float, float, float] | None = None
    training_said: str = ""

    @property
    def said(self) -> str:
        """Return in words whose price this is."""
        return _said(self.as_of, self.source)


def listed(base_url: str, model: str) -> Listed | None:
    """Return the list price of a model at an address: by its whole name, at the very host of the list, over HTTPS."""
    parts = urlsplit(base_url)
    return _prices().get(((parts.hostname or "").rstrip("."), model)) if parts.scheme == "https" else None


@cache
def _prices() -> Mapping[tuple[str, str], Listed]:
    """Return all prices by host and model."""
    import yaml

    found = {}
    for provider in yaml.safe_load(FILE.read_text(encoding="utf-8"))["providers"]:
        for name, said in provider["models"].items():
            plain = _three(said)
            batch = _batch(said["batch"], said["cached_input"]) if "batch" in said else None
            for model in (name, *said.get("also", ())):
                found[provider["host"], model] = Listed(plain, batch, provider["source"], provider["as_of"])
        tuning = provider.get("fine_tuning", {"models": {}})
        for name, said in tuning["models"].items():
            known, whose = found[provider["host"], name], _said(tuning["as_of"], tuning["source"])
            more = replace(known, training=said["training"], tuned=_three(said), training_said=whose)
            found[provider["host"], name] = more
    return found


def _said(as_of: str, source: str) -> str:
    return f"list price of {as_of}, {source}"


def _three(said: Mapping[str, Any]) -> tuple[float, float, float]:
    return (said["input"], said["cached_input"], said["output"])


def _batch(said: Mapping[str, Any], cached: float) -> tuple[float, float, float]:
    return (said["input"], said.get("cached_input", min(cached, said["input"])), said["output"])
