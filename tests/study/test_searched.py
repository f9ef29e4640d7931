"""A prompt that is searched for again on all labels: what is certified and shipped is in the ledger and in the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from studies import WORDS, make_task

from whichway import Options, Watcher, load_task, registry, run_study
from whichway.core.strategy import Edit, PromptVersion, Step
from whichway.core.task import Prediction
from whichway.errors import BudgetReached
from whichway.report.prompts import prompts
from whichway.study import pursuit
from whichway.study.ledger import Ledger, read_prompts


@dataclass(frozen=True)
class Looking:
    """Finds a prompt that depends on how many rows it learns from; its seed knows half of what it knows."""

    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False

    def fit(self, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        (kit.folder / "rows").write_text(str(len(train) + len(dev)))
        return self.load(task, kit.folder, kit)

    def load(self, task: Any, folder: Path, kit: Any) -> Any:
        return _Looked(task.output.names, int((folder / "rows").read_text()))


@dataclass(frozen=True)
class _Looked:
    names: tuple[str, ...]
    rows: int
    is_seed: bool = False

    def predict(self, inputs: Any) -> list[Prediction]:
        known = list(WORDS)[: 1 if self.is_seed else 3]
        texts = [row["message"].split() for row in inputs]
        found = [max(known, key=lambda one: len(set(WORDS[one].split()) & set(text))) for text in texts]
        return [Prediction(one, 0.9) for one in found]

    def version(self) -> PromptVersion:
        text = "Sort it." if self.is_seed else f"Sort it as {self.rows} rows say."
        return PromptVersion(text, (("user", text),))

    def seed(self) -> Any:
        return _Looked(self.names, self.rows, True)

    def edits(self) -> list[Edit]:
        return [Edit("rows", "none", str(self.rows), 0.5, self.rows)]

    def save(self, folder: Path) -> None:
        """It is there."""


@dataclass(frozen=True)
class Climbing(Looking):
    """Goes in two steps under the same prompt: the first knows less."""

    def load(self, task: Any, folder: Path, kit: Any) -> Any:
        return _Climbed(task.output.names, 0)


@dataclass(frozen=True)
class Hurried(Looking):
    """Has no time to learn from all labels."""

    def fit(self, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        if kit.folder.name.startswith("final"):
            raise BudgetReached("no time")
        return super().fit(task, train, dev, kit)


@dataclass(frozen=True)
class _Climbed(_Looked):
    def version(self) -> PromptVersion:
        return PromptVersion("Sort it.", (("user", "Sort it."),))

    def steps(self) -> list[Step]:
        return [Step(name, "", _Looked(self.names, 0, name == "prompt")) for name in ("prompt", "weights")]


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    registry.names("strategy")
    monkeypatch.setitem(registry._things["strategy"], "looking", Looking)
    monkeypatch.setitem(registry._things["strategy"], "climbing", Climbing)
    monkeypatch.setitem(registry._things["strategy"], "hurried", Hurried)
    yield


def run(folder: Path, rows: int = 600) -> dict[str, Any]:
    task = make_task(folder, rows, "strategies: {only: [majority, looking]}\n")
    return run_study(load_task(task), folder / "run", Options(), Watcher())


def test_the_prompt_that_is_certified_and_shipped_is_kept_with_its_parent_and_its_score(
    tmp_path: Path, looking: None
) -> None:
    report = run(tmp_path)
    (trial,) = [one for one in report["trials"] if one["strategy"] == "looking"]
    assert trial["test"]["refit"] is True
    every = {(one["part"], one["text"]): one for one in read_prompts(tmp_path / "run")}
    shipped = _Looked((), int((tmp_path / "run/trials/looking/final/rows").read_text())).version()
    (compared,) = [one for (part, text), one in every.items() if part == "validation" and text != "Sort it."]
    kept = every["test", shipped.text]
    assert kept["id"] == shipped.id != compared["id"] and kept["parent"] == compared["id"]
    assert kept["change"] == "fitted again on all labels" and kept["rows"] == trial["test"]["n"]
    assert kept["score"] == pytest.approx(trial["test"]["value"], abs=1e-6) and kept["seconds"] > 0


def test_the_report_tells_the_prompt_that_is_shipped_beside_the_one_that_was_compared(
    tmp_path: Path, looking: None
) -> None:
    report = run(tmp_path)
    (search,) = report["searches"]
    again = search["refitted"]
    assert again["best"]["text"] != search["best"]["text"] and again["seed"] == search["seed"]
    assert again["edits"][0]["rows"] > search["edits"][0]["rows"]
    section = prompts(report)
    for one in (search, again):
        assert f"+{one['best']['text']}" in section.code
    ways = [row[0].text for one in section.tables if one.caption.startswith("What each change") for row in one.rows]
    assert ways == ["looking", "looking, searched again on all labels for the test part"]


def test_a_prompt_that_answered_a_few_rows_in_a_race_is_kept(
    tmp_path: Path, looking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pursuit, "RACE_FROM_S", 0.0)
    task = make_task(tmp_path, 600, "strategies: {only: [majority, classic, looking]}\n")
    run_study(load_task(task), tmp_path / "run", Options(), Watcher())
    found = [one for one in read_prompts(tmp_path / "run") if one["part"] == "validation"]
    assert found[0]["rows"] == pursuit.SCREENED and found[0]["score"] is not None


def test_steps_under_the_same_prompt_are_kept_each_with_its_own_score(tmp_path: Path, looking: None) -> None:
    task = make_task(tmp_path, 300, "strategies: {only: [majority, climbing]}\n")
    run_study(load_task(task), tmp_path / "run", Options(), Watcher())
    found = {one["change"]: one for one in read_prompts(tmp_path / "run") if one["part"] == "validation"}
    first, last = found["step: prompt"], found["step: weights"]
    assert first["id"] == last["id"] and first["rows"] == last["rows"] and first["score"] < last["score"]


def test_a_certified_search_is_compared_with_its_seed_on_the_same_test_rows(tmp_path: Path, looking: None) -> None:
    report = run(tmp_path)
    (trial,) = [one for one in report["trials"] if one["strategy"] == "looking"]
    (search,) = report["searches"]
    found = search["test"]
    assert found["best_score"]["value"] == trial["test"]["value"] and found["gain"]["n"] == trial["test"]["n"]
    assert found["gain"]["value"] == pytest.approx(found["best_score"]["value"] - found["seed_score"]["value"])
    assert found["gain"]["low"] > 0
    book = Ledger(tmp_path / "run")
    opened = [said["finalists"] for what, said in book.decisions() if what == "test part opened"]
    assert book.calls("looking", "test-seed") and all(not name.startswith("seed") for one in opened for name in one)
    book.close()
    kept = [one for one in read_prompts(tmp_path / "run") if one["change"] == "seed, no finalist"]
    assert [(one["part"], one["rows"]) for one in kept] == [("test", trial["test"]["n"])]
    section = prompts(report)
    (gains,) = [one for one in section.tables if one.caption.startswith("What the search bought")]
    assert [row[0].text for row in gains.rows] == ["looking", "looking, on the test part"]
    assert "no finalist" in gains.rows[1][0].small


def test_a_verdict_says_where_what_is_certified_has_not_learned_from_all_labels(tmp_path: Path, looking: None) -> None:
    whole = run(tmp_path / "whole")
    assert not [one for one in whole["recommendation"]["reasons"] if "as it was compared" in one]
    task = make_task(tmp_path / "hurried", 600, "strategies: {only: [majority, hurried]}\n")
    report = run_study(load_task(task), tmp_path / "hurried/run", Options(), Watcher())
    (trial,) = [one for one in report["trials"] if one["strategy"] == "hurried"]
    assert report["recommendation"]["strategy"] == "hurried" and trial["test"]["refit"] is False
    (said,) = [one for one in report["recommendation"]["reasons"] if "as it was compared" in one]
    split = report["split"]
    learned, all_ = split["train"], split["train"] + split["validation"]
    assert f"having learned from {learned:,} of {all_:,} labelled rows" in said
    assert any("refit hurried on all labels" in one for one in report["threats"])
