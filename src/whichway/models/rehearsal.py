"""An endpoint rehearsed: it is asked what a strategy would ask, sends nothing, and adds up what the calls would cost."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from whichway.core.model import Reply, Request
from whichway.models.endpoint_batch import FEWEST
from whichway.models.endpoint_probe import CALLS as PROBED
from whichway.models.endpoint_reply import ALL_OPTIONS, LABEL
from whichway.models.endpoint_request import Profile, make_body, request_keys
from whichway.models.endpoint_tuning import Tuned
from whichway.models.pricing import Priced, Tariff, Usage, is_loopback, price_of
from whichway.models.token_count import count_tokens, prompt_tokens

RIGHT = 0.75  # share of answers that are taken to be right: what a search does next depends on them
TAIL = 60  # characters by which a row is known again at the end of a prompt
REMARK_TOKENS, REFLECTION_TOKENS = 30, 300  # of texts that answer no row: a judge's, and a new instruction
FREE = Tariff(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Bill:
    """What calls would cost."""

    calls: float = 0.0
    usd: float = 0.0

    def __add__(self, other: Bill) -> Bill:
        return Bill(self.calls + other.calls, self.usd + other.usd)

    def __sub__(self, other: Bill) -> Bill:
        return Bill(self.calls - other.calls, self.usd - other.usd)

    def __mul__(self, times: float) -> Bill:
        return Bill(self.calls * times, self.usd * times)


@dataclass
class _Account:
    """What an endpoint and the models fine-tuned there were asked, and what that would cost."""

    bill: Bill = Bill()
    asked: set[str] = field(default_factory=set)


class Rehearsal:
    """Stands in for an endpoint; `answers` are (end of a row's text, its answer in the form it is written in).

    A request that was asked before costs nothing, as the ledger has its answer. `dear` is the dearest answer to a row, and
    the dearest other text, in US dollars: what a search may pay at most is told by them.
    """

    is_local = False

    def __init__(self, name: str, settings: Any, answers: Sequence[tuple[str, str]]) -> None:
        self.name, self.settings = name, settings
        self.answers = [text for _, text in answers] or [""]
        self._is_tuned = False
        self._known = {end[-TAIL:]: text for end, text in answers}
        self._price: Priced | None = price_of(settings)
        self._profile = Profile(name, settings.base_url, settings.model, None, 1.0, self._tariff(False))
        self._account = _Account()
        self.dear = [0.0, 0.0]

    @property
    def bill(self) -> Bill:
        """Return what all that was asked so far would cost."""
        return self._account.bill

    def tune(self, train: Sequence[Any], dev: Sequence[Any], settings: Mapping[str, Any], kit: Any) -> Tuned:
        """Count the tokens that a job would train on, epoch by epoch; the same job is paid once."""
        tokens = int(settings["epochs"] * sum(prompt_tokens([text for _, text in chat]) for chat in train))
        key = json.dumps(["tune", list(map(list, train)), list(map(list, dev)), dict(settings)])
        if key not in self._account.asked:
            self._account.asked.add(key)
            price = (self._price.training if self._price else None) or 0.0
            self._account.bill += Bill(0, tokens * price / 1e6)
        return Tuned(f"tuned-{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}", tokens)

    def tuned(self, model: str) -> Rehearsal:
        """Return the fine-tuned model, whose calls are on the same bill; first it is asked what it offers."""
        other = copy.copy(self)
        other._is_tuned, other._profile = True, Profile(self.name, "", model, None, 1.0, FREE)
        for one in PROBED:
            other.generate([one])
        return other

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer as a fair model might: three of four rows right, by chance that is the same every time."""
        keys = request_keys(self._profile, requests)
        asked = self._account.asked
        is_batch = self._is_batched and len(set(keys) - asked) >= FEWEST
        tariff = self._tariff(bool(is_batch))
        replies = {}
        for key, request in dict(zip(keys, requests, strict=True)).items():
            text = self._text(key, request)
            replies[key] = Reply(text, finish="stop")
            if key not in asked:
                asked.add(key)
                usd = self._cost(tariff, request, text)
                self._account.bill += Bill(1, usd)
                kind = int(request.temperature > 0)
                self.dear[kind] = max(self.dear[kind], usd)
        return [replies[key] for key in keys]

    @contextmanager
    def afresh(self) -> Iterator[None]:
        """Within, nothing has been asked before."""
        known, self._account.asked = self._account.asked, set()
        try:
            yield
        finally:
            self._account.asked |= known

    def _text(self, key: str, request: Request) -> str:
        chance = random.Random(key)
        known = self._known.get(request.messages[-1][1][-TAIL:])
        if known is None and not request.choices and request.schema is None:
            return "word " * (REFLECTION_TOKENS if request.temperature > 0 else REMARK_TOKENS)
        text = known if known is not None and chance.random() < RIGHT else chance.choice(self.answers)
        return json.dumps({LABEL: text}) if request.choices else text

    def _cost(self, tariff: Tariff, request: Request, text: str) -> float:
        body = make_body(self._profile.model, request, ALL_OPTIONS)
        texts = [one["content"] for one in body["messages"]]
        if "response_format" in body and not is_loopback(
            self.settings.base_url
        ):  # servers here hold answers by a grammar
            texts.append(_schema(body["response_format"]))
        usage = Usage(round(prompt_tokens(texts)), min(request.max_tokens + 16, round(count_tokens(text)) + 1), 0)
        return tariff.cost(usage, 0.0).usd

    @property
    def _is_batched(self) -> bool:
        return getattr(self.settings, "batch", False) and not self._is_tuned

    def _tariff(self, is_batch: bool) -> Tariff:
        if self._price is None:
            return FREE
        if self._is_tuned:
            return self._price.tuned or self._price.plain
        return self._price.batch if is_batch else self._price.plain


def _schema(format_: Mapping[str, Any]) -> str:
    return json.dumps(format_["json_schema"]["schema"])
