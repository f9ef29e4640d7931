"""What is done at an endpoint beside chat (files, jobs, batches) by OpenAI's SDK: tried again, and told clearly when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from whichway.errors import BudgetReached, NotApplicable, ProviderError
from whichway.models.endpoint_reply import LONGEST_PROBLEM, complaint
from whichway.models.endpoint_request import Profile
from whichway.models.endpoint_wire import Outcome, Redactor, Wire

TRIES = 6  # of a request that fails for reasons of the network or the server
AGAIN = (408, 409, 429, 500, 502, 503, 504, 529)


@dataclass(frozen=True)
class Errands:
    """Errands at one endpoint; `what` it is to offer is told, with `fix`, where it does not."""

    profile: Profile
    wire: Wire
    redact: Redactor
    what: str
    fix: str

    def do(self, thing: str, act: Callable[[Any], Any], tries: int = TRIES) -> Any:
        """Return what the SDK gives; what fails for reasons of the network or the server is tried again.

        Raises NotApplicable where the endpoint knows no such thing, and ProviderError for all else that goes wrong.
        """
        outcome: Outcome | None = None
        for turn in range(tries):
            found, outcome = self.wire.act(act, self.profile.timeout_s)
            if outcome is None:
                return found
            if outcome.kind == "answered" and outcome.status not in AGAIN:
                break
            if turn + 1 < tries:
                time.sleep(min(8.0, 0.25 * 2.0**turn))
        assert outcome is not None
        said = self.redact(complaint(outcome.text) or outcome.problem)[:LONGEST_PROBLEM]
        status = f"HTTP {outcome.status}: " if outcome.status else ""
        problem = f"The endpoint {self.profile.name!r} does not give {thing}: {status}{said}"
        if outcome.status in (404, 405, 501):
            raise NotApplicable(f"{problem}. It seems to offer no {self.what}.", self.fix)
        raise ProviderError(
            problem, "Look at the endpoint, then run the same command again: nothing is paid for twice."
        )


def is_unknown(error: BaseException) -> bool:
    """Tell whether a job may have been made though nobody has heard of it."""
    return not isinstance(error, NotApplicable | BudgetReached) and not (
        isinstance(error, ProviderError) and "HTTP 4" in error.problem
    )
