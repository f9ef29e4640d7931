"""An endpoint rehearsed: it is asked what a strategy would ask, sends nothing, and adds up what the calls would cost."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from whichway.core.model import Reply, Request
from whichway.models.endpoint_batch import FEWEST
from whichway.models.endpoint_reply import ALL_OPTIONS, LABEL
from whichway.models.endpoint_request import Profile, make_body, request_keys
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


class Rehearsal:
    """Stands in for an endpoint; `answers` are (end of a row's text, its answer in the form it is written in).

    A request that was asked before costs nothing, as the ledger has its answer. `dear` is the dearest answer to a row, and
    the dearest other text, in US dollars: what a search may pay at most is told by them.
    """

    is_local = False

    def __init__(self, name: str, settings: Any, answers: Sequence[tuple[str, str]]) -> None:
        self.name, self.settings = name, settings
        self.answers = [text for _, text in answers] or [""]
        self._known = {end[-TAIL:]: text for end, text in answers}
        self._price: Priced | None = price_of(settings)
        self._profile = Profile(name, settings.base_url, settings.model, None, 1.0, self._tariff(False))
        self._asked: set[str] = set()
        self.bill, self.dear = Bill(), [0.0, 0.0]

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer as a fair model might: three of four rows right, by chance that is the same every time."""
        keys = request_keys(self._profile, requests)
        is_batch = getattr(self.settings, "batch", False) and len(set(keys) - self._asked) >= FEWEST
        tariff = self._tariff(is_batch)
        replies = {}
        for key, request in dict(zip(keys, requests, strict=True)).items():
            text = self._text(key, request)
            replies[key] = Reply(text, finish="stop")
            if key not in self._asked:
                self._asked.add(key)
                usd = self._cost(tariff, request, text)
                self.bill += Bill(1, usd)
                kind = int(request.temperature > 0)
                self.dear[kind] = max(self.dear[kind], usd)
        return [replies[key] for key in keys]

    @contextmanager
    def afresh(self) -> Iterator[None]:
        """Within, nothing has been asked before."""
        known, self._asked = self._asked, set()
        try:
            yield
        finally:
            self._asked |= known

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

    def _tariff(self, is_batch: bool) -> Tariff:
        if self._price is None:
            return FREE
        return self._price.batch if is_batch else self._price.plain


def _schema(format_: Mapping[str, Any]) -> str:
    return json.dumps(format_["json_schema"]["schema"])
