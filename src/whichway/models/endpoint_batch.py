"""Many calls as one batch by OpenAI's files and /v1/batches, at its discount: paid for once, taken up again after a kill."""

from __future__ import annotations

import hashlib
import json
import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whichway.core.model import Meter, Reply, Spend
from whichway.errors import BudgetReached, ProviderError
from whichway.models.endpoint_call import written_down
from whichway.models.endpoint_errand import Errands, is_unknown
from whichway.models.endpoint_reply import LONGEST_PROBLEM, read_answer
from whichway.models.endpoint_request import Job, Profile, make_body, most_it_may_cost, room_for
from whichway.models.endpoint_wire import Redactor, Wire
from whichway.models.pricing import Tariff

FEWEST = 20  # requests at once that are worth a batch; fewer go singly, at the ordinary price
MOST = 50_000  # requests that a batch may hold; what is beyond goes singly
LOOK_S = (0.5, 60.0)  # between two looks at a batch: the first, and the longest
ENDED = ("completed", "failed", "expired", "cancelled")
CONTRACT = 1


class Batches:
    """Batches at one endpoint; `tariff` is what tokens cost within them, `options` those it is not known to refuse."""

    def __init__(self, profile: Profile, tariff: Tariff, wire: Wire, redact: Redactor, meter: Meter) -> None:
        self.profile, self.tariff, self.redact, self.meter = profile, tariff, redact, meter
        self._errands = Errands(profile, wire, redact, "batches", "Take batch: true off it.")

    def answered(self, keys: Sequence[str], jobs: Sequence[Job], options: frozenset[str]) -> dict[str, Reply]:
        """Return replies by key, of those jobs that a batch has answered; the others are left to single calls.

        `keys` are all requests asked for together: they tell a batch that a killed run had made, found in the ledger or at
        the endpoint by its metadata. Raises BudgetReached before anything is sent when all of it could pass the cap, and at
        the deadline, when the batch goes on at the endpoint and the same command finds its answers later.
        """
        place, has_ended = self._place(keys)
        known = self.meter.recall(f"{place}/job")
        if has_ended or (known is None and len(jobs) < FEWEST):
            return {}
        if known is None:
            known = self._created(place, jobs[:MOST], options)
        batch = self._waited(str(known["batch"]))
        replies = self._settled({job.key: job for job in jobs}, batch, frozenset(known["options"]))
        # Every answer is booked at its own price; what was set aside for all of them together is given back.
        self._book(f"{place}/end", {"status": batch.status}, -float(known["usd"]))
        if batch.status == "failed":
            said = "; ".join(str(one.message) for one in (getattr(batch.errors, "data", None) or ())[:3])
            raise ProviderError(
                f"The batch {batch.id} at {self.profile.name!r} failed: {self.redact(said)[:LONGEST_PROBLEM]}",
                "Look at it there, then run the same command again: it makes a new batch. Or take batch: true off it.",
            )
        return replies

    def is_open(self, keys: Sequence[str]) -> bool:
        """Tell whether a batch of these requests was made and is not settled."""
        place, has_ended = self._place(keys)
        return not has_ended and self.meter.recall(f"{place}/job") is not None

    def _place(self, keys: Sequence[str]) -> tuple[str, bool]:
        """Return where a batch is kept, and whether it has ended; one that failed or was cancelled may be made anew."""
        said = json.dumps([CONTRACT, self.profile.base_url, self.profile.model, sorted(set(keys))])
        key, turn = hashlib.sha256(said.encode()).hexdigest(), 0
        while (end := self.meter.recall(f"batch {key}/{turn}/end")) is not None:
            if end["status"] in ("completed", "expired"):
                return f"batch {key}/{turn}", True
            turn += 1
        return f"batch {key}/{turn}", False

    def _created(self, place: str, jobs: Sequence[Job], options: frozenset[str]) -> Mapping[str, Any]:
        """Return what is kept of a new batch, or of one which a killed run had made; the most it may cost is booked with it."""
        mark = {"whichway": self._nonce(place)}
        bodies = [make_body(self.profile.model, job.request, options) for job in jobs]
        bound = sum((most_it_may_cost(self.tariff, body) for body in bodies), Spend())
        kept = {"usd": bound.usd, "options": sorted(options)}
        for batch in self._errands.do("its batches", lambda sdk: sdk.batches.list(limit=100)).data:
            if (batch.metadata or {}) == mark:
                self._book(f"{place}/job", {**kept, "batch": batch.id})  # a killed run's reservation stays charged
                return {**kept, "batch": batch.id}
        ticket = self.meter.reserve(f"{place}/job", "batch", bound)
        lines = [_line(job.key, body) for job, body in zip(jobs, bodies, strict=True)]
        content = "".join(lines).encode("utf-8", "replace")
        name = f"batch-{hashlib.sha256(content).hexdigest()[:12]}.jsonl"
        body: dict[str, Any] = {"endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": mark}
        try:
            file = self._errands.do("a file", lambda sdk: sdk.files.create(file=(name, content), purpose="batch"))
            body["input_file_id"] = file.id
            made = self._errands.do("a batch", lambda sdk: sdk.batches.create(**body), tries=1)
        except BaseException as error:
            # Nothing is billed unless a batch was made; one whose answer was lost is found later by its metadata.
            if is_unknown(error):
                self.meter.lose(ticket, str(error))
            else:
                self.meter.settle(ticket, Spend(), {**kept, "batch": "", "usd": 0.0})
                self._book(f"{place}/end", {"status": "given up"})
            raise
        self.meter.settle(ticket, Spend(usd=bound.usd), {**kept, "batch": made.id})
        return {**kept, "batch": made.id}

    def _waited(self, id_: str) -> Any:
        """Return the batch when it has ended; raises BudgetReached at the deadline, and leaves it to go on."""
        pause, deadline = LOOK_S[0], float(getattr(self.meter, "deadline", math.inf))
        while True:
            batch = self._errands.do("the batch's state", lambda sdk: sdk.batches.retrieve(id_))
            if batch.status in ENDED:
                return batch
            left = deadline - time.monotonic()
            if left <= 0:
                raise BudgetReached(
                    f"The time budget ended before the batch {id_} at {self.profile.name!r} did. It goes on there.",
                    "Raise budget.minutes (or --budget-minutes) and run again later: its answers are found and not paid twice.",
                )
            time.sleep(min(pause, max(0.05, left)))
            pause = min(LOOK_S[1], 1.5 * pause)

    def _settled(self, jobs: Mapping[str, Job], batch: Any, options: frozenset[str]) -> dict[str, Reply]:
        """Book each answer of a batch under the key of its request; lines without one (refused, expired) are left out."""
        replies: dict[str, Reply] = {}
        if not batch.output_file_id:
            return replies
        content = self._errands.do("the batch's answers", lambda sdk: sdk.files.content(batch.output_file_id).content)
        for key, body in _answers(content):
            job = jobs.get(key)
            if job is None or key in replies:
                continue
            prompt = [text for _, text in job.request.messages]
            answer = read_answer(json.dumps(body), prompt, room_for(job.request, options), True)
            spend = most_it_may_cost(self.tariff, make_body(self.profile.model, job.request, options))
            if answer.usage is not None:
                spend = self.tariff.cost(answer.usage, 0.0)
            replies[key], kept = written_down(answer, spend, self.redact, 1)
            ticket = self.meter.reserve(job.place, "batched", Spend())
            self.meter.settle(ticket, spend, kept)
        return replies

    def _nonce(self, place: str) -> str:
        """Return what a batch is marked with at the endpoint: no other study's batch has it, and a killed run's has the same."""
        known = self.meter.recall(f"{place}/mark")
        return str(known["mark"]) if known else str(self._book(f"{place}/mark", {"mark": uuid.uuid4().hex})["mark"])

    def _book(self, key: str, result: dict[str, Any], usd: float = 0.0) -> dict[str, Any]:
        self.meter.settle(self.meter.reserve(key, "batch", Spend()), Spend(usd=usd), result)
        return result


def _line(key: str, body: Mapping[str, Any]) -> str:
    said = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(said, ensure_ascii=False) + "\n"


def _answers(content: bytes) -> Iterator[tuple[str, Any]]:
    """Yield (key, chat completion) of the lines that hold one."""
    for line in content.decode("utf-8-sig", "replace").split("\n"):
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        reply = said.get("response") if isinstance(said, dict) else None
        if isinstance(reply, dict) and reply.get("status_code") == 200 and isinstance(said.get("custom_id"), str):
            yield said["custom_id"], reply.get("body")
