"""What an endpoint offers, found out by two small calls once per study: answers by a schema, log-probabilities, a temperature."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence

from whichway.core.model import Meter, Reply, Request, Spend
from whichway.models.endpoint_call import Caller
from whichway.models.endpoint_reply import LABEL
from whichway.models.endpoint_request import Job, Profile, job_key, recall_reply

PROBE = 1  # raise it when the calls are others, or are read in another way
WORDS = ("yes", "no")
CALLS = (
    Request((("user", "Is ice frozen water? Answer yes or no."),), 16, choices=WORDS),
    Request((("user", "Write the word yes and nothing else."),), 16),
)


def learn_offer(caller: Caller, profile: Profile, meter: Meter) -> None:
    """Tell the caller which options are worth sending: what the ledger says of this endpoint and model, else what it shows.

    What is refused costs nothing; what is taken and then not done is left out from then on, too: a schema that no answer
    keeps, log-probabilities that never come. That the calls fail does not count against the endpoint: they may ask for more
    than it can do, and the study's own calls tell whether it is dead. Raises BudgetReached, and ProviderError where no request
    can succeed.
    """
    key = _key(profile)
    known = meter.recall(key)
    if known is not None:
        caller.keep_options(frozenset(known["options"]))
        return
    replies = [_answered(caller, profile, meter, one) for one in CALLS]
    if any(one.finish == "failed" for one in replies):
        return  # nothing is known; what comes tells, as it comes
    caller.keep_options(caller.options - _ignored(replies))
    ticket = meter.reserve(key, "probe", Spend())
    meter.settle(
        ticket, Spend(), {"options": sorted(caller.options), "base_url": profile.base_url, "model": profile.model}
    )


def _key(profile: Profile) -> str:
    said = json.dumps([PROBE, profile.base_url.rstrip("/"), profile.model])
    return f"probe {hashlib.sha256(said.encode()).hexdigest()}"


def _answered(caller: Caller, profile: Profile, meter: Meter, request: Request) -> Reply:
    found = recall_reply(meter, Job(job_key(profile, request, 0), request))
    return found if isinstance(found, Reply) else caller.ask(found, threading.Event(), counts=False)


def _ignored(replies: Sequence[Reply]) -> frozenset[str]:
    """Return the options that were taken and had no effect; of an answer that was cut off nothing is concluded."""
    held, free = replies
    ignored = set()
    if held.finish == "stop" and not _is_held(held.text):
        ignored.add("response_format")
    whole = [one for one in (held, free) if one.finish == "stop"]
    if whole and not any(one.top_logprobs for one in whole):
        ignored.add("logprobs")
    return frozenset(ignored)


def _is_held(text: str) -> bool:
    try:
        said = json.loads(text)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get(LABEL) in WORDS
