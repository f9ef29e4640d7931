"""What actions of a race cost in seconds, dollars and tokens, and how scarce money counts."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fault_server import Fault, FaultServer, answer, to_probe
from studies import make_task

from whichway import Options, Watcher, load_task, run_study
from whichway.strategies.prompt import Prompt
from whichway.study import arena as module
from whichway.study import plan, pursuit
from whichway.study.arena import LOW, TOP, LiveArena
from whichway.study.beliefs import Arm
from whichway.study.ledger import Ledger

FAR = "  endpoints: {far: {base_url: 'URL', model: small, price: {input: 100.0, output: 0.0}}}\n"


def test_actions_are_written_down_with_what_was_expected_and_what_they_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pursuit, "RACE_FROM_S", 0.0)
    told: list[tuple[str, str]] = []
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}
    said = answer(json.dumps({"label": "refund"}), usage=usage)
    with FaultServer(lambda seen: to_probe(seen) or Fault(body=said)) as server:
        more = "strategies: {only: [majority, classic, prompt-zero@far]}\nmodels:\n" + FAR.replace(
            "URL", server.base_url
        )
        task = make_task(tmp_path, 400, more)
        task.write_text(task.read_text().replace("usd: 0}", "usd: 50}"))
        watcher = Watcher(progress=lambda name, one: told.append((name, one.what)))
        run_study(load_task(task), tmp_path / "run", Options(), watcher)
    ledger = Ledger(tmp_path / "run")
    (race,) = (details for what, details in ledger.decisions() if what == "race")
    ledger.close()
    (paid, *_) = (one for one in race["actions"] if one["arm"] == "prompt-zero@far")
    assert paid["tokens"] >= 32 * 102 and paid["usd"] == pytest.approx(1e-4 * 100 / 102 * paid["tokens"], rel=0.01)
    assert 0.1 < paid["expected_usd"] / paid["usd"] < 10 and paid["expected_s"] > 0 < paid["seconds"]
    lead = [what for name, what in told if name == "prompt-zero@far" and "leads" in what]
    standing = r"classic leads \S+ by \+0\.\d{3} on \d+ rows; \$\d+\.\d\d spent, \d+ s left to race"
    assert re.fullmatch(rf"0\.\d{{3}} on \d+ of 80 rows; {standing}", lead[0])
    assert all(one["usd"] == one["expected_usd"] == 0 for one in race["actions"] if "far" not in one["arm"])


def test_dollars_count_by_how_scarce_they_are() -> None:
    arena: Any = object.__new__(LiveArena)
    line = SimpleNamespace(name="far", way="prompt")
    arena.arms, arena.lines = (Arm("far", "far", 1, 0.0, 1.0, row_usd=0.1),), [line]
    arena.ended, arena.failed_arms, arena.pace, arena.price = set(), set(), {}, {}
    arena._scores, arena._stale, arena.reserved_usd, arena.left = {0: []}, set(), 1.0, lambda: 600.0
    arena.bench = SimpleNamespace(split=SimpleNamespace(folds=(SimpleNamespace(validation=("a",) * 99),)))
    costs = []
    for arena.money in (float("inf"), 101.0, 3.0, 1.0):
        costs.append(arena.cost(0, 10))
    assert costs == [
        10.0,
        10.0,
        300.0,
        float("inf"),
    ]  # a dollar of 100 left is less than 10 s of 600, one of two is half
    arena.price["prompt"] = [3.0, 3.0]
    arena.money = 3.0
    assert arena.cost(0, 10) == pytest.approx(700.0)  # the way costs about 2.3 times what was estimated


def test_estimates_of_model_work_follow_how_slow_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from whichway.models import hardware

    monkeypatch.setattr(hardware, "TIMED_S", 0.0)
    here = hardware.slowness.__wrapped__()
    monkeypatch.setattr(hardware, "REFERENCE", 1e3 * hardware.REFERENCE)
    assert 0 < here <= hardware.MOST_APART and hardware.slowness.__wrapped__() >= here
    monkeypatch.setattr(hardware, "REFERENCE", 1.0)
    assert hardware.slowness.__wrapped__() == 1 / hardware.MOST_APART
    assert hardware.slowness.__wrapped__(True) > 1 / hardware.MOST_APART, "fp32 has a reference of its own"


def test_how_slow_a_machine_is_is_not_judged_by_its_first_products(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from whichway.models import hardware

    was, turns = torch.nn.functional.linear, []

    def cold(*args: object) -> object:
        turns.append(len(turns))
        if len(turns) <= 4:
            time.sleep(0.2)  # longer than is timed
        return was(*args)

    warm = hardware.slowness.__wrapped__()
    monkeypatch.setattr(torch.nn.functional, "linear", cold)
    assert hardware.slowness.__wrapped__() < min(4 * warm, 45) and len(turns) > 4


def test_who_leads_is_told_by_the_rows_that_both_have_answered() -> None:
    import numpy as np

    arena: Any = object.__new__(LiveArena)
    arena.arms = (Arm("near", "near", 1, 0.0, 1.0), Arm("tuned", "tuned", 1, 0.0, 1.0))
    easy, hard = [1.0] * 30 + [0.0] * 2, [1.0] * 32 + [0.5] * 120  # the first 32 rows are easy
    arena.scores = lambda arm: np.array((easy, hard)[arm])
    assert np.mean(easy) > np.mean(hard) and arena._lead() == "tuned leads near by +0.062 on 32 rows"


@pytest.mark.parametrize(
    ("rung", "done", "learns"), [(LOW, 0, True), (LOW, 32, False), (TOP, 0, True), (TOP, 32, True)]
)
def test_answers_of_a_quarter_tell_nothing_of_how_long_sure_answers_take(
    rung: int, done: int, learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "guarded", lambda *_: True)
    monkeypatch.setattr(module, "spared_seconds", lambda *_: 0.0)
    arena: Any = object.__new__(LiveArena)
    arena.arms, arena.lines = (Arm("tuned", "tuned", 1, 0.0, 1.0, rung),), [SimpleNamespace(name="tuned", way="tuned")]
    arena.bench, arena.pace, arena.price, arena._stale = None, {}, {}, set()
    arena.scores, arena.bill, arena.left = lambda arm: [1.0] * done, lambda *_: (10.0, 0.0), lambda: 1.0
    arena._spent, arena._usd_left = lambda line: (0.0, 0), lambda: float("inf")
    arena._write_down = arena._tell = lambda *_: None
    arena.read(0, 64)
    assert bool(arena.pace.get("tuned")) == learns


def test_a_prompt_is_expected_to_begin_as_much_later_as_this_machine_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    from whichway.study.split import Fold

    monkeypatch.setattr(plan, "slowness", lambda exact=False: 10.0)
    monkeypatch.setattr(module, "estimate", lambda *_: SimpleNamespace(seconds=500.0, usd=0.0))
    arena: Any = object.__new__(LiveArena)
    split = SplitOf((Fold(("a",) * 90, ("b",) * 10, ()),), ())
    arena.rows, arena.bench = 10, SimpleNamespace(task=None, split=split)
    line: Any = SimpleNamespace(name="prompt-few", way="prompt", model="causal", strategy=Prompt(), is_local=True)
    arms = arena._arms_of(line, SimpleNamespace(examples=(), settings=None))
    assert arms[-1].fit_s == pytest.approx(5.0 + 10.0 * 3.0)


@dataclass(frozen=True)
class SplitOf:
    """As much of a split as an estimate looks at."""

    folds: tuple[Any, ...]
    validation: tuple[str, ...]
