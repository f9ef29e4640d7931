"""Label curves in a real study: which are measured, within which limits, what is reused, and who has none and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from studies import WORDS, make_task

from whichway import Options, Watcher, load_task, registry, run_study
from whichway.core.task import Prediction
from whichway.study import arena, growth, pursuit
from whichway.study.bench import by_value
from whichway.study.split import DEV_SHARE

COUNT = 224  # rows to learn from, of 480
WAYS = ("majority", "pupil", "dull")


def right(names: tuple[str, ...], row: Any) -> tuple[int, int]:
    """Return the place of a row's label, and its number: labels go round by it."""
    number = int(row["message"].split()[-1])
    return names.index(list(WORDS)[number % 3]), number


@dataclass(frozen=True)
class Pupil:
    """Is right on more rows, the more it was fitted on; it keeps what it was fitted on."""

    fitted: ClassVar[list[int]] = []
    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = True

    def fit(self, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        self.fitted.append(len(train))
        return _Pupil(task.output.names, len(train))

    def load(self, task: Any, folder: Path, kit: Any) -> Any:
        return _Pupil(task.output.names, int((folder / "size").read_text()))


@dataclass(frozen=True)
class _Pupil:
    names: tuple[str, ...]
    size: int
    is_terse: bool = False
    asked: ClassVar[list[tuple[int, bool]]] = []  # size and whether tersely, of each block of answers

    def terse(self) -> _Pupil:
        return replace(self, is_terse=True)

    def predict(self, inputs: Any) -> list[Prediction]:
        self.asked.append((self.size, self.is_terse))
        most = 40 + self.size // 5  # of 100 rows are answered right
        pairs = [right(self.names, row) for row in inputs]
        return [Prediction(self.names[(at + (number * 7919 % 100 >= most)) % 3], 0.5) for at, number in pairs]

    def save(self, folder: Path) -> None:
        (folder / "size").write_text(str(self.size))


@dataclass(frozen=True)
class Dull:
    """Is never right, whatever it was fitted on."""

    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = True

    def fit(self, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        return _Dull(task.output.names)

    def load(self, task: Any, folder: Path, kit: Any) -> Any:
        return _Dull(task.output.names)


@dataclass(frozen=True)
class _Dull:
    names: tuple[str, ...]

    def predict(self, inputs: Any) -> list[Prediction]:
        return [Prediction(self.names[(right(self.names, row)[0] + 1) % 3], 0.5) for row in inputs]

    def save(self, folder: Path) -> None:
        """Keep nothing."""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Return a function that runs a study of three ways, of which two learn, raced whatever it would take."""
    registry.names("strategy")
    monkeypatch.setitem(registry._things["strategy"], "pupil", Pupil)
    monkeypatch.setitem(registry._things["strategy"], "dull", Dull)
    monkeypatch.setattr(pursuit, "RACE_FROM_S", 0.0)
    for room in (growth, arena):
        monkeypatch.setattr(room, "LEARNING", WAYS[1:])
    Pupil.fitted.clear()
    _Pupil.asked.clear()

    def run(rows: int = 480, **options: Any) -> dict[str, Any]:
        task = make_task(tmp_path, rows, "strategies: {only: [majority, pupil, dull]}\n")
        told: list[str] = []
        watcher = Watcher(ended=lambda one: told.append(f"{one['strategy']} {one['state']}"))
        return {"told": told, **run_study(load_task(task), tmp_path / f"run-{rows}", Options(**options), watcher)}

    return run


def curves(report: dict[str, Any]) -> set[str]:
    return {one["strategy"] for one in report["labels"]}


def missing(report: dict[str, Any]) -> dict[str, str]:
    return {one["strategy"]: one["reason"] for one in report["labels_missing"]}


def test_a_way_too_slow_for_a_quick_curve_is_told_and_measured_when_all_is_run(study, monkeypatch):
    monkeypatch.setattr(growth, "MOST_S", -1.0)
    quick = study(only=WAYS)
    assert curves(quick) == set()
    assert missing(quick)["pupil"].startswith("its smaller fits would take about ")
    assert missing(quick)["pupil"].endswith(" s (limit -1 s; --exhaustive measures them)")
    whole = study(exhaustive=True)
    assert curves(whole) == {"dull", "pupil"} and missing(whole) == {}
    assert sorted(Pupil.fitted)[:3] == [learnt(COUNT // part) for part in (8, 4, 2)]


def test_smaller_fits_are_asked_for_answers_alone_and_the_way_itself_for_how_sure_it_is(study):
    assert "pupil" in curves(study(exhaustive=True))
    smaller = {learnt(COUNT // part) for part in (8, 4, 2)}
    assert {size for size, is_terse in _Pupil.asked if is_terse} == smaller
    sure = {size for size, is_terse in _Pupil.asked if not is_terse}
    assert learnt(COUNT) in sure and not sure & smaller


@pytest.mark.parametrize(("says", "is_terse"), [({"by_value": True}, True), ({"by_value": False}, False), ({}, False)])
def test_a_metric_that_may_read_probabilities_is_given_them_of_smaller_fits_too(says, is_terse):
    bench: Any = SimpleNamespace(metric=SimpleNamespace(**says))
    assert by_value(bench, _Pupil(("a",), 1)).is_terse == is_terse
    whole = object()
    assert by_value(bench, whole) is whole, "not every way can leave anything out"


def test_what_a_smaller_fit_took_tells_what_the_others_take(monkeypatch):
    took = {"validation": [40.0, 40.0], "labels-56": [3.0, 4.0]}
    ledger = SimpleNamespace(call_seconds=lambda name, part: took.get(part, []))
    bench: Any = SimpleNamespace(ledger=ledger, split=SimpleNamespace(folds=[None]))
    monkeypatch.setattr(growth, "fit_seconds", lambda *_: [20.0])
    monkeypatch.setattr(growth, "rungs_of", lambda bench: [28, 56, 112])
    monkeypatch.setattr(growth, "_labels", lambda bench: 224)
    answered: set[int] = set()
    monkeypatch.setattr(growth, "_is_answered", lambda bench, line, labels: labels in answered)
    line: Any = SimpleNamespace(name="pupil")
    assert growth._seconds(bench, line) == 3 * (10.0 + 80.0)
    answered.add(56)
    assert growth._seconds(bench, line) == 2 * (10.0 + 7.0)


def test_a_curve_that_the_time_does_not_allow_is_told_with_what_to_raise(study, monkeypatch):
    monkeypatch.setattr(growth, "KEPT_S", 10_000.0)
    found = missing(study(exhaustive=True))
    assert set(found) == {"dull", "pupil"} and all("leaves 0 s: raise budget" in one for one in found.values())


def test_the_quarter_that_the_race_has_answered_is_a_point_of_the_curve_and_is_not_fitted_again(study, monkeypatch):
    monkeypatch.setattr(arena, "WORTH_A_RUNG_S", 0.0)
    assert "pupil" in curves(study())
    fits = list(Pupil.fitted)
    assert fits[0] == learnt(COUNT // 4), "the race tries a quarter first"
    wanted = {learnt(COUNT // part) for part in (8, 4, 2, 1)}
    assert len(fits) == len(set(fits)) == 5 and wanted < set(fits), "four rungs, and the refit for the test"
    study(exhaustive=True)
    assert fits == Pupil.fitted


def test_what_the_race_dropped_has_no_curve_and_is_told_once_before_the_others_are_finished(study, monkeypatch):
    raced = study()
    assert raced["told"][0] == "dull dropped" and raced["told"].count("dull dropped") == 1
    assert sorted(raced["told"][1:]) == ["majority done", "pupil done"]
    assert missing(raced)["dull"] == "dropped by the race (--exhaustive runs it)" and curves(raced) == {"pupil"}
    assert study()["told"] == ["dull dropped"], "what is done is not told again; what stays dropped is"
    assert "dull" in curves(study(exhaustive=True))


def test_with_few_rows_and_for_ways_of_other_kinds_it_is_told_why_there_is_no_curve(study, monkeypatch):
    monkeypatch.setattr(growth, "FEWEST", 1000)
    few = missing(study(only=WAYS))
    assert few == dict.fromkeys(WAYS[1:], f"too few rows: {COUNT} to learn from, and a curve takes 4000")
    monkeypatch.setattr(growth, "FEWEST", 16)
    monkeypatch.setattr(growth, "LEARNING", ("dull",))
    assert missing(study(only=WAYS)) == {"pupil": "no curve is measured of ways of this kind"}


def learnt(labels: int) -> int:
    """Return how many of so many labels are fitted on; the others are held out."""
    return labels - round(DEV_SHARE * labels)
