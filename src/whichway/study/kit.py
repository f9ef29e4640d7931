"""What strategies of a study may touch: models made when first needed, an embedder that embeds nothing twice."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from whichway.core.model import Meter, Spend
from whichway.core.task import Example, Prediction
from whichway.errors import BudgetReached, UsageError
from whichway.metrics import judge as judging
from whichway.models import hardware
from whichway.models.embedded import causal_folder
from whichway.models.vector_cache import VectorCache
from whichway.models.weights import converted_digest, embedder_folder, snapshot_folder, weights_digest
from whichway.registry import get
from whichway.study.ledger import Ledger


class ModelShelf(Mapping[str, Any]):
    """Models by the names of the task file, each made at its first use: 'causal' and every endpoint.

    `in_study`: endpoints are first asked what they offer, which is worth two calls where many follow, and may be asked in
    batches. `say` is told what a local model does beside answering, once.
    """

    def __init__(
        self,
        settings: Any,
        meter: Callable[[], Meter],
        only_local: bool = False,
        in_study: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings, self.meter, self.in_study, self.say = settings, meter, in_study, say
        self.endpoints = {} if only_local else settings.models.endpoints
        self._made: dict[str, Any] = {}
        self._encoder: Any = None
        self._cache: tuple[VectorCache | None] | None = None

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]  # the encoder is kept apart: an endpoint may have any name

    def __iter__(self) -> Iterator[str]:
        return iter(["causal", *self.endpoints])

    def __len__(self) -> int:
        return 1 + len(self.endpoints)

    def is_batched(self, name: str) -> bool:
        """Tell whether a model is an endpoint that is asked in batches."""
        return self.in_study and bool(getattr(self.endpoints.get(name), "batch", False))

    def at_once(self) -> dict[str, dict[str, int]]:
        """Return for each endpoint that was asked how many calls at once it takes, as was learnt, and how many are allowed."""
        asked = {name: self._made[name].throttle for name in self.endpoints if name in self._made}
        return {name: {"learnt": int(one.limit), "allowed": one.most} for name, one in asked.items()}

    def embedder(self) -> Any:
        """Return the sentence encoder of the task file, made at the first call."""
        if self._encoder is None:
            self._encoder = get("model", "encoder")(self.settings.models.embedder)
        return self._encoder

    def vector_cache(self) -> VectorCache | None:
        """Return the user's cache for the encoder's weights; None where these cannot be told. One on a hub is loaded for that."""
        if self._cache is None:
            where = embedder_folder(self.settings.models.embedder) or snapshot_folder(self.embedder().network)
            self._cache = (VectorCache(weights_digest(where)) if where else None,)
        return self._cache[0]

    def digest(self, kind: str) -> str:
        """Return what tells the weights of 'causal' or 'embedder', and what they compute with, from others; '' if nothing does.

        One on a hub is loaded for that: its name may stand for newer weights tomorrow.
        """
        if kind == "embedder":
            cache = self.vector_cache()
            return f"{cache.path.stem} {hardware.device_name()}" if cache else ""
        name = self.settings.models.causal
        where = causal_folder() if name == "embedded" else Path(name)
        other = self.settings.models.openvino
        on = " ".join([hardware.device_name(), *([converted_digest(Path(other))] if other else [])])
        if where.is_dir():
            return f"{weights_digest(where)} {on}"
        commit = getattr(self["causal"].network.config, "_commit_hash", None)
        return f"{name}@{commit} {hardware.dtype()} {on}" if commit else ""

    def weights(self) -> str:
        """Return what tells both models' weights from others; '' where nothing tells one of them."""
        found = [self.digest(kind) for kind in ("causal", "embedder")]
        return " ".join(found) if all(found) else ""

    def _make(self, name: str) -> Any:
        if name == "causal":
            named = self.settings.models
            return get("model", "causal")(named.causal, openvino=named.openvino, say=self.say)
        if name in self.endpoints:
            return get("model", "endpoint")(name, self.endpoints[name], self.meter(), in_study=self.in_study)
        raise UsageError(f"There is no model called {name!r} in the task file.", f"Known: {', '.join(self)}.")


class CachedEmbedder:
    """An embedder whose vectors are kept by content: on disk for all studies of the user, else in this study's ledger.

    What is missing of a call is embedded in one go and committed in one go: a continued run sees the same batches. A plan
    has no ledger yet.
    """

    def __init__(self, shelf: ModelShelf, ledger: Ledger | None) -> None:
        self.shelf, self.ledger = shelf, ledger

    @property
    def name(self) -> str:
        return str(self.shelf.settings.models.embedder)

    def embed(self, texts: Sequence[str]) -> Any:
        """Return float32 [len(texts), width]."""
        import numpy as np

        if not texts:
            return self.shelf.embedder().embed([])
        keys = [hashlib.sha256(f"{self.name}\x00{text}".encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
        known = self._found_or_made(dict(zip(keys, texts, strict=True)))
        return np.frombuffer(b"".join([known[key] for key in keys]), np.float32).reshape(len(keys), -1).copy()

    def _found_or_made(self, texts: Mapping[str, str]) -> dict[str, bytes]:
        """Return vectors by key: from the user's cache, else from the ledger, else embedded and kept in one of them."""
        import numpy as np

        cache = self.shelf.vector_cache()
        known = cache.get(sorted(texts)) if cache else {}
        if self.ledger and len(known) < len(texts):
            known.update(self.ledger.vectors(sorted(texts.keys() - known.keys())))
        missing = {key: text for key, text in texts.items() if key not in known}
        if missing:
            new = self.shelf.embedder().embed(list(missing.values()))
            fresh = {key: np.asarray(row, dtype=np.float32).tobytes() for key, row in zip(missing, new, strict=True)}
            if not (cache and cache.put(fresh)) and self.ledger:
                self.ledger.keep_vectors(fresh)
            known.update(fresh)
        return known

    def tune(self, *args: Any, **more: Any) -> None:
        """Fine-tune a copy; see models/contrastive.py."""
        self.shelf.embedder().tune(*args, **more)

    def tuned(self, folder: Path) -> Any:
        """Return a tuned encoder, which is not cached: its vectors belong to one trial alone."""
        return self.shelf.embedder().tuned(folder)


class FreshEmbedder:
    """The same embedder without the cache: what latency is measured with."""

    def __init__(self, shelf: ModelShelf) -> None:
        self.shelf = shelf
        self.name = str(shelf.settings.models.embedder)

    def embed(self, texts: Sequence[str]) -> Any:
        """Return float32 [len(texts), width]."""
        return self.shelf.embedder().embed(texts)

    def tuned(self, folder: Path) -> Any:
        """Return a tuned encoder."""
        return self.shelf.embedder().tuned(folder)


class PairJudge:
    """The task file's judge as strategies may ask it; its calls are booked under the trial that asks."""

    def __init__(self, shelf: ModelShelf, settings: Any) -> None:
        self.shelf, self.settings = shelf, settings

    def better(
        self, rows: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction]
    ) -> list[Literal["a", "b", "tie"]]:
        """Return which is better, told the right answer of these rows, which are there to be learned from."""
        model, criteria = self.shelf[self.settings.model], self.settings.criteria or judging.CRITERIA
        return [one["verdict"] for one in judging.judge_pairs(model, rows, ours, theirs, criteria)]


class TrialMeter:
    """The ledger as seen by one trial: its calls are booked under its name and the phase it is in."""

    def __init__(self, ledger: Ledger, deadline: float = float("inf")) -> None:
        self.ledger, self.deadline, self.trial, self.phase = ledger, deadline, "", "fit"

    def recall(self, key: str) -> Mapping[str, Any] | None:
        return self.ledger.recall(key)

    def reserve(self, key: str, what: str, bound: Spend) -> int:
        if time.monotonic() > self.deadline:
            raise BudgetReached(
                "The time budget is used up.", "Raise budget.minutes (or --budget-minutes) and run again."
            )
        return self.ledger.reserve(key, self.trial, f"{self.phase}:{what}", bound)

    def settle(self, ticket: int, spend: Spend, result: Mapping[str, Any]) -> None:
        self.ledger.settle(ticket, spend, result)

    def lose(self, ticket: int, reason: str) -> None:
        self.ledger.lose(ticket, reason)
