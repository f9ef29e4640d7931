"""The ledger: reserve, settle, lose; the cap; one writer; nothing half-written; nothing forgotten."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from whichway.core.model import Spend
from whichway.core.task import Prediction
from whichway.errors import BudgetReached, LedgerError
from whichway.study.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    book = Ledger(tmp_path / "run", 1.0)
    yield book
    book.close()


def spent(book: Ledger) -> float:
    return sum(one.usd for *_, one in book.spends())


def states(book: Ledger) -> list[str]:
    return [state for _, _, state, _ in book.spends()]


def test_a_settled_unit_is_recalled_and_costs_what_it_cost(ledger):
    ticket = ledger.reserve("k", "prompt", "fit", Spend(usd=0.5))
    ledger.settle(ticket, Spend(seconds=2, usd=0.1, tokens_in=7, tokens_out=3), {"text": "Grüße"})
    assert ledger.recall("k") == {"text": "Grüße"}
    assert ledger.spends() == [("prompt", "fit", "settled", Spend(2.0, 0.1, 7, 3, 0))]


def test_only_committed_results_are_recalled(ledger):
    ledger.reserve("open", "t", "fit", Spend())
    lost = ledger.reserve("lost", "t", "fit", Spend())
    ledger.lose(lost, "timeout")
    assert ledger.recall("open") is None
    assert ledger.recall("lost") is None
    assert ledger.recall("never seen") is None


def test_a_lost_unit_stays_charged_in_full(ledger):
    ledger.lose(ledger.reserve("k", "t", "fit", Spend(usd=0.7)), "the connection broke")
    assert spent(ledger) == pytest.approx(0.7)
    with pytest.raises(BudgetReached):
        ledger.reserve("other", "t", "fit", Spend(usd=0.4))


def test_a_reservation_that_could_pass_the_cap_is_refused_before_the_call(ledger):
    ledger.reserve("one", "t", "fit", Spend(usd=0.6))
    with pytest.raises(BudgetReached) as caught:
        ledger.reserve("two", "t", "fit", Spend(usd=0.5))
    assert "$0.6000 of $1.0000" in caught.value.problem
    assert "--budget-usd" in caught.value.fix
    assert states(ledger) == ["reserved"]


def test_settling_frees_what_was_set_aside_and_not_needed(ledger):
    ledger.settle(ledger.reserve("one", "t", "fit", Spend(usd=0.9)), Spend(usd=0.1), {})
    assert ledger.reserve("two", "t", "fit", Spend(usd=0.9))


def test_work_that_costs_no_money_goes_on_when_the_cap_is_reached(ledger):
    ledger.lose(ledger.reserve("one", "t", "fit", Spend(usd=1.0)), "x")
    assert ledger.reserve("local", "t", "fit", Spend())


def test_eight_threads_never_pass_the_cap_together(ledger):
    def work(number: int) -> int:
        done = 0
        for turn in range(20):
            try:
                ticket = ledger.reserve(f"{number}-{turn}", "t", "fit", Spend(usd=0.03))
            except BudgetReached:
                continue
            ledger.settle(ticket, Spend(usd=0.02), {})
            done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(work, range(8)))
    assert spent(ledger) == pytest.approx(0.02 * done)
    assert spent(ledger) <= 1.0
    assert done >= 40  # 49 fit; a refusal while others hold reservations may cost a few


def test_reopening_turns_what_a_killed_process_had_reserved_into_a_loss_charged_in_full(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from whichway.study.ledger import Ledger; "
        "from whichway.core.model import Spend; book = Ledger(Path(sys.argv[1]), 1.0); "
        "book.settle(book.reserve('done', 't', 'fit', Spend(usd=.2)), Spend(usd=.1), {'x': 1}); "
        "book.reserve('open', 't', 'fit', Spend(usd=.5)); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    book = Ledger(tmp_path, 1.0)
    assert spent(book) == pytest.approx(0.6)
    assert sorted(states(book)) == ["lost", "settled"]
    assert book.recall("done") == {"x": 1}
    with pytest.raises(BudgetReached):
        book.reserve("again", "t", "fit", Spend(usd=0.45))
    book.close()


def row(name: str, value="a") -> tuple[str, Prediction, float]:
    return name, Prediction(value, 0.75, {"a": 0.75, "b": 0.25}), 1.0


def test_a_block_comes_back_as_it_was_committed(ledger):
    ticket = ledger.reserve("b", "t", "validation", Spend())
    lost = ("r2", Prediction("b", 0.5, None, parsed=False), 0.0)
    cites = ("r3", Prediction("c", 0.5, sources=("d",), passages=("D: it says so.", "D: and so.")), 1.0)
    ledger.commit_block(ticket, Spend(seconds=1), "t", "validation", [row("r1", ("a", "b")), lost, cites])
    found = ledger.predictions("t", "validation")
    assert found == {"r1": row("r1", ("a", "b"))[1:], "r2": lost[1:], "r3": cites[1:]}
    assert ledger.predictions("t", "test") == {}
    assert ledger.recall("b") == {"rows": 3}


def test_a_block_is_committed_whole_or_not_at_all(ledger):
    first = ledger.reserve("b1", "t", "validation", Spend())
    ledger.commit_block(first, Spend(), "t", "validation", [row("r1")])
    second = ledger.reserve("b2", "t", "validation", Spend())
    with pytest.raises(Exception, match="UNIQUE"):
        ledger.commit_block(second, Spend(), "t", "validation", [row("r2"), row("r1")])
    assert set(ledger.predictions("t", "validation")) == {"r1"}
    assert ledger.recall("b2") is None


def test_an_exception_inside_a_transaction_undoes_all_of_it(ledger):
    with pytest.raises(KeyboardInterrupt):
        with ledger.transaction() as db:
            db.exec_driver_sql("INSERT INTO about VALUES ('k', '1')")
            raise KeyboardInterrupt
    assert ledger.noted("k") is None
    ledger.note("k", 2)
    assert ledger.noted("k") == 2


def test_a_second_opener_is_refused_at_once_and_told_who_holds_the_folder(ledger):
    with pytest.raises(LedgerError) as caught:
        Ledger(ledger.folder)
    assert f"pid {os.getpid()}" in caught.value.problem
    assert caught.value.exit_code == 2


def test_a_closed_ledger_can_be_opened_again_and_counts_the_time_of_both(tmp_path):
    first = Ledger(tmp_path)
    first.close()
    second = Ledger(tmp_path)
    assert 0 < second.earlier_seconds() < second.session_seconds()
    second.close()


@pytest.mark.parametrize("damage", ["text", "page"])
def test_a_damaged_file_is_an_error_with_a_fix_and_is_left_as_it_is(tmp_path, damage):
    book = Ledger(tmp_path)
    for number in range(300):
        book.note(f"key {number}", "x" * 200)
    book.close()
    file = tmp_path / "ledger.db"
    content = bytearray(file.read_bytes())
    content[:] = (
        b"this is no database, " * 400 if damage == "text" else content[:8192] + b"\xff" * 8192 + content[16384:]
    )
    file.write_bytes(content)
    with pytest.raises(LedgerError) as caught:
        Ledger(tmp_path)
    assert str(file) in caught.value.problem and caught.value.fix
    assert file.read_bytes() == content
    file.unlink()
    Ledger(tmp_path).close()  # the lock was given back


def test_a_decision_is_written_down_once(ledger):
    ledger.decide("opened", {"n": 1})
    ledger.decide("opened", {"n": 1})
    ledger.decide("opened", {"n": 2})
    assert ledger.decisions() == [("opened", {"n": 1}), ("opened", {"n": 2})]


def test_a_trial_keeps_its_facts_until_it_is_forgotten_and_its_cost_after_that(ledger):
    ledger.set_trial("t", "running", facts={"key": "k"})
    ledger.set_trial("t", "done")
    assert ledger.trial("t") == ("done", "", {"key": "k"})
    ledger.commit_block(ledger.reserve("b", "t", "validation", Spend()), Spend(usd=0.1), "t", "validation", [row("r")])
    ledger.forget_trial("t")
    assert ledger.trial("t") is None and ledger.predictions("t", "validation") == {}
    assert spent(ledger) == pytest.approx(0.1)


def test_vectors_come_back_byte_for_byte_and_may_be_kept_twice(ledger):
    many = {f"k{i}": bytes([i % 256]) * 8 for i in range(1200)}
    ledger.keep_vectors(many)
    ledger.keep_vectors(many)
    assert ledger.vectors([*many, "unknown"]) == many


def test_the_file_survives_power_cuts_because_it_is_written_ahead_and_synchronously(ledger):
    with ledger.transaction() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    users_own = sqlite3.connect(f"file:{ledger.folder / 'ledger.db'}?mode=ro", uri=True)
    assert users_own.execute("SELECT count(*) FROM units").fetchone() == (0,)
    users_own.close()


class Book(RuleBasedStateMachine):
    """Any order of reserving, settling, losing and reopening: what is used never passes the cap."""

    CAP = 1.0
    MONEY = st.integers(0, 60).map(lambda cents: cents / 100)

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.book = Ledger(self.folder, self.CAP)
        self.open: dict[int, float] = {}
        self.charged = 0.0
        self.number = 0

    @rule(usd=MONEY)
    def reserve(self, usd: float) -> None:
        fits = usd == 0 or self.charged + sum(self.open.values()) + usd <= self.CAP + 1e-9
        self.number += 1
        try:
            self.open[self.book.reserve(f"k{self.number}", "t", "fit", Spend(usd=usd))] = usd
        except BudgetReached:
            assert not fits or abs(self.charged + sum(self.open.values()) + usd - self.CAP) < 1e-9

    @precondition(lambda self: self.open)
    @rule(share=st.floats(0, 1))
    def settle(self, share: float) -> None:
        ticket, usd = self.open.popitem()
        self.book.settle(ticket, Spend(usd=usd * share), {})
        self.charged += usd * share

    @precondition(lambda self: self.open)
    @rule()
    def lose(self) -> None:
        ticket, usd = self.open.popitem()
        self.book.lose(ticket, "x")
        self.charged += usd

    @rule()
    def reopen(self) -> None:
        self.book.close()
        self.book = Ledger(self.folder, self.CAP)
        self.charged += sum(self.open.values())
        self.open = {}

    @invariant()
    def what_is_used_never_passes_the_cap(self) -> None:
        assert spent(self.book) == pytest.approx(self.charged)
        assert self.charged + sum(self.open.values()) <= self.CAP + 1e-9

    def teardown(self) -> None:
        self.book.close()
        shutil.rmtree(self.folder)


TestBook = Book.TestCase
TestBook.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
