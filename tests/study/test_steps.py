"""A line that goes on: it is trained on a quarter of its labels first, and that fit is a part of the one on all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from studies import make_task

from whichway import Options, Watcher, load_task, registry, run_study
from whichway.core.strategy import ONWARD
from whichway.core.task import Example, Prediction
from whichway.study import arena, growth, pursuit
from whichway.study.bench import fitted, step_of
from whichway.study.ledger import Ledger
from whichway.study.split import Fold


@dataclass(frozen=True)
class Steps:
    """Knows a share of all words by the rows that it has seen, those of the fit that it goes on from included."""

    fits: ClassVar[list[tuple[int, int]]] = []  # rows, and rows of what it went on from
    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = True
    continues: ClassVar[bool] = True

    def fit(self, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        rows = len(train) + len(dev)
        before = int((kit.begun / "rows").read_text()) if kit.begun is not None and kit.begun.exists() else 0
        self.fits.append((rows, before))
        if kit.is_step:
            (kit.folder / ONWARD).mkdir()
            (kit.folder / ONWARD / "rows").write_text(str(rows))
        (kit.folder / "known").write_text(f"{rows} {before}")
        return self.load(task, kit.folder, kit)

    def load(self, task: Any, folder: Path, kit: Any) -> Any:
        return _Steps(task.output.names, folder)


@dataclass(frozen=True)
class _Steps:
    names: tuple[str, ...]
    folder: Path

    def predict(self, inputs: Any) -> list[Prediction]:
        rows, before = map(int, (self.folder / "known").read_text().split())
        return [Prediction(self.names[(len(str(row)) + rows + before) % len(self.names)], 0.5) for row in inputs]

    def save(self, folder: Path) -> None:
        """It is there."""


@pytest.fixture
def study(tmp_path, monkeypatch):
    registry.names("strategy")
    monkeypatch.setitem(registry._things["strategy"], "steps", Steps)
    monkeypatch.setattr(pursuit, "RACE_FROM_S", 0.0)
    monkeypatch.setattr(arena, "WORTH_A_RUNG_S", 0.0)
    for module in (arena, growth):
        monkeypatch.setattr(module, "LEARNING", ("steps",))
    Steps.fits.clear()
    loaded = load_task(make_task(tmp_path, 600, "strategies: {only: [majority, classic, steps]}\n"))

    def run(name: str, **options: Any) -> Any:
        run_study(loaded, tmp_path / name, Options(**options), Watcher())
        ledger = Ledger(tmp_path / name)
        found = ledger.predictions("steps", "validation"), ledger.spends(), ledger.decisions()
        ledger.close()
        return found

    run.folder = tmp_path  # type: ignore[attr-defined]
    return run


def test_a_raced_trial_is_the_very_fit_of_an_exhaustive_one_and_nothing_is_trained_twice(study):
    whole, spends, _ = study("whole", exhaustive=True)
    (quarter, none), (everything, before), *_ = Steps.fits
    assert (none, before) == (0, quarter) and everything // 4 == quarter
    assert sum(trial == "steps" and phase == "step" for trial, phase, *_ in spends) == 1
    fits = [one for one in Steps.fits if one[0] == quarter]
    assert len(fits) == 1  # the curve's rung of a quarter is the same fit
    assert not list(study.folder.rglob(ONWARD))
    Steps.fits.clear()
    raced, _, decisions = study("raced")
    (race,) = (said for what, said in decisions if what == "race")
    assert "steps on a quarter" in race["read"]
    if "steps" not in race["dropped"]:
        assert (everything, quarter) in Steps.fits
    study("raced", exhaustive=True)
    again, *_ = study("raced", exhaustive=True)
    assert Steps.fits.count((quarter, 0)) == 1 == Steps.fits.count((everything, quarter))
    assert {id_: one[0].value for id_, one in again.items()} == {id_: one[0].value for id_, one in whole.items()}


def test_what_is_at_hand_is_not_loaded_again_for_each_block(tmp_path):
    """A fine-tuned model takes seconds to load, and a race asks it for 32 rows at a time."""

    class Loads(Steps):
        loads: ClassVar[list[str]] = []

        def load(self, task: Any, folder: Path, kit: Any) -> Any:
            self.loads.append(folder.name)
            return _Steps(("a", "b"), folder)

    known: dict[str, Any] = {f"k/fold-{i}": {"folder": f"fold-{i}"} for i in (0, 1)}
    line: Any = SimpleNamespace(name="steps", strategy=Loads(), key=lambda _: "k")
    bench: Any = SimpleNamespace(
        fingerprint="f",
        task=None,
        at_hand={},
        kit=lambda *_: None,
        ledger=SimpleNamespace(recall=known.get, folder=tmp_path),
    )
    for name in ("fold-0", "fold-1"):
        (tmp_path / "trials" / "steps" / name).mkdir(parents=True)
    first = [fitted(bench, line, "fold-0", [], []) for _ in range(3)]
    assert Loads.loads == ["fold-0"] and first[0] is first[2]
    fitted(bench, line, "fold-1", [], [])
    fitted(bench, line, "fold-0", [], [])
    assert Loads.loads == ["fold-0", "fold-1", "fold-0"] and len(bench.at_hand) == 1


@pytest.mark.parametrize(("rows", "rejected", "steps"), [(400, False, 80), (70, False, 0), (400, True, 0)])
def test_only_enough_rows_without_preferences_are_trained_in_steps(rows, rejected, steps):
    made = {
        str(i): Example(str(i), {"text": "x"}, "a", rejected=("b",) if rejected and i == 7 else ()) for i in range(rows)
    }
    ids = tuple(made)
    split = SimpleNamespace(
        folds=[Fold(ids[: rows * 7 // 10], ids[rows * 7 // 10 : rows * 8 // 10], ids[rows * 8 // 10 :])]
    )
    line: Any = SimpleNamespace(is_local=True, strategy=Steps())
    bench: Any = SimpleNamespace(split=split, rows=made)
    assert step_of(bench, line) == steps
    line.is_local = False
    assert step_of(bench, line) == 0


def test_where_a_quarter_is_too_few_rows_all_of_them_are_trained_on_in_one_go(study, monkeypatch):
    fit = Steps.fit

    def picky(self: Any, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        if kit.is_step:
            raise ValueError("too few rows of a label")
        return fit(self, task, train, dev, kit)

    monkeypatch.setattr(Steps, "fit", picky)
    known, _, decisions = study("whole", exhaustive=True)
    assert known and all(before == 0 for _, before in Steps.fits)
    assert ("step not trained", {"strategy": "steps", "reason": "too few rows of a label"}) in decisions


def test_few_rows_and_ways_that_do_not_go_on_are_fitted_in_one_go(study, monkeypatch):
    monkeypatch.setattr(Steps, "continues", False)
    study("whole", exhaustive=True)
    assert all(before == 0 for _, before in Steps.fits)
