"""The alarm clock of the time budget."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from whichway.errors import BudgetReached
from whichway.study.deadline import until

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no alarm clock")


def test_a_fit_that_looks_at_no_clock_is_cut_off_at_the_deadline():
    np = pytest.importorskip("numpy")
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(4000, 400)), rng.integers(0, 60, 4000)
    began = time.monotonic()
    with pytest.raises(BudgetReached), until(began + 0.5):
        linear.LogisticRegression(C=1e6, max_iter=100_000, tol=1e-12).fit(rows, labels)
    assert 0.4 < time.monotonic() - began < 3


def test_work_that_ends_in_time_is_not_disturbed_and_the_clock_is_put_back():
    before = signal.getsignal(signal.SIGALRM)
    with until(time.monotonic() + 0.2):
        done = sum(range(1000))
    time.sleep(0.3)
    assert done == 499500 and signal.getsignal(signal.SIGALRM) is before


def test_without_a_deadline_or_outside_the_main_thread_work_runs_to_its_end():
    found = []
    with until(float("inf")):
        found.append(1)

    def work():
        with until(time.monotonic() + 0.05):
            time.sleep(0.2)
            found.append(2)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [1, 2]
