"""Fine-tuning behind an endpoint by OpenAI's files and jobs: estimated first, paid for once, taken up again after a kill."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichway.core.model import Meter, Spend
from whichway.core.strategy import Kit, Progress
from whichway.errors import BudgetReached, ProviderError
from whichway.models.endpoint_errand import Errands, is_unknown
from whichway.models.endpoint_reply import LONGEST_PROBLEM
from whichway.models.endpoint_request import Profile
from whichway.models.endpoint_wire import Redactor, Wire

BYTES_PER_TOKEN = 2.0  # of the most a job may cost: real texts have more
PER_ROW = 16  # tokens a chat template puts around a row
LOOK_S = (0.5, 30.0)  # between two looks at a job: the first, and the longest
ENDED = ("succeeded", "failed", "cancelled")
CONTRACT = 1

Chat = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model: its name at the endpoint, and the tokens that were trained on."""

    name: str
    tokens: int


class HostedTuning:
    """Fine-tuning jobs at one endpoint; `usd_per_million` is the price of training tokens."""

    def __init__(self, profile: Profile, usd_per_million: float, wire: Wire, redact: Redactor, meter: Meter) -> None:
        self.profile, self.price, self.redact, self.meter = profile, usd_per_million, redact, meter
        self._errands = Errands(profile, wire, redact, "fine-tuning", "Take fine_tuning: true off it.")

    def run(self, train: Sequence[Chat], dev: Sequence[Chat], settings: Mapping[str, Any], kit: Kit) -> Tuned:
        """Return the model that learned from chats ending in the right answer; `dev` rows go along as validation file.

        The same rows and settings are never paid for twice: the job is found in the ledger, or at the endpoint by its
        metadata. Raises BudgetReached before anything is sent when the job could pass the cap; at the deadline the job is
        cancelled. Raises ProviderError when it fails.
        """
        files = [_jsonl(rows) for rows in (train, dev)]
        wanted = {"base": self.profile.model, "url": self.profile.base_url, **settings, "seed": kit.seed}
        said = json.dumps([CONTRACT, wanted, [hashlib.sha256(one).hexdigest() for one in files]], sort_keys=True)
        key = hashlib.sha256(said.encode()).hexdigest()
        key = self._place(key)
        known = self.meter.recall(f"{key}/job")
        job_id = str(known["job"]) if known else self._created(key, files, len(train), settings, kit)
        job, in_time = self._waited(job_id, kit)
        if self.meter.recall(f"{key}/end") is None:
            self._settle_difference(key, job, self._bound(files[0], len(train), settings))
        if not in_time:
            raise BudgetReached(
                f"The time budget ended before the job {job_id} did; it was cancelled.",
                "Raise budget.minutes (or --budget-minutes) and run again.",
            )
        if job.status == "cancelled" and known:  # by an earlier run, at its deadline
            return self.run(train, dev, settings, kit)
        if job.status != "succeeded":
            why = getattr(job.error, "message", "") or job.status
            raise ProviderError(
                f"The fine-tuning job {job_id} at {self.profile.name!r} {job.status}: {self.redact(why)[:LONGEST_PROBLEM]}",
                "Look at the job's events at the provider, then run the same command again: it makes a new job.",
            )
        return Tuned(str(job.fine_tuned_model), int(job.trained_tokens or 0))

    def _place(self, key: str) -> str:
        """Return the key under which the job is kept: one that ended badly keeps its own, and a new one may be made."""
        turn = 0
        while (end := self.meter.recall(f"{key}/{turn}/end")) is not None and end["status"] != "succeeded":
            turn += 1
        return f"{key}/{turn}"

    def _created(self, key: str, files: Sequence[bytes], rows: int, settings: Mapping[str, Any], kit: Kit) -> str:
        """Return a new job's id, or that of one which a killed run had created; what it may cost is committed with it."""
        mark = {"whichway": key[:32]}
        bound = self._bound(files[0], rows, settings)
        found = self._errands.do("listing jobs", lambda sdk: sdk.fine_tuning.jobs.list(limit=100))
        for job in found.data:
            if (job.metadata or {}) == mark and job.status not in ("failed", "cancelled"):
                ticket = self.meter.reserve(f"{key}/job", "tuning", Spend())  # a killed run's reservation stays charged
                self.meter.settle(ticket, Spend(), {"job": job.id, "usd": bound.usd})
                return str(job.id)
        ticket = self.meter.reserve(f"{key}/job", "tuning", bound)
        try:
            names = [self._uploaded(one, part, kit) for one, part in zip(files, ("train", "dev"), strict=True)]
            hyper = {"n_epochs": settings["epochs"], "batch_size": settings["batch"]}
            body: dict[str, Any] = {
                "model": self.profile.model,
                "training_file": names[0],
                "method": {"type": "supervised", "supervised": {"hyperparameters": hyper}},
                "seed": kit.seed,
                "suffix": "whichway",
                "metadata": mark,
                **({"validation_file": names[1]} if names[1] else {}),
            }
            job = self._errands.do("a fine-tuning job", lambda sdk: sdk.fine_tuning.jobs.create(**body), tries=1)
        except BaseException as error:
            # Nothing was learned from and nothing billed unless a job was made; one whose answer was lost is found later.
            if is_unknown(error):
                self.meter.lose(ticket, str(error))
            else:
                self.meter.settle(ticket, Spend(), {"given_up": 1})
                ended = self.meter.reserve(f"{key}/end", "tuning", Spend())
                self.meter.settle(ended, Spend(), {"status": "given up", "trained_tokens": 0})
            raise
        self.meter.settle(ticket, bound, {"job": job.id, "usd": bound.usd})
        return str(job.id)

    def _bound(self, train: bytes, rows: int, settings: Mapping[str, Any]) -> Spend:
        """Return the most a job may cost."""
        tokens = int((len(train) / BYTES_PER_TOKEN + PER_ROW * rows) * settings["epochs"])
        return Spend(usd=tokens * self.price / 1e6, tokens_in=tokens)

    def _settle_difference(self, key: str, job: Any, bound: Spend) -> None:
        """Book what the job cost less than was set aside for it: billed are the tokens it has trained on."""
        tokens = int(job.trained_tokens or 0)
        usd = tokens * self.price / 1e6 - bound.usd
        ticket = self.meter.reserve(f"{key}/end", "tuning", Spend(usd=max(0.0, usd)))
        spend = Spend(usd=usd, tokens_in=tokens - bound.tokens_in)
        self.meter.settle(ticket, spend, {"status": job.status, "trained_tokens": tokens})

    def _uploaded(self, content: bytes, part: str, kit: Kit) -> str:
        """Return the id of a file at the endpoint; nothing is sent where there is nothing."""
        if not content:
            return ""
        kit.progress(Progress(f"uploading {part} rows"))
        name = f"{part}-{hashlib.sha256(content).hexdigest()[:12]}.jsonl"
        return str(
            self._errands.do("a file", lambda sdk: sdk.files.create(file=(name, content), purpose="fine-tune")).id
        )

    def _waited(self, id_: str, kit: Kit) -> tuple[Any, bool]:
        """Return the job when it has ended, and True; at the deadline it is cancelled, so that it costs no more: False."""
        pause = LOOK_S[0]
        while True:
            job = self._errands.do("the job's state", lambda sdk: sdk.fine_tuning.jobs.retrieve(id_))
            if job.status in ENDED:
                return job, True
            self._tell(id_, job, kit)
            if kit.budget.remaining_s() <= 0:
                return self._errands.do("cancelling the job", lambda sdk: sdk.fine_tuning.jobs.cancel(id_)), False
            time.sleep(min(pause, max(0.05, kit.budget.remaining_s())))
            pause = min(LOOK_S[1], 1.5 * pause)

    def _tell(self, id_: str, job: Any, kit: Kit) -> None:
        events = self._errands.do("the job's events", lambda sdk: sdk.fine_tuning.jobs.list_events(id_, limit=1)).data
        kit.progress(
            Progress(f"job {job.status}: {self.redact(events[0].message)[:60]}" if events else f"job {job.status}")
        )


def _jsonl(rows: Sequence[Chat]) -> bytes:
    lines = [{"messages": [{"role": role, "content": text} for role, text in chat]} for chat in rows]
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines).encode("utf-8", "replace")
