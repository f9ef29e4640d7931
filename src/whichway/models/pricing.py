"""What a call to an endpoint may cost at most, and what it did cost."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from whichway.core.model import Spend
from whichway.errors import UsageError
from whichway.models.price_list import listed

PER_MESSAGE = 16  # tokens a chat template may put around one message
PER_CALL = 256  # tokens a chat template may put before the first message, such as a system text of its own
MOST_BYTES_PER_TOKEN = 128  # the longest tokens in use are runs of spaces of this length
MOST_TOKENS = 10**9


@dataclass(frozen=True)
class Usage:
    """Tokens as the endpoint reports them; `tokens_in` includes `cached_tokens`."""

    tokens_in: int
    tokens_out: int
    cached_tokens: int


@dataclass(frozen=True)
class Tariff:
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float

    def bound(self, texts: Sequence[str], max_tokens: int) -> Spend:
        """Return the most a call may cost: no tokenizer makes more tokens of a text than it has UTF-8 bytes."""
        tokens_in = PER_CALL + sum(PER_MESSAGE + len(text.encode("utf-8", "replace")) for text in texts)
        usd = (tokens_in * max(self.input, self.cached_input) + max_tokens * self.output) / 1e6
        return Spend(usd=usd, tokens_in=tokens_in, tokens_out=max_tokens)

    def cost(self, usage: Usage, seconds: float) -> Spend:
        """Return what a call cost by the tokens it used."""
        fresh = usage.tokens_in - usage.cached_tokens
        usd = (fresh * self.input + usage.cached_tokens * self.cached_input + usage.tokens_out * self.output) / 1e6
        return Spend(seconds, usd, usage.tokens_in, usage.tokens_out, usage.cached_tokens)


@dataclass(frozen=True)
class Priced:
    """What an endpoint charges: `plain` calls, calls within a `batch`, a million `training` tokens; `said`: whose price it is.

    `tuned` are calls of the model that comes of training, `training_said` says whose price that and training are.
    """

    plain: Tariff
    batch: Tariff
    training: float | None
    said: str
    tuned: Tariff | None = None
    training_said: str = ""

    @property
    def is_free(self) -> bool:
        return self.plain == Tariff(0.0, 0.0, 0.0) and not self.training


def price_of(settings: Any) -> Priced | None:
    """Return what an endpoint charges: the user's own price, else the list's; free on this machine; None where unknown.

    Without `batch_discount` in a price of the user's, a batch is taken to cost as much as single calls. With `training` it is
    that of the fine-tuned model, too.
    """
    price = settings.price
    if price is not None:
        cached = price.input if price.cached_input is None else price.cached_input
        plain = Tariff(float(price.input), float(price.output), float(cached))
        share = 1.0 - float(getattr(price, "batch_discount", None) or 0.0)
        batch = Tariff(plain.input * share, plain.output * share, plain.cached_input * share)
        return Priced(plain, batch, getattr(price, "training", None), "the task file's", plain, "the task file's")
    found = listed(settings.base_url, settings.model)
    if found is not None:
        plain, batch = (_tariff(one) for one in (found.plain, found.batch or found.plain))
        tuned = _tariff(found.tuned) if found.tuned else None
        return Priced(plain, batch, found.training, found.said, tuned, found.training_said)
    if is_loopback(settings.base_url):
        free = Tariff(0.0, 0.0, 0.0)
        said = "free: it is on this machine"
        return Priced(free, free, 0.0, said, free, said)
    return None


def _tariff(prices: tuple[float, float, float]) -> Tariff:
    return Tariff(input=prices[0], output=prices[2], cached_input=prices[1])


def known_price(name: str, settings: Any) -> Priced:
    """Return what an endpoint charges; raises UsageError where that is unknown."""
    found = price_of(settings)
    if found is not None:
        return found
    raise UsageError(
        f"The price of the endpoint {name!r} is unknown, so its calls cannot be kept within the budget.",
        f"Add to models.endpoints.{name} of the task file, in US dollars per million tokens: "
        "price: {input: 0.15, output: 0.60}. For a free server of your own: price: {input: 0, output: 0}.",
    )


def training_price(name: str, settings: Any) -> float:
    """Return the price of a million training tokens; without one, a server on this machine is free, others are refused."""
    found = price_of(settings)
    if found is not None and found.training is not None:
        return float(found.training)
    if is_loopback(settings.base_url):
        return 0.0
    raise UsageError(
        f"The price of training at the endpoint {name!r} is unknown, so a job cannot be kept within the budget.",
        f"Add to models.endpoints.{name}.price of the task file, in US dollars per million tokens, beside the prices of the "
        "model that comes of it: training: 25.0",
    )


def is_loopback(base_url: str) -> bool:
    """Tell whether an address lies on this machine."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_usage(said: Any, prompt: Sequence[str], answer: str) -> Usage | None:
    """Return the reported tokens, or None where they are missing or cannot be true.

    Tokens that count in the total alone (hidden reasoning) count as output.
    """
    if not isinstance(said, Mapping):
        return None
    tokens_in, tokens_out = _count(said.get("prompt_tokens")), _count(said.get("completion_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    if _too_few(tokens_in, "".join(prompt)) or _too_few(tokens_out, answer):
        return None
    total = _count(said.get("total_tokens")) or 0
    details = said.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else 0
    known = cached if cached is not None and cached <= tokens_in else 0
    return Usage(tokens_in, max(tokens_out, total - tokens_in), known)


def _count(value: Any) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if good else None


def _too_few(tokens: int, text: str) -> bool:
    return tokens * MOST_BYTES_PER_TOKEN < len(text.encode("utf-8", "replace"))
