"""The race inside a real study: what is dropped, why, and that nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from studies import make_task

from whichway import Options, Watcher, load_task, registry, run_study
from whichway.core.task import Prediction
from whichway.errors import BudgetReached
from whichway.report.verdict import certainty
from whichway.study import growth, pursuit, run
from whichway.study.ledger import Ledger
from whichway.study.lines import make_lines
from whichway.study.split import DEV_SHARE, make_split


@dataclass(frozen=True)
class Noise:
    """Answers that have nothing to do with the row."""

    fitted: ClassVar[list[int]] = []
    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False

    def fit(self, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        self.fitted.append(len(train))
        return self.load(task, kit.folder, kit)

    def load(self, task: Any, folder: Path, kit: Any) -> Any:
        return _Noise(task.output.names)


@dataclass(frozen=True)
class _Noise:
    names: tuple[str, ...]

    def predict(self, inputs: Any) -> list[Prediction]:
        return [Prediction(self.names[len(str(row)) % len(self.names)], 0.5) for row in inputs]

    def save(self, folder: Path) -> None:
        """Keep nothing."""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Return a function that runs a study of four ways in a folder, raced whatever it would take."""
    registry.names("strategy")
    monkeypatch.setitem(registry._things["strategy"], "noise", Noise)
    monkeypatch.setattr(pursuit, "RACE_FROM_S", 0.0)
    Noise.fitted.clear()
    loaded = load_task(make_task(tmp_path, 600, "strategies: {only: [majority, classic, noise]}\n"))

    def run(**options: Any) -> dict[str, Any]:
        report = run_study(loaded, tmp_path / "run", Options(**options), Watcher())
        return {one["strategy"]: one for one in report["trials"]} | {"": report}

    run.folder = tmp_path / "run"  # type: ignore[attr-defined]
    return run


def test_a_way_that_is_clearly_worse_is_dropped_on_its_first_rows_with_the_reason(study):
    found = study()
    assert found["classic"]["state"] == "done" and found[""]["recommendation"]["strategy"] == "classic"
    dropped = [found[name] for name in ("majority", "noise") if found[name]["state"] == "dropped"]
    assert len(dropped) == 1  # two are kept, to have something to compare with
    (one,) = dropped
    assert one["validation"]["n"] < found["classic"]["validation"]["n"]
    assert one["reason"].startswith("ruled out by classic: it alone is right on")
    verdict = found[""]["recommendation"]
    assert 0.0 <= verdict["p_missed"] < 0.1 and verdict["level"] == "decided"
    (said,) = (one for one in verdict["reasons"] if "left aside by the race" in one)
    assert one["strategy"] in said
    assert not one["finalist"]
    assert any(said.startswith(f"{one['strategy']}: dropped") for said in found[""]["recommendation"]["not_tested"])


def test_a_verdict_is_no_surer_than_the_race_that_left_a_way_aside(study, monkeypatch):
    monkeypatch.setattr(
        pursuit, "passing", lambda arena, beliefs, found, gap, over=None: dict.fromkeys(found.behind, 0.3)
    )
    raced = study()[""]["recommendation"]
    assert raced["p_missed"] == pytest.approx(0.3) and raced["level"] == "leaning"
    assert any("may be better by more than 0.02 with probability 30%" in one for one in raced["reasons"])
    whole = study(exhaustive=True)[""]["recommendation"]
    assert whole["p_missed"] == 0 and whole["level"] == "decided"


def test_nothing_is_decided_about_ways_that_the_budget_has_stopped(study, monkeypatch):
    monkeypatch.setattr(Noise, "fit", _out_of_time)
    found = study(exhaustive=True)
    verdict = found[""]["recommendation"]
    assert (found["noise"]["state"], verdict["not_reached"]) == ("stopped", ["noise"])
    assert (verdict["strategy"], verdict["level"], verdict["p_missed"]) == ("classic", "leaning", 0.0)
    assert any(one.startswith("noise was not run to the end for want of budget") for one in verdict["reasons"])
    assert "no other way that was run to its end is better" in certainty(found[""])


def test_the_test_of_those_kept_is_reserved_before_the_first_of_them_is_finished(study, monkeypatch):
    kept: list[float] = []
    monkeypatch.setattr(run, "test_seconds", lambda bench, name: 20.0)
    monkeypatch.setattr(run, "run_trial", lambda bench, line, spare_s: kept.append(spare_s))
    study()
    assert kept and kept[0] >= 1.2 * 2 * 20


def _out_of_time(*_: Any) -> Any:
    raise BudgetReached("The time budget is used up.")


@pytest.mark.parametrize("metric", ["token_f1", "distinctness"])
def test_a_metric_of_which_single_rows_tell_nothing_is_not_raced(tmp_path, monkeypatch, metric):
    rows = "".join(f'{{"id": "r{i}", "q": "ask {i}", "output": "say {i}"}}\n' for i in range(200))
    (tmp_path / "rows.jsonl").write_text(rows)
    head = (
        "task: t\ninstruction: Say it.\ndata: {train: rows.jsonl}\ninputs: [q]\ntarget: output\noutput: {shape: text}\n"
    )
    (tmp_path / "task.yaml").write_text(
        f"{head}metric: {metric}\nstrategies: {{only: [majority, extractive, finetune]}}\n"
    )
    loaded = load_task(tmp_path / "task.yaml")
    monkeypatch.setattr(pursuit, "RACE_FROM_S", 0.0)
    lines = [replace(one, excluded="") for one in make_lines(loaded.task, loaded.settings)]
    split = make_split(loaded.examples, None, 0)
    bench: Any = SimpleNamespace(task=loaded.task, metric=loaded.task.metric, split=split)
    assert pursuit.worth_racing(bench, lines, loaded) == (metric == "token_f1")


def test_successive_halving_can_be_asked_for(study):
    found = study(allocation="halving")
    assert found["classic"]["state"] == "done" and found[""]["recommendation"]["strategy"] == "classic"
    assert "dropped" in {found["majority"]["state"], found["noise"]["state"]}


def test_exhaustive_and_named_ways_are_run_to_the_end(study):
    named = study(only=("majority", "classic", "noise"))
    assert {named[name]["state"] for name in ("majority", "classic", "noise")} == {"done"}


def test_exhaustive_takes_up_what_the_race_had_dropped_and_does_nothing_twice(study):
    before = study()
    ledger = Ledger(study.folder)
    fits = sum(phase == "fit" for _, phase, *_ in ledger.spends())
    ledger.close()
    again = study()
    assert {n: one["state"] for n, one in again.items() if n} == {n: one["state"] for n, one in before.items() if n}
    assert Noise.fitted.count(Noise.fitted[0]) == 1
    whole = study(exhaustive=True)
    assert {whole[name]["state"] for name in ("majority", "classic", "noise")} == {"done"}
    sizes = {whole[name]["validation"]["n"] for name in ("majority", "classic", "noise")}
    assert len(sizes) == 1 and Noise.fitted.count(Noise.fitted[0]) == 1  # the race's fit is the trial's
    ledger = Ledger(study.folder)
    assert sum(phase == "fit" for _, phase, *_ in ledger.spends()) == fits
    ledger.close()


def test_a_larger_budget_races_again_what_a_smaller_one_has_dropped(study, monkeypatch):
    def races() -> list[dict[str, Any]]:
        ledger = Ledger(study.folder)
        found = [said for what, said in ledger.decisions() if what == "race"]
        ledger.close()
        return found

    first = study(minutes=10.0)
    assert study(minutes=10.0)[""]["state"] == "finished" and len(races()) == 1
    assert races()[0]["order"][0] == races()[0]["leader"] == "classic" and races()[0]["minutes"] == 10.0
    (name,) = (name for name, one in first.items() if name and one["state"] == "dropped")
    monkeypatch.setattr(pursuit, "_why", lambda *_: "raced again")
    again = study(minutes=20.0)
    assert len(races()) == 2 and races()[1]["minutes"] == 20.0
    assert (again[name]["state"], again[name]["reason"]) == ("dropped", "raced again")
    assert {one["state"] for key, one in again.items() if key and key != name} == {"done"}


def test_a_rung_learns_from_as_many_rows_as_it_says(study, monkeypatch):
    monkeypatch.setattr(growth, "LEARNING", ("noise",))
    (found,) = study(only=("majority", "noise"))[""]["labels"]
    lower = [rung["labels"] for rung in found["rungs"]][:-1]
    assert {size - round(DEV_SHARE * size) for size in lower} <= set(Noise.fitted)


def test_growth_is_measured_on_nested_rungs_and_foretold(study):
    (grown,) = study()[""]["labels"]
    sizes = [rung["labels"] for rung in grown["rungs"]]
    assert grown["strategy"] == "classic" and sizes == [sizes[-1] // 8, sizes[-1] // 4, sizes[-1] // 2, sizes[-1]]
    values = [rung["value"] for rung in grown["rungs"]]
    assert values[-1] > values[0]
    last = grown["band"][-1]
    assert last["labels"] == 4 * sizes[-1] and last["low"] <= last["value"] <= last["high"]
    even = grown["break_even"]
    assert even["against"] in ("majority", "noise") and even["available"] > 0.9
