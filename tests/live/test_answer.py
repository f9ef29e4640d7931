"""Rows in, answers out: a whole file or none, several labels as a list, nothing lost on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kept import finish, lay_solution, make_task, trial

from whichway.errors import DataError, UsageError
from whichway.live import answer
from whichway.live.answer import BLOCK, Asked, answer_file
from whichway.live.bundle import threshold


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lay_solution(tmp_path / "run", "majority", "fold-0", "a")
    finish(tmp_path / "run", [trial("majority")], "majority")
    return tmp_path / "run"


def ask(folder: Path, count: int) -> Path:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{i}", "text": f"t {i}"}) + "\n" for i in range(count)))
    return path


def test_every_row_is_answered_in_order_over_several_blocks(run: Path, tmp_path: Path) -> None:
    count, said = BLOCK + 3, []
    out = tmp_path / "new" / "folder" / "out.jsonl"
    name, rows = answer_file(run, ask(tmp_path, count), out, say=lambda done, all_: said.append((done, all_)))
    assert name == "majority" and said == [(BLOCK, count), (count, count)]
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert written == rows and [one["id"] for one in rows] == [f"r{i}" for i in range(count)]
    assert rows[0] == {"id": "r0", "output": "a", "confidence": 0.5}
    assert [path.name for path in out.parent.iterdir()] == ["out.jsonl"]


def with_thresholds(run: Path, thresholds: dict[str, float]) -> None:
    kept = json.loads((run / "solutions.json").read_text())
    kept["solutions"]["majority"]["thresholds"] = thresholds
    (run / "solutions.json").write_text(json.dumps(kept))


@pytest.mark.parametrize(("coverage", "withheld"), [(0.9, True), (0.8, False)])
def test_answers_below_the_threshold_chosen_for_a_coverage_are_withheld(
    run: Path, tmp_path: Path, coverage: float, withheld: bool
) -> None:
    with_thresholds(run, {"0.9": 0.51, "0.8": 0.49})
    _, rows = answer_file(run, ask(tmp_path, 2), None, Asked(coverage=coverage))
    assert [one.get("withheld", False) for one in rows] == [withheld, withheld]


def test_a_coverage_for_which_no_threshold_was_chosen_is_refused_and_those_there_are_named(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no threshold") as plain:
        answer_file(run, ask(tmp_path, 1), None, Asked(coverage=0.9))
    assert "run the study again" in plain.value.fix
    with_thresholds(run, {"0.9": 0.51, "0.8": 0.49})
    with pytest.raises(UsageError, match="no threshold") as told:
        answer_file(run, ask(tmp_path, 1), None, Asked(coverage=0.5))
    assert "0.9, 0.8" in told.value.fix
    with pytest.raises(UsageError, match="both say"):
        answer_file(run, ask(tmp_path, 1), None, Asked(coverage=0.9, min_confidence=0.3))


def test_the_study_s_thresholds_go_into_what_is_loaded(tmp_path: Path) -> None:
    lay_solution(tmp_path / "run", "majority", "fold-0", "a")
    promises = [{"coverage": 0.9, "threshold": 0.51}, {"coverage": 0.8, "threshold": 0.7}]
    finish(tmp_path / "run", [trial("majority")], "majority", abstention={"majority": {"promises": promises}})
    for folder in (tmp_path / "run", tmp_path / "run" / "bundle"):
        assert threshold(folder, "majority", 0.8) == 0.7


def test_a_file_without_rows_is_refused_and_no_answers_are_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n")
    with pytest.raises(DataError, match="no row"):
        answer_file(run, tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("where", ["second block", "writing"])
def test_an_answer_file_is_whole_or_as_it_was(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")
    task, solution, name = answer.load_solution(run)

    class Breaking:
        blocks = 0

        def predict(self, inputs):
            self.blocks += 1
            if where == "second block" and self.blocks == 2:
                raise RuntimeError("broke")
            return solution.predict(inputs)

    monkeypatch.setattr(answer, "load_solution", lambda *_: (task, Breaking(), name))
    if where == "writing":
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(RuntimeError("broke")))
    with pytest.raises(RuntimeError):
        answer_file(run, ask(tmp_path, BLOCK + 3), out)
    assert out.read_text() == "old\n"


@pytest.mark.parametrize("value", [["a", "c"], ["b"], []])
def test_several_labels_are_a_list_though_there_be_one_or_none(tmp_path: Path, value: list[str]) -> None:
    lay_solution(tmp_path / "run", "majority", "fold-0", value)
    finish(tmp_path / "run", [trial("majority")], "majority", make_task(multi=True))
    answer_file(tmp_path / "run", ask(tmp_path, 2), tmp_path / "out.jsonl")
    assert [json.loads(line)["output"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [value, value]


def test_where_the_answers_go_is_looked_at_before_anything_is_asked(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "load_solution", lambda *_: pytest.fail("the solution was loaded"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        answer_file(run, ask(tmp_path, 1), tmp_path / "file" / "out.jsonl")
    with pytest.raises(UsageError, match="folder"):
        answer_file(run, ask(tmp_path, 1), tmp_path)


def test_an_answer_that_could_not_be_read_says_so(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whichway.core.task import Prediction

    task, _, name = answer.load_solution(run)

    class Unsure:
        def predict(self, inputs):
            return [Prediction("a", 0.123456, parsed=False, sources=("d1",)) for _ in inputs]

    monkeypatch.setattr(answer, "load_solution", lambda *_: (task, Unsure(), name))
    _, rows = answer_file(run, ask(tmp_path, 1), None)
    assert rows == [{"id": "r0", "output": "a", "confidence": 0.1235, "sources": ["d1"], "parsed": False}]
