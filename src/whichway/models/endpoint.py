"""Any OpenAI-compatible endpoint, every call of it metered."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from whichway.core.model import Meter, Reply, Request
from whichway.core.strategy import Kit
from whichway.errors import NotApplicable, ProviderError, UsageError
from whichway.models.endpoint_batch import FEWEST, Batches
from whichway.models.endpoint_call import Caller, Till
from whichway.models.endpoint_patience import Patience, Throttle
from whichway.models.endpoint_probe import learn_offer
from whichway.models.endpoint_request import Job, Profile, recall_reply, request_keys
from whichway.models.endpoint_tuning import HostedTuning, Tuned
from whichway.models.endpoint_wire import Redactor, Wire
from whichway.models.pricing import known_price, training_price
from whichway.registry import register

PATIENCE = Patience()
GRACE_S = 3.0  # how long an interrupted batch waits for answers that are already paid for


class Renamed:
    """Settings of an endpoint with another model, at the price of a fine-tuned one."""

    def __init__(self, settings: Any, model: str, price: Any) -> None:
        self.model, self.price = model, price
        for name in ("base_url", "key_env", "max_concurrency", "timeout_s"):
            setattr(self, name, getattr(settings, name))


@register("model", "endpoint")
class EndpointModel:
    """A model behind an endpoint; `settings` is the Endpoint of the task file.

    Raises UsageError where the price is unknown. What was committed under the same request is never asked again.
    `in_study`: two calls before the first one find out what it offers, and with `batch: true` many calls go as a batch.
    """

    is_local = False

    def __init__(
        self,
        name: str,
        settings: Any,
        meter: Meter,
        patience: Patience = PATIENCE,
        in_study: bool = False,
        throttle: Throttle | None = None,
    ) -> None:
        self.throttle = throttle or Throttle(settings.max_concurrency)
        self.name, self.settings, self.meter, self.patience = name, settings, meter, patience
        self.in_study = in_study
        self._profile = Profile(
            name,
            settings.base_url,
            settings.model,
            settings.key_env,
            settings.timeout_s,
            known_price(name, settings).plain,
        )
        self._till = Till(meter)
        self._caller: Caller | None = None

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each request, in order; a failed one is a Reply with finish='failed' and its problem.

        Raises BudgetReached when the next call would pass the cap, ProviderError when the endpoint refuses the key, the
        model or ten calls in a row, and UsageError when the key is missing; never before calls under way are settled.
        The same request is asked once, unless a temperature above 0 makes its answers differ.
        """
        keys = request_keys(self._profile, requests)
        replies: dict[str, Reply] = {}
        jobs = []
        for key, request in dict(zip(keys, requests, strict=True)).items():
            found = recall_reply(self.meter, Job(key, request))
            if isinstance(found, Reply):
                replies[key] = found
            else:
                jobs.append(found)
        if self.in_study and getattr(self.settings, "batch", False):
            replies.update(self._batched(keys, jobs))
            jobs = [job for job in jobs if job.key not in replies]
        # What begins alike goes out together, so that the provider finds it in its prompt cache.
        jobs.sort(key=lambda job: job.request.messages[:-1])
        if jobs:
            caller = self._ready()
            # The first call goes alone: what the endpoint refuses is then learnt at the price of one call.
            alone = 0 if caller.has_answered else 1
            for batch in (jobs[:alone], jobs[alone:]):
                replies.update(self._run(caller, batch))
        return [replies[key] for key in keys]

    def _batched(self, keys: Sequence[str], jobs: Sequence[Job]) -> dict[str, Reply]:
        """Return the replies of those jobs that a batch answers; few jobs are left to single calls."""
        key, tariff = self._key(), known_price(self.name, self.settings).batch
        wire = Wire(self._profile.base_url, key, 2)
        try:
            batches = Batches(self._profile, tariff, wire, Redactor(key), self.meter)
            if len(jobs) < FEWEST and not batches.is_open(keys):
                return {}
            return batches.answered(keys, jobs, self._ready().options)
        except NotApplicable as no:  # of no other use either, until the task file is mended
            raise ProviderError(no.problem, no.fix) from no
        finally:
            wire.close()

    def tune(self, train: Sequence[Any], dev: Sequence[Any], settings: Mapping[str, Any], kit: Kit) -> Tuned:
        """Fine-tune the model behind the endpoint on chats that end in the right answer; see HostedTuning.run."""
        if not getattr(self.settings, "fine_tuning", False):
            raise NotApplicable(
                f"{self.name!r} is not said to fine-tune.", "Say so: fine_tuning: true at the endpoint."
            )
        key = self._key()
        wire = Wire(self._profile.base_url, key, 2)
        try:
            tuning = HostedTuning(
                self._profile, training_price(self.name, self.settings), wire, Redactor(key), self.meter
            )
            return tuning.run(train, dev, settings, kit)
        finally:
            wire.close()

    def tuned(self, model: str) -> EndpointModel:
        """Return the endpoint with another model, one that was fine-tuned there: together they ask as much as it takes."""
        price = known_price(self.name, self.settings)
        renamed = Renamed(self.settings, model, price.tuned or price.plain)
        return EndpointModel(self.name, renamed, self.meter, self.patience, self.in_study, self.throttle)

    def _ready(self) -> Caller:
        """Return the caller, made at the first call."""
        if self._caller is None:
            key = self._key()
            wire = Wire(self._profile.base_url, key, self.settings.max_concurrency)
            weakref.finalize(self, wire.close)
            caller = Caller(self._profile, self._till, self.patience, wire, Redactor(key), self.throttle)
            if self.in_study:
                learn_offer(caller, self._profile, self.meter)
            self._caller = caller
        return self._caller

    def _key(self) -> str:
        variable = self._profile.key_env
        if variable is None:
            return ""
        key = os.environ.get(variable, "").strip()
        if not key:
            raise UsageError(
                f"The endpoint {self.name!r} needs a key, but the environment variable {variable} is not set.",
                f"Set it: export {variable}=...",
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError(
                f"The environment variable {variable} holds characters that no key has.",
                f"Set it again, without quotes or line breaks: export {variable}=...",
            )
        return key

    def _run(self, caller: Caller, jobs: Sequence[Job]) -> dict[str, Reply]:
        """Make calls in threads; after the first error no new one is started, and it is raised when all have ended."""
        if not jobs:
            return {}
        stop = threading.Event()
        replies: dict[str, Reply] = {}

        def work(job: Job) -> None:
            if stop.is_set():
                return
            try:
                replies[job.key] = caller.ask(job, stop)
            except BaseException:
                stop.set()
                raise

        # Half as many more get ready and are booked meanwhile: the throttle lets as many onto the wire as the user allows.
        most = self.settings.max_concurrency
        pool = ThreadPoolExecutor(min(len(jobs), most + most // 2), thread_name_prefix="endpoint")
        futures: list[Future[None]] = []
        try:
            futures.extend(pool.submit(work, job) for job in jobs)
            wait(futures)
        finally:
            self._end(caller, stop, futures)
            pool.shutdown(wait=False, cancel_futures=True)
        for future in futures:
            future.result()
        return replies

    def _end(self, caller: Caller, stop: threading.Event, futures: Sequence[Future[None]]) -> None:
        """After an interruption: start nothing, wait a little for answers under way, and cut the rest off."""
        if all(future.done() for future in futures):
            return
        stop.set()
        for future in futures:
            future.cancel()
        try:
            wait(futures, GRACE_S)
        finally:
            if not all(future.done() for future in futures):
                caller.wire.cut()
                self._caller = None
                wait(futures, GRACE_S)
