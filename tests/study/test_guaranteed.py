"""G1, G2 and G3: who errs how often, where the e-process does not hold, and what the report is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import make_task, report_of

from whichway import load_task
from whichway.study import pursuit
from whichway.study.arena import LiveArena
from whichway.study.certify import level_of_each
from whichway.study.evidence import clopper_pearson
from whichway.study.guarantee import log_evidence, threshold
from whichway.study.guaranteed import RULED_OUT, guarantees, not_exchangeable
from whichway.study.ledger import Ledger
from whichway.study.lines import make_lines
from whichway.study.run import make_bench

ARMS, ROWS = 16, 300


def needed() -> Any:
    """Return int [ROWS + 1]: how many of so many rows that tell two arms apart one must win, to rule the other out."""
    found, wins = [], 1
    for total in range(ROWS + 1):
        while wins <= total and log_evidence(wins, total - wins) < threshold(ARMS):
            wins += 1
        found.append(wins)
    return np.array(found)


def ruled_out(right: Any, arm: int) -> Any:
    """Return bool [studies]: whether some other arm rules this one out at any look; right: bool [studies, arms, rows]."""
    others = np.delete(right, arm, axis=1)
    own = right[:, arm : arm + 1]
    wins, losses = (np.cumsum(one, axis=2, dtype=np.int16) for one in (others & ~own, own & ~others))
    return (wins >= needed()[wins + losses]).any(axis=(1, 2))


@pytest.mark.parametrize(("best", "others"), [(0.7, 0.7), (0.73, 0.7)])
def test_the_best_of_sixteen_is_ruled_out_in_at_most_one_study_of_twenty_though_all_look_after_every_row(best, others):
    rng, studies = np.random.default_rng(0), 800
    share = np.full(ARMS, others)
    share[0] = best
    hard = rng.normal(0, 0.1, (studies, 1, ROWS))  # of a hard row fewer are right
    wrong = int(ruled_out(rng.random((studies, ARMS, ROWS)) < share[:, None] - hard, 0).sum())
    assert clopper_pearson(wrong, studies)[1] <= 0.05
    assert best > others or wrong > 0, "between equals a test that never errs tests nothing"


def test_an_arm_that_is_clearly_worse_is_ruled_out():
    rng, share = np.random.default_rng(0), np.full(ARMS, 0.7)
    share[-1] = 0.4
    assert ruled_out(rng.random((100, ARMS, ROWS)) < share[:, None], ARMS - 1).mean() > 0.95


def test_intervals_of_three_finalists_hold_together_as_often_as_they_say():
    rng, rows, studies = np.random.default_rng(0), 400, 3000
    shares = np.array([0.9, 0.85, 0.8])
    ends = np.array([clopper_pearson(hits, rows, level_of_each(3)) for hits in range(rows + 1)])
    hits = rng.binomial(rows, shares, (studies, 3))
    joint = ((ends[hits, 0] <= shares) & (shares <= ends[hits, 1])).all(axis=1).mean()
    assert 0.93 <= joint <= 0.98


@pytest.mark.parametrize(
    ("rows", "more", "why"),
    [(480, "", ""), (200, "", "cross-fitting"), (480, "group: amount\n", "groups")],
)
def test_the_e_process_is_not_used_with_groups_or_folds(tmp_path: Path, rows: int, more: str, why: str) -> None:
    loaded = load_task(make_task(tmp_path, rows, more + "strategies: {only: [majority, classic]}\n"))
    ledger = Ledger(tmp_path / "run", 0.0)
    bench = make_bench(loaded, ledger, 600.0)
    arena = LiveArena(bench, make_lines(loaded.task, loaded.settings), loaded, lambda: 0.0)
    said = not_exchangeable(bench)
    no_mean = not_exchangeable(replace(bench, task=replace(bench.task, metric=_NoMean())))
    ledger.close()
    assert arena.is_exchangeable is (why == "") and why in said and bool(said) is bool(why)
    assert no_mean == "macro_f1 is not a mean over rows"


class _NoMean:
    name, is_mean, bounds = "macro_f1", False, (0.0, 1.0)


def test_the_intervals_of_the_report_are_those_that_hold_together(finished: Path) -> None:
    report = report_of(finished / "run")
    found, finalists = report["guarantees"]["g2"], [one for one in report["trials"] if one["test"]]
    assert len(finalists) == 2 and found["exact"] and found["level"] == 0.95
    assert found["level_of_each"] == pytest.approx(0.975)
    assert {one["strategy"]: one["n"] for one in found["finalists"]} == {
        one["strategy"]: one["test"]["n"] for one in finalists
    }
    for one in finalists:
        size = one["test"]["n"]
        ends = clopper_pearson(round(one["test"]["value"] * size), size, found["level_of_each"])
        assert (one["test"]["low"], one["test"]["high"]) == pytest.approx(ends, abs=1e-6)


def test_report_and_terminal_say_what_is_guaranteed_and_what_is_an_estimate(finished: Path) -> None:
    report, page = report_of(finished / "run"), (finished / "run" / "report.md").read_text().replace("\\", "")
    g1, g3 = report["guarantees"]["g1"], report["guarantees"]["g3"]
    assert (g1["used"], g1["ruled_out"], g1["why_not"]) == (False, [], "no race was run, so nothing was ruled out")
    assert g3["p_best"] == report["recommendation"]["p_best"]
    for text in (" ".join((finished / "out").read_text().split()), page):
        assert "(G1): no race was run, so nothing was ruled out." in text
        assert (
            "(G2): the test intervals of classic and majority hold together with probability at least 95% (97.5% each"
            in text
        )
        assert "Estimates, by models that may be wrong (G3): every probability (for classic: P(best) " in text
    assert "## What is guaranteed, and what is an estimate" in page and "(estimate) it is within" in page


def test_who_was_ruled_out_is_told_apart_from_who_was_dropped_by_estimate(tmp_path: Path) -> None:
    loaded = load_task(make_task(tmp_path, 400, "strategies: {only: [majority, classic, probe]}\n"))
    ledger = Ledger(tmp_path / "run", 0.0)
    bench, lines = make_bench(loaded, ledger, 600.0), make_lines(loaded.task, loaded.settings)
    ledger.decide("race", {"dropped": {}})
    ledger.set_trial("majority", "dropped", f"{RULED_OUT}classic: it alone is right on 30 of their shared rows")
    ledger.set_trial("probe", "dropped", "not pursued: 0.500 on 32 rows")
    found = guarantees(bench, lines, {"labels_of": []})["g1"]
    ledger.close()
    assert (found["used"], found["ruled_out"], found["by_estimate"]) == (True, ["majority"], ["probe"])


def test_the_race_names_who_it_rules_out_in_the_words_that_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    arena: Any = type("Arena", (), {"is_exchangeable": True, "arms": range(3), "lines": [], "cost": lambda *_: 1.0})()
    line = type("Line", (), {"name": "a"})()
    arena.lines, arena.scores = [line] * 3, lambda arm: np.full(64, float(arm == 1))
    assert pursuit._why(arena, 0, 1, np.array([0.0, 1.0, 0.0]), np.full(3, 0.1)).startswith(RULED_OUT)
