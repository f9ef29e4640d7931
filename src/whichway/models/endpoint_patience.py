"""How long to try: the waits between attempts, and when an endpoint counts as out of order."""

from __future__ import annotations

import math
import random
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

GROWTH = 0.25  # calls more at once, per round of answers


@dataclass(frozen=True)
class Patience:
    """Attempts per call, the waits between them in seconds, and how many failures in a row are too many.

    The breaker opens when `in_a_row` calls have failed for good without a success between them, or when at least as
    many attempts have, over at least `open_after_s` seconds.
    """

    attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 60.0
    in_a_row: int = 10
    open_after_s: float = 10.0

    def wait_s(self, turn: int, retry_after: str, seed: str) -> float:
        """Return the seconds to wait after attempt `turn` (from 1): what the endpoint asks for, at most `cap_s`.

        Without a usable Retry-After: exponential backoff with full jitter. The same seed gives the same wait.
        """
        chance = random.Random(f"{seed}/{turn}").random()
        asked = _asked_s(retry_after)
        if asked > 0:
            return min(self.cap_s, asked * (1 + 0.1 * chance))
        return min(self.cap_s, self.base_s * 2.0 ** (turn - 1)) * chance


class Throttle:
    """How many calls may be under way at once, learnt from how often the endpoint says that there are too many.

    Additive increase, multiplicative decrease, as in TCP (Chiu and Jain 1989): a refusal halves the limit, at most once in
    `pause_s`; four times as many answers as the limit add one, up to `most`.
    """

    def __init__(self, most: int, pause_s: float = 0.2) -> None:
        self.most, self.pause_s = most, pause_s
        self.limit = float(most)
        self._turn = threading.Condition()
        self._under_way, self._cut_at = 0, -math.inf

    def __enter__(self) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._under_way < int(self.limit))
            self._under_way += 1

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self._under_way -= 1
            self._turn.notify()

    def refused(self) -> None:
        """Halve the limit, unless that was done a moment ago: one burst of refusals is one piece of news."""
        with self._turn:
            if time.monotonic() - self._cut_at >= self.pause_s:
                self._cut_at = time.monotonic()
                self.limit = max(1.0, self.limit / 2)

    def answered(self) -> None:
        """Let the limit grow by one for four times as many answers as it allows at once."""
        with self._turn:
            self.limit = min(float(self.most), self.limit + GROWTH / self.limit)
            self._turn.notify()


class Breaker:
    """Counts failures in a row over all threads; a success forgives them all."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._guard = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forgive everything."""
        with self._guard:
            self._calls = self._attempts = 0
            self._since = math.inf

    def attempt_failed(self) -> bool:
        """Count an attempt that failed through no fault of the request; return whether that is one too many."""
        with self._guard:
            self._attempts += 1
            self._since = min(self._since, time.monotonic())
            lasted = time.monotonic() - self._since
            return self._attempts >= self.patience.in_a_row and lasted >= self.patience.open_after_s

    def call_failed(self) -> bool:
        """Count a call that was given up; return whether that is one too many."""
        with self._guard:
            self._calls += 1
            return self._calls >= self.patience.in_a_row


def _asked_s(retry_after: str) -> float:
    """Return the seconds a Retry-After header asks for, as a number or a date; 0 where it makes no sense."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return seconds if seconds > 0 else 0.0  # also for NaN
