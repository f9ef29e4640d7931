"""Writes of many threads are committed together: fewer commits, none lost, and each waits for its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from whichway.core.model import Spend
from whichway.errors import BudgetReached
from whichway.study.commits import Commits
from whichway.study.ledger import Ledger


class Disk:
    """Counts commits, each of which takes a moment; `broken` makes the next ones fail."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.commits, self.broken = 0, False

    @contextmanager
    def transaction(self) -> Iterator[list[int]]:
        writes: list[int] = []
        yield writes
        threading.Event().wait(0.01)
        if self.broken:
            raise OSError("no space left")
        self.kept += writes
        self.commits += 1


def test_what_waits_is_committed_together_and_nothing_is_lost():
    disk = Disk()
    commits = Commits(threading.RLock(), disk.transaction)

    def write(number: int) -> int:
        found = commits.make(lambda kept: (kept.append(number), number * 2)[1])
        assert number in disk.kept, "it comes back before it is committed"
        return int(found)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(write, range(200))) == [2 * number for number in range(200)]
    assert sorted(disk.kept) == list(range(200)) and disk.commits < 60


def test_a_commit_that_fails_is_told_to_everybody_it_was_for_and_the_next_one_works():
    disk = Disk()
    commits = Commits(threading.RLock(), disk.transaction)
    disk.broken = True
    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(commits.make, lambda kept: kept.append(1)) for _ in range(4)]
        assert all(isinstance(one.exception(), OSError) for one in ends)
    disk.broken = False
    commits.make(lambda kept: kept.append(7))
    assert disk.kept == [7]


def test_a_reservation_that_could_not_be_written_sets_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ledger = Ledger(tmp_path, usd_cap=1.0)

    def fails(_: Any) -> Any:
        raise OSError("no space left")

    monkeypatch.setattr(ledger._commits, "make", fails)
    with pytest.raises(OSError, match="no space"):
        ledger.reserve("a", "t", "fit:call", Spend(usd=0.9))
    monkeypatch.undo()
    ledger.settle(ledger.reserve("b", "t", "fit:call", Spend(usd=0.9)), Spend(usd=0.5), {})
    assert sum(one.usd for *_, one in ledger.spends()) == 0.5
    ledger.close()


def test_threads_together_never_set_more_aside_than_the_cap(tmp_path: Path):
    ledger = Ledger(tmp_path, usd_cap=1.0)

    def reserve(number: int) -> int:
        try:
            return ledger.reserve(f"k{number}", "t", "fit:call", Spend(usd=0.1))
        except BudgetReached:
            return 0

    with ThreadPoolExecutor(16) as pool:
        tickets = [one for one in pool.map(reserve, range(64)) if one]
    assert len(tickets) == 10 and len(set(tickets)) == 10
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda one: ledger.settle(one, Spend(usd=0.05), {"ticket": one}), tickets))
    assert sum(one.usd for *_, one in ledger.spends()) == pytest.approx(0.5)
    assert len([one for one in map(reserve, range(100, 120)) if one]) == 5, "what was given back may be used"
    ledger.close()
