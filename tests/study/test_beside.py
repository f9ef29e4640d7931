"""A fit that a run in a folder beside this one has made is found by its content and taken over, at what it cost there."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from studies import answers, make_task
from study.test_steps import Steps

from whichway import Options, Watcher, load_task, registry, run_study
from whichway.core.strategy import ONWARD
from whichway.core.task import Example
from whichway.strategies.majority import Majority
from whichway.study import growth
from whichway.study.bench import Bench
from whichway.study.content import block_content, fit_content
from whichway.study.lines import make_lines

ONLY = ("majority",)


@pytest.fixture
def fits(monkeypatch):
    """Return the numbers of rows that each fit of `majority` is made on."""
    made: list[int] = []
    fit = Majority.fit

    def counted(self: Any, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        made.append(len(train) + len(dev))
        time.sleep(0.002)  # or its seconds round to nothing
        return fit(self, task, train, dev, kit)

    monkeypatch.setattr(Majority, "fit", counted)
    return made


def run(task: Path, name: str, watcher: Watcher | None = None, **options: Any) -> dict[str, Any]:
    """Run a study in a folder beside its task file; return its report."""
    options = {"only": ONLY, **options}
    return run_study(load_task(task), task.parent / "runs" / name, Options(**options), watcher or Watcher())


def trial_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in report["trials"] if one["strategy"] == name)


def test_a_second_run_beside_the_first_fits_nothing_again_and_tells_so_at_the_cost_there(tmp_path, fits):
    task, told = make_task(tmp_path, 400), []
    first = run(task, "a")
    made, before = list(fits), trial_of(first, "majority")
    assert len(made) == 2 and before["taken"] is None  # to compare, to certify
    watcher = Watcher(progress=lambda name, one: told.append((name, one.what)))
    again = run(task, "b", watcher)
    after = trial_of(again, "majority")
    assert fits == made
    assert after["taken"]["fits"] == 2 and after["taken"]["runs"] == ["a"]
    assert after["build"] == before["build"] and after["build"]["seconds"] > 0
    assert (after["validation"], after["test"]) == (before["validation"], before["test"])
    assert any(name == "majority" and "found in the run 'a'" in what for name, what in told)
    assert any("Taken over from the run a" in one for one in again["threats"])
    here = {(one["strategy"], one["phase"]): one["seconds"] for one in again["spend_by"]}
    assert here["majority", "fit"] == here["majority", "refit"] == 0.0  # another run's time
    third = run(task, "c")  # what was taken over is told to be of the run that made it
    assert trial_of(third, "majority")["taken"]["runs"] == ["a"]


def test_fresh_makes_everything_here(tmp_path, fits):
    task = make_task(tmp_path, 400)
    run(task, "a")
    made = len(fits)
    report = run(task, "b", fresh=True)
    assert len(fits) == 2 * made and trial_of(report, "majority")["taken"] is None


def test_limits_do_not_change_a_fit_and_seed_and_rows_do(tmp_path, fits):
    task = make_task(tmp_path, 400)
    run(task, "a")
    made, text = len(fits), task.read_text()
    task.write_text(text + "constraints: {min_score: 0.2}\n")
    assert trial_of(run(task, "limits"), "majority")["taken"]["fits"] == 2 and len(fits) == made
    task.write_text(text + "seed: 5\n")
    assert trial_of(run(task, "seed"), "majority")["taken"] is None
    task.write_text(text)
    rows = (tmp_path / "rows.csv").read_text().replace("the", "a")
    (tmp_path / "rows.csv").write_text(rows)
    assert trial_of(run(task, "rows"), "majority")["taken"] is None


def _files(run: Path) -> list[Path]:
    return [one for one in (run / "trials" / "majority").rglob("*") if one.is_file()]


def _a_byte(run: Path) -> None:
    for one in _files(run):
        one.write_bytes(one.read_bytes()[:-1] + b" ")


def _a_file_less(run: Path) -> None:
    for folder in (run / "trials" / "majority").iterdir():
        next(one for one in folder.rglob("*") if one.is_file()).unlink()


def _a_file_more(run: Path) -> None:
    for folder in (run / "trials" / "majority").iterdir():
        (folder / "more.json").write_text("{}")


def _a_link(run: Path) -> None:
    for one in _files(run):
        one.symlink_to(one.rename(run / f"{one.parent.name}-{one.name}"))


def _the_book(run: Path) -> None:
    (run / "ledger.db").write_bytes(b"SQLite format 3\0" + bytes(4000))


def _what_it_says(run: Path) -> None:
    with sqlite3.connect(run / "ledger.db") as book:
        said = {"content": 5, "files": "x", "folder": "../../../elsewhere"}
        book.execute("UPDATE units SET result = ?", (json.dumps(said),))


def _another_folder(run: Path) -> None:
    shutil.move(run / "trials" / "majority", run.parent / "elsewhere")
    (run / "trials" / "majority").mkdir()
    with sqlite3.connect(run / "ledger.db") as book:
        book.execute("""UPDATE units SET result = replace(result, '"folder": "', '"folder": "../../../elsewhere/')""")


def _a_linked_run(run: Path) -> None:
    run.rename(run.parent.parent / "moved")
    run.symlink_to(run.parent.parent / "moved", target_is_directory=True)


@pytest.mark.parametrize(
    "broken",
    [_a_byte, _a_file_less, _a_file_more, _a_link, _the_book, _what_it_says, _another_folder, _a_linked_run],
)
def test_a_fit_that_is_not_whole_and_a_folder_that_is_foreign_are_passed_over(tmp_path, fits, broken):
    task = make_task(tmp_path, 400)
    run(task, "a")
    made = len(fits)
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (tmp_path / "runs" / "a" / name).unlink(missing_ok=True)
    broken(tmp_path / "runs" / "a")
    (tmp_path / "runs" / "empty").mkdir()
    report = run(task, "b")
    assert len(fits) == 2 * made and trial_of(report, "majority")["taken"] is None
    assert not list((tmp_path / "runs" / "b").rglob("*.partial"))


def test_runs_elsewhere_are_not_looked_into(tmp_path, fits):
    task = make_task(tmp_path, 400)
    run(task, "a")
    made = len(fits)
    shutil.move(tmp_path / "runs" / "a", tmp_path / "a")
    (tmp_path / "runs" / "deeper").mkdir()
    shutil.copytree(tmp_path / "a", tmp_path / "runs" / "deeper" / "a")
    run(task, "b")
    assert len(fits) == 2 * made


def test_a_way_of_another_package_is_made_here(tmp_path, monkeypatch):
    """Its code is not ours to know."""
    registry.names("strategy")
    monkeypatch.setitem(registry._things["strategy"], "steps", Steps)
    task = make_task(tmp_path, 600, "strategies: {only: [steps]}\n")
    Steps.fits.clear()
    run(task, "a", only=("steps",))
    made = len(Steps.fits)
    run(task, "b", only=("steps",))
    assert len(Steps.fits) == 2 * made > 0


def test_a_fit_that_went_on_from_a_step_is_taken_over_with_it_or_not_at_all(tmp_path, monkeypatch):
    registry.names("strategy")
    monkeypatch.setitem(registry._things["strategy"], "steps", Steps)
    monkeypatch.setattr(Steps, "__module__", "whichway.strategies.steps")
    monkeypatch.setattr(growth, "LEARNING", ("steps",))
    task = make_task(tmp_path, 600, "strategies: {only: [steps]}\n")
    Steps.fits.clear()
    first = run(task, "a", only=("steps",))
    made = list(Steps.fits)
    again = run(task, "b", only=("steps",))
    assert Steps.fits == made
    assert trial_of(again, "steps")["build"] == trial_of(first, "steps")["build"]  # the step is paid, too
    shutil.rmtree(next((tmp_path / "runs" / "b").rglob("fold-0")))
    shutil.rmtree(tmp_path / "runs" / "b" / "trials" / "steps" / "final")
    shutil.rmtree(next((tmp_path / "runs" / "a").rglob("fold-0")))
    run(task, "c", only=("steps",))
    assert made[:2] == Steps.fits[len(made) : len(made) + 2]  # made in two steps again
    assert not list((tmp_path / "runs").rglob(ONWARD))


def test_a_way_whose_fit_lies_beside_is_not_left_out_for_the_time_it_would_take(tmp_path, fits, monkeypatch):
    task = make_task(tmp_path, 400)
    run(task, "a")
    made = len(fits)
    monkeypatch.setattr("whichway.study.run.SURE_SHARE", 1e9)
    assert trial_of(run(task, "b"), "majority")["state"] == "done" and len(fits) == made
    assert trial_of(run(task, "c", fresh=True), "majority")["state"] == "stopped"


def test_a_search_is_found_under_the_same_budget_alone(tmp_path, fits, monkeypatch):
    monkeypatch.setattr(Majority, "searches", True)
    task = make_task(tmp_path, 400)
    run(task, "a", minutes=7.0)
    made = len(fits)
    run(task, "b", minutes=7.0)
    assert len(fits) == made
    run(task, "c", minutes=8.0)
    assert len(fits) == 2 * made


def test_settings_words_step_and_weights_are_part_of_a_fit_and_what_asks_an_endpoint_has_none(tmp_path):
    loaded = load_task(make_task(tmp_path, 20))
    lines = {one.name: one for one in make_lines(loaded.task, loaded.settings)}
    shelf: Any = SimpleNamespace(endpoints={"far": object()}, digest=lambda kind: f"weights of {kind}")

    def content(name: str = "classic", step: int = 0, rows: Any = loaded.examples[:9], **other: Any) -> str:
        return fit_content("study", replace(lines[name], **other), shelf, (rows, ()), {"step": step})

    tuned = replace(lines["classic"].strategy, texts="whole")
    every = [
        content(),
        content(strategy=tuned),
        content(wording="x"),
        content(step=9),
        content(rows=loaded.examples[:8]),
    ]
    every += [content("probe"), content("prompt-few")]
    assert len({*every, ""}) == len(every) + 1
    shelf.digest = lambda kind: f"other weights of {kind}"
    assert content() == every[0] and content("probe") != every[5] and content("prompt-few") != every[6]
    shelf.digest = lambda kind: ""
    assert content() == every[0] and content("probe") == ""
    assert content(model="far") == content(judge="far") == ""


def test_a_bench_made_without_neighbours_finds_none():
    assert Bench.__dataclass_fields__["beside"].default_factory().find("x") == []  # type: ignore[misc]


def _blocks(run: Path) -> list[tuple[Any, ...]]:
    """Return (part, key's last part, seconds) of each block of answers that a run has committed."""
    with sqlite3.connect(run / "ledger.db") as book:
        asked = "SELECT phase, key, seconds FROM units WHERE phase IN ('validation', 'test') AND state = 'settled'"
        return [(part, key.rsplit("/", 1)[1], seconds) for part, key, seconds in book.execute(asked)]


def test_answers_of_a_fit_that_was_found_are_found_too_with_the_time_they_took(tmp_path):
    task = make_task(tmp_path, 400)
    first = trial_of(run(task, "a"), "majority")
    told: list[str] = []
    again = trial_of(run(task, "b", Watcher(progress=lambda _, one: told.append(one.what))), "majority")
    assert again["taken"]["answers"] == first["validation"]["n"] + first["test"]["n"]
    assert _blocks(tmp_path / "runs" / "a") == _blocks(tmp_path / "runs" / "b")
    assert answers(tmp_path / "runs" / "a") == answers(tmp_path / "runs" / "b")
    assert "validation, found in the run 'a'" in told


@pytest.mark.parametrize("lost", ["an answer", "the form"])
def test_answers_that_are_not_all_there_or_of_another_form_are_made_here(tmp_path, lost):
    task = make_task(tmp_path, 400)
    first = trial_of(run(task, "a"), "majority")
    with sqlite3.connect(tmp_path / "runs" / "a" / "ledger.db") as book:
        if lost == "an answer":  # of each part
            book.execute("DELETE FROM predictions WHERE rowid IN (SELECT min(rowid) FROM predictions GROUP BY part)")
        else:  # the trial was edited and run again there
            book.execute("""UPDATE trials SET facts = '{"key": "another"}'""")
    again = trial_of(run(task, "b"), "majority")
    every = first["validation"]["n"] + first["test"]["n"]
    assert again["taken"]["fits"] == 2
    assert again["taken"]["answers"] == (0 if lost == "the form" else every - 2 * 32)
    assert again["test"] == first["test"]


def test_answers_of_a_fit_that_is_made_here_are_made_here(tmp_path, fits):
    task = make_task(tmp_path, 400)
    run(task, "a")
    _a_byte(tmp_path / "runs" / "a")
    assert trial_of(run(task, "b"), "majority")["taken"] is None


def test_answers_to_other_rows_or_to_rows_asked_together_in_another_way_are_others():
    rows = [Example(str(i), {"text": f"word {i}"}, "a") for i in range(4)]
    other = [replace(rows[0], inputs={"text": "else"}), *rows[1:]]
    every = [
        block_content("f", rows),
        block_content("g", rows),
        block_content("f", rows[:3]),
        block_content("f", other),
    ]
    every.append(block_content("f", [replace(rows[0], id="x"), *rows[1:]]))
    assert len(set(every)) == len(every) and block_content("", rows) == ""
    assert block_content("f", [replace(one, target="b") for one in rows]) == every[0]  # no answer depends on it
