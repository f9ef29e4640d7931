"""Fine-tuning behind an endpoint by OpenAI's files and jobs: estimated first, paid for once, taken up again after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
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

log = logging.getLogger("whichway")

Chat = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned model: its name at the endpoint, and the tokens that were trained on.

    `is_paid` is false where another run has made the job and paid for it.
    """

    name: str
    tokens: int
    is_paid: bool = True


class HostedTuning:
    """Fine-tuning jobs at one endpoint; `usd_per_million` is the price of training tokens."""

    def __init__(self, profile: Profile, usd_per_million: float, wire: Wire, redact: Redactor, meter: Meter) -> None:
        self.profile, self.price, self.redact, self.meter = profile, usd_per_million, redact, meter
        self._errands = Errands(profile, wire, redact, "fine-tuning", "Take fine_tuning: true off it.")

    def run(self, train: Sequence[Chat], dev: Sequence[Chat], settings: Mapping[str, Any], kit: Kit) -> Tuned:
        """Return the model that learned from chats ending in the right answer; `dev` rows go along as validation file.

        The same rows and settings are never paid for twice: the job is found in the ledger, or at the endpoint by its
        metadata. One that another run has made costs this run nothing, and is not this run's to cancel. Raises BudgetReached
        before anything is sent when the job could pass the cap; at the deadline the job is cancelled. Raises ProviderError
        when it fails.
        """
        files = [_jsonl(rows) for rows in (train, dev)]
        wanted = {"base": self.profile.model, "url": self.profile.base_url, **settings, "seed": kit.seed}
        said = json.dumps([CONTRACT, wanted, [hashlib.sha256(one).hexdigest() for one in files]], sort_keys=True)
        key = hashlib.sha256(said.encode()).hexdigest()
        key = self._place(key)
        known = self.meter.recall(f"{key}/job")
        made = known or self._created(key, files, len(train), settings, kit)
        job_id, is_paid = str(made["job"]), not made.get("by_another_run")
        job, in_time = self._waited(job_id, kit, is_paid)
        if (in_time or is_paid) and self.meter.recall(f"{key}/end") is None:
            self._settle_difference(key, job, self._bound(files[0], len(train), settings) if is_paid else None)
        if not in_time:
            raise BudgetReached(
                f"The time budget ended before the job {job_id} did; "
                + ("it was cancelled." if is_paid else "it goes on: another run has made it."),
                "Raise budget.minutes (or --budget-minutes) and run again.",
            )
        if job.status == "cancelled" and (known or not is_paid):  # by an earlier run, at its deadline
            return self.run(train, dev, settings, kit)
        if job.status != "succeeded":
            why = getattr(job.error, "message", "") or job.status
            raise ProviderError(
                f"The fine-tuning job {job_id} at {self.profile.name!r} {job.status}: {self.redact(why)[:LONGEST_PROBLEM]}",
                "Look at the job's events at the provider, then run the same command again: it makes a new job.",
            )
        return Tuned(str(job.fine_tuned_model), int(job.trained_tokens or 0), is_paid)

    def _place(self, key: str) -> str:
        """Return the key under which the job is kept: one that ended badly keeps its own, and a new one may be made."""
        turn = 0
        while (end := self.meter.recall(f"{key}/{turn}/end")) is not None and end["status"] != "succeeded":
            turn += 1
        return f"{key}/{turn}"

    def _created(
        self, key: str, files: Sequence[bytes], rows: int, settings: Mapping[str, Any], kit: Kit
    ) -> Mapping[str, Any]:
        """Return a new job, or one that is found under the same mark; what it may cost is committed with it."""
        mark = {"whichway": key[:32]}
        bound = self._bound(files[0], rows, settings)
        found = self._errands.do("listing jobs", lambda sdk: sdk.fine_tuning.jobs.list(limit=100))
        for job in found.data:
            if (job.metadata or {}) == mark and job.status not in ("failed", "cancelled"):
                return self._found(key, str(job.id), bound)
        ticket = self.meter.reserve(f"{key}/job", "tuning", bound)
        try:
            self._note_asked(key)
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
        made = {"job": job.id, "usd": bound.usd}
        self.meter.settle(ticket, bound, made)
        return made

    def _found(self, key: str, job_id: str, bound: Spend) -> Mapping[str, Any]:
        """Take up a job that this run had asked for, and whose reservation stays charged; or one that another run has made."""
        made: dict[str, Any] = {"job": job_id, "usd": bound.usd}
        if self.meter.recall(f"{key}/asked") is None:
            made = {"job": job_id, "usd": 0.0, "by_another_run": True}
            log.warning(
                "The endpoint %r: another run has made the fine-tuning job %s of the same rows and settings. "
                "It is used again and costs this run nothing.",
                self.profile.name,
                job_id,
            )
        ticket = self.meter.reserve(f"{key}/job", "tuning", Spend())
        self.meter.settle(ticket, Spend(), made)
        return made

    def _note_asked(self, key: str) -> None:
        """Write down, once the money is set aside, that this run asks for the job: one found later is then its own."""
        if self.meter.recall(f"{key}/asked") is None:
            self.meter.settle(self.meter.reserve(f"{key}/asked", "tuning", Spend()), Spend(), {"asked": True})

    def _bound(self, train: bytes, rows: int, settings: Mapping[str, Any]) -> Spend:
        """Return the most a job may cost."""
        tokens = int((len(train) / BYTES_PER_TOKEN + PER_ROW * rows) * settings["epochs"])
        return Spend(usd=tokens * self.price / 1e6, tokens_in=tokens)

    def _settle_difference(self, key: str, job: Any, bound: Spend | None) -> None:
        """Book what the job cost less than was set aside for it: billed are the tokens it has trained on.

        A job that ended without a word on them (cancelled while it ran, say) may be billed for some: then what was set aside
        stays charged. Without a bound nothing was set aside, because another run pays.
        """
        tokens = int(job.trained_tokens or 0)
        spend = Spend()
        if bound is not None and job.trained_tokens is not None:
            spend = Spend(usd=tokens * self.price / 1e6 - bound.usd, tokens_in=tokens - bound.tokens_in)
        ticket = self.meter.reserve(f"{key}/end", "tuning", Spend(usd=max(0.0, spend.usd)))
        self.meter.settle(ticket, spend, {"status": job.status, "trained_tokens": job.trained_tokens})

    def _uploaded(self, content: bytes, part: str, kit: Kit) -> str:
        """Return the id of a file at the endpoint; nothing is sent where there is nothing."""
        if not content:
            return ""
        kit.progress(Progress(f"uploading {part} rows"))
        name = f"{part}-{hashlib.sha256(content).hexdigest()[:12]}.jsonl"
        return str(
            self._errands.do("a file", lambda sdk: sdk.files.create(file=(name, content), purpose="fine-tune")).id
        )

    def _waited(self, id_: str, kit: Kit, is_paid: bool) -> tuple[Any, bool]:
        """Return the job when it has ended, and True; at the deadline, False.

        It is then cancelled, so that it costs no more, unless another run pays for it.
        """
        pause = LOOK_S[0]
        while True:
            job = self._errands.do("the job's state", lambda sdk: sdk.fine_tuning.jobs.retrieve(id_))
            if job.status in ENDED:
                return job, True
            self._tell(id_, job, kit)
            if kit.budget.remaining_s() <= 0:
                if not is_paid:
                    return job, False
                return self._cancelled(id_), False
            time.sleep(min(pause, max(0.05, kit.budget.remaining_s())))
            pause = min(LOOK_S[1], 1.5 * pause)

    def _cancelled(self, id_: str) -> Any:
        """Cancel a job; look once more where the answer does not yet say how many tokens are billed."""
        job = self._errands.do("cancelling the job", lambda sdk: sdk.fine_tuning.jobs.cancel(id_))
        if job.trained_tokens is None:
            with contextlib.suppress(ProviderError):
                job = self._errands.do("the job's state", lambda sdk: sdk.fine_tuning.jobs.retrieve(id_))
        return job

    def _tell(self, id_: str, job: Any, kit: Kit) -> None:
        events = self._errands.do("the job's events", lambda sdk: sdk.fine_tuning.jobs.list_events(id_, limit=1)).data
        kit.progress(
            Progress(f"job {job.status}: {self.redact(events[0].message)[:60]}" if events else f"job {job.status}")
        )


def _jsonl(rows: Sequence[Chat]) -> bytes:
    lines = [{"messages": [{"role": role, "content": text} for role, text in chat]} for chat in rows]
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines).encode("utf-8", "replace")
