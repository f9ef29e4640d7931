"""Work that looks at no clock, a library's fit or one long prediction, is cut off when the time budget ends."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from whichway.errors import BudgetReached


@contextlib.contextmanager
def until(deadline: float) -> Iterator[None]:
    """Raise BudgetReached in the work inside at `deadline`, a moment of time.monotonic().

    By the process's alarm clock, so in its main thread only and where there is one (not on Windows); elsewhere the work
    runs to its end. Nothing of it is committed before it ends, so nothing is half done.
    """
    able = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not able or math.isinf(deadline):
        yield
        return

    def ring(*_: Any) -> None:
        raise BudgetReached("The time budget is used up.", "Raise budget.minutes (or --budget-minutes) and run again.")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, deadline - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
