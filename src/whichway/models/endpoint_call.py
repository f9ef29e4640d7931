"""One metered call to an endpoint: reserve -> attempts -> settle, so that what it costs is never unknown."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from whichway.core.model import Meter, Reply, Spend
from whichway.errors import BudgetReached, ProviderError
from whichway.models.endpoint_patience import Breaker, Patience, Throttle
from whichway.models.endpoint_reply import (
    ALL_OPTIONS,
    LONGEST_PROBLEM,
    Answer,
    complaint,
    is_out_of_credit,
    read_answer,
    refused_options,
)
from whichway.models.endpoint_request import Job, Profile, make_body, most_it_may_cost, room_for, sent_options
from whichway.models.endpoint_wire import Outcome, Redactor, Wire

TURNED_AWAY = (429, 503, 529)  # rejected before any work was done, so not billed
WRONG_SETUP = (401, 402, 403, 404, 405)  # no other request would fare better

log = logging.getLogger("whichway")


@dataclass
class _Course:
    """How far one call has come; `counts`: its failures speak against the endpoint."""

    job: Job
    options: frozenset[str]
    left_s: float
    counts: bool = True
    ticket: int | None = None
    bound: Spend = field(default_factory=Spend)
    turn: int = 0


class Till:
    """A meter that waits: near the cap, a call is refused only when no other call under way may give money back."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._turn = threading.Condition()
        self._trying = self._open = self._closed = 0

    def reserve(self, key: str, bound: Spend, stop: threading.Event) -> int:
        """Set aside the most a call may cost; raises BudgetReached.

        Many threads reserve at a time, so that the ledger commits them together.
        """
        while True:
            with self._turn:
                self._trying += 1
            try:
                ticket = self.meter.reserve(key, "call", bound)
            except BudgetReached:
                if self._is_hopeless(stop):
                    raise
            except BaseException:
                self._tried(0)
                raise
            else:
                self._tried(1)
                return ticket

    def _tried(self, opened: int) -> None:
        with self._turn:
            self._trying -= 1
            self._open += opened
            self._turn.notify_all()

    def _is_hopeless(self, stop: threading.Event) -> bool:
        """After a refusal: tell whether no call is under way or about to be; else wait until one has ended."""
        with self._turn:
            self._trying -= 1
            seen = self._closed
            if stop.is_set() or not (self._open or self._trying):
                self._turn.notify_all()
                return True
            self._turn.wait_for(lambda: self._closed != seen or stop.is_set() or not (self._open or self._trying))
            return False

    def settle(self, ticket: int, spend: Spend, result: Mapping[str, Any]) -> None:
        """Commit what a call cost and brought."""
        try:
            self.meter.settle(ticket, spend, result)
        finally:
            self._close()

    def lose(self, ticket: int, reason: str) -> None:
        """Keep the reservation charged."""
        try:
            self.meter.lose(ticket, reason)
        finally:
            self._close()

    def note_rejected(self, key: str, seconds: float, reason: str) -> None:
        """Write down an attempt that cost nothing; the money stays set aside for the next one."""
        ticket = self.meter.reserve(f"{key}/rejected", "rejected", Spend())
        self.meter.settle(ticket, Spend(seconds=seconds), {"rejected": reason})

    def _close(self) -> None:
        with self._turn:
            self._open -= 1
            self._closed += 1
            self._turn.notify_all()


class Caller:
    """Makes calls to one endpoint and remembers what it learns about it; safe to use from several threads."""

    def __init__(
        self, profile: Profile, till: Till, patience: Patience, wire: Wire, redact: Redactor, throttle: Throttle
    ) -> None:
        self.profile, self.till, self.patience = profile, till, patience
        self.throttle = throttle
        self.wire, self.redact = wire, redact
        self.breaker = Breaker(patience)
        self.has_answered = False
        self._options, self._says_why = ALL_OPTIONS, False
        self._warned: set[str] = set()
        self._guard = threading.Lock()

    @property
    def options(self) -> frozenset[str]:
        """The options that the endpoint is not known to refuse."""
        return self._options

    def keep_options(self, options: frozenset[str]) -> None:
        """Send no other options from now on: what the endpoint offers is known, and so is that it answers."""
        with self._guard:
            self._options &= options
            self.has_answered = True

    def ask(self, job: Job, stop: threading.Event, counts: bool = True) -> Reply:
        """Return the reply of one request; raises BudgetReached, and ProviderError where no request can succeed.

        All attempts together are on the wire for at most `timeout_s`; waits between them come on top. Without `counts` the
        breaker hears of no failure of this request: it asks for what the endpoint may not be able to do.
        """
        course = _Course(job, self._options, self.profile.timeout_s, counts)
        while True:
            reply = self._attempt(course, stop)
            if reply is not None:
                return reply

    def _attempt(self, course: _Course, stop: threading.Event) -> Reply | None:
        """Make one attempt, with a reservation of its own unless the last one was rejected at no cost."""
        body = make_body(self.profile.model, course.job.request, course.options)
        if course.ticket is None:
            bound = most_it_may_cost(self.profile.tariff, body)
            course.ticket, course.bound = self.till.reserve(course.job.place, bound, stop), bound
        ticket = course.ticket
        try:
            with self.throttle:
                if stop.is_set():  # perhaps while it waited for its place
                    self._close(course, Spend(), {"given_up": "the batch was stopped"})
                    return Reply("", finish="failed", problem="the batch was stopped")
                began = time.monotonic()
                outcome = self.wire.post(body, course.left_s)
                seconds = time.monotonic() - began
                if outcome.status in WRONG_SETUP:  # before anybody takes this place
                    stop.set()
            if outcome.status == 429:
                self.throttle.refused()
            elif 200 <= outcome.status < 300:  # an error, or silence, is no word that more would be welcome
                self.throttle.answered()
            course.left_s -= seconds
            return self._judge(course, outcome, seconds, stop)
        except BaseException as error:
            if course.ticket == ticket:  # nobody settled it
                self._close(course, None, {"reason": type(error).__name__})
            raise

    def _judge(self, course: _Course, outcome: Outcome, seconds: float, stop: threading.Event) -> Reply | None:
        """Settle an attempt by what came of it; None asks for another one."""
        if outcome.kind in ("broken", "too_late", "unreachable"):
            return self._retry(course, outcome, seconds, self.redact(outcome.problem)[:LONGEST_PROBLEM], stop)
        if 200 <= outcome.status < 300:
            return self._accept(course, outcome, seconds)
        what = self.redact(complaint(outcome.text) or outcome.problem)[:LONGEST_PROBLEM]
        problem = f"HTTP {outcome.status}" + (f": {what}" if what else "")
        if outcome.status >= 500 or (outcome.status == 429 and not is_out_of_credit(outcome.text)):
            return self._retry(course, outcome, seconds, problem, stop)
        if outcome.status in (*WRONG_SETUP, 429) or outcome.status < 400:
            self._close(course, Spend(seconds=seconds), {"given_up": problem})
            raise ProviderError(f"The endpoint {self.profile.name!r} answers {problem}", self._fix(outcome.status))
        refused = refused_options(what, sent_options(course.job.request, course.options))
        if refused:
            self.till.note_rejected(course.job.place, seconds, problem)
            course.options -= refused
            return None
        return self._finish(course, Spend(seconds=seconds), Answer(problem=problem), {})

    def _accept(self, course: _Course, outcome: Outcome, seconds: float) -> Reply:
        """Commit an answer with what it cost: by its own account, or the most it may have cost."""
        prompt = [text for _, text in course.job.request.messages]
        limit = room_for(course.job.request, course.options)
        answer = Answer(problem=f"bad response: {outcome.problem}", is_nonsense=True)
        if outcome.kind == "answered":
            answer = read_answer(outcome.text, prompt, limit, self._says_why)
        spend = replace(course.bound, seconds=seconds)
        more: dict[str, Any] = {}
        if answer.usage is not None:
            spend = self.profile.tariff.cost(answer.usage, seconds)
        if spend.usd > course.bound.usd * (1 + 1e-9):
            more["above_bound"] = True
            self._warn("bill", "its answer was billed above the most it may cost; check `price` and hidden reasoning.")
        if answer.model and answer.model != self.profile.model:
            self._warn(answer.model, f"asked for {self.profile.model!r}, it answers as {self.redact(answer.model)!r}.")
        self._learn(course, answer)
        reply = self._finish(course, spend, answer, more)
        if answer.is_nonsense and course.counts and self.breaker.call_failed():
            raise self._out_of_order(reply.problem)
        return reply

    def _learn(self, course: _Course, answer: Answer) -> None:
        if answer.is_nonsense:
            return
        self.breaker.reset()
        with self._guard:
            self.has_answered = True
            self._says_why |= answer.says_why
            self._options &= course.options
        if "temperature" not in course.options:
            self._warn("temperature", "it takes no temperature, so its answers may differ from run to run.")

    def _finish(self, course: _Course, spend: Spend, answer: Answer, more: Mapping[str, Any]) -> Reply:
        """Commit a final answer under the key of its request."""
        reply, kept = written_down(answer, spend, self.redact, course.turn + 1)
        kept |= more
        self._close(course, spend, kept)
        return reply

    def _retry(
        self, course: _Course, outcome: Outcome, seconds: float, problem: str, stop: threading.Event
    ) -> Reply | None:
        """Wait for another attempt; when there is none left, give the call up."""
        course.turn += 1
        unknown = outcome.kind != "unreachable" and outcome.status not in TURNED_AWAY
        is_last = course.turn >= self.patience.attempts or course.left_s <= 0.01 or stop.is_set()
        is_open = course.counts and outcome.status != 429 and self.breaker.attempt_failed()
        if unknown:
            self._close(course, None, {"reason": problem})
        elif is_last or is_open:
            self._close(course, Spend(seconds=seconds), {"given_up": problem})
        else:
            self.till.note_rejected(course.job.place, seconds, problem)
        if is_open or (is_last and course.counts and not stop.is_set() and self.breaker.call_failed()):
            raise self._out_of_order(problem)
        if is_last or stop.wait(self.patience.wait_s(course.turn, outcome.retry_after, course.job.key)):
            if course.ticket is not None:
                self._close(course, Spend(), {"given_up": problem})
            return Reply("", Spend(seconds=seconds), "failed", f"given up after {course.turn} attempts: {problem}")
        return None

    def _close(self, course: _Course, spend: Spend | None, result: Mapping[str, Any]) -> None:
        """Settle the open ticket; a spend of None means that it is unknown."""
        ticket, course.ticket = course.ticket, None
        assert ticket is not None
        if spend is None:
            self.till.lose(ticket, str(result["reason"]))
        else:
            self.till.settle(ticket, spend, result)

    def _fix(self, status: int) -> str:
        where = f"models.endpoints.{self.profile.name}"
        if status in (401, 403):
            variable = self.profile.key_env
            key = f"the key in {variable}" if variable else f"`key_env`, which is not set, of {where}"
            return f"Check {key}, then run the same command again."
        if status in (402, 429):
            return "Check the credit of this account, then run the same command again."
        return f"Check `base_url` and `model` of {where}, then run the same command again."

    def _out_of_order(self, problem: str) -> ProviderError:
        self.breaker.reset()
        return ProviderError(
            f"The endpoint {self.profile.name!r} failed too many times in a row; the last time: {problem}",
            "Run the same command again when it works: nothing paid for is lost.",
        )

    def _warn(self, what: str, text: str) -> None:
        with self._guard:
            is_new = what not in self._warned
            self._warned.add(what)
        if is_new:
            log.warning("The endpoint %r: %s", self.profile.name, text)


def written_down(answer: Answer, spend: Spend, redact: Redactor, attempts: int) -> tuple[Reply, dict[str, Any]]:
    """Return the reply that an answer makes, and what is kept of it under the key of its request."""
    text = redact(answer.text)
    logprobs = answer.top_logprobs if text == answer.text else ()
    reply = Reply(text, spend, answer.finish, redact(answer.problem), logprobs)
    kept = {"text": reply.text, "finish": reply.finish, "problem": reply.problem, "top_logprobs": list(logprobs)}
    return reply, {**kept, "model": redact(answer.model), "attempts": attempts, **asdict(spend)}
