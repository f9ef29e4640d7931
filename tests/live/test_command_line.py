"""Commands that cannot work: an exit code, two lines with path and reason, no fault of whichway."""

from __future__ import annotations

import errno
import json
import subprocess
from pathlib import Path

import pytest
from kept import finish, lay_solution, trial
from studies import ONLY, make_task, whichway

from whichway import cli


def two_lines(done: subprocess.CompletedProcess[str]) -> str:
    """Return what stderr says of the problem, in two lines without a traceback."""
    said = [one for one in done.stderr.splitlines() if not one.startswith(("Reading the task", "  note:"))]
    assert len(said) == 2 and "Traceback" not in done.stderr and "fault of whichway" not in done.stderr, done.stderr
    return "\n".join(said)


@pytest.mark.parametrize("option", ["--budget-usd", "--budget-minutes"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "x"])
def test_a_budget_is_an_amount(tmp_path: Path, option: str, value: str) -> None:
    task = make_task(tmp_path)
    done = whichway("run", task, "--out", tmp_path / "run", *ONLY, f"{option}={value}")
    assert done.returncode == 2 and option in two_lines(done)
    assert not (tmp_path / "run").exists()


def test_predict_takes_a_budget_which_is_an_amount(tmp_path: Path) -> None:
    lay_solution(tmp_path / "run", "majority", "fold-0", "a")
    finish(tmp_path / "run", [trial("majority")], "majority")
    (tmp_path / "in.jsonl").write_text('{"text": "x"}\n')
    done = whichway("predict", tmp_path / "run", tmp_path / "in.jsonl", "--budget-usd", "0.5")
    assert done.returncode == 0 and json.loads(done.stdout)["output"] == "a"
    done = whichway("predict", tmp_path / "run", tmp_path / "in.jsonl", "--budget-usd", "nan")
    assert done.returncode == 2 and "--budget-usd" in two_lines(done) and done.stdout == ""


def test_a_way_called_by_its_name_whose_price_is_unknown_ends_the_command_before_a_run_is_begun(tmp_path: Path) -> None:
    task = make_task(tmp_path, more='models: {endpoints: {far: {base_url: "https://far.example/v1", model: far-1}}}\n')
    done = whichway("run", task, "--out", tmp_path / "run", "--only", "majority,prompt-zero@far")
    said = two_lines(done)
    assert done.returncode == 2 and "price of the endpoint 'far' is unknown" in said and "models.endpoints.far" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["file/run", "file"])
def test_a_run_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path, where: str) -> None:
    task = make_task(tmp_path)
    (tmp_path / "file").write_text("mine")
    done = whichway("run", task, "--out", tmp_path / where, *ONLY)
    assert done.returncode == 2 and str(tmp_path / where) in two_lines(done)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_ledger_that_cannot_be_written_is_said_to_be_just_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sqlalchemy import create_engine, text

    def broken(**_: object) -> None:
        with create_engine("sqlite://").connect() as book:
            book.execute(text("INSERT INTO nowhere VALUES (1)"))

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and "The ledger cannot be written: no such table: nowhere" in said
    assert len(said.splitlines()) == 2 and "fault of whichway" not in said


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "/x/\x1b[31m"), "/x/\\u001b[31m: Read-only"),
        (OSError("odd"), "odd"),
    ],
)
def test_what_the_machine_refuses_is_no_fault_of_whichway(
    error: OSError, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and says in said and len(said.splitlines()) == 2 and "fault" not in said


def test_what_nobody_foresaw_is_a_fault_of_whichway(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: [][1])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1 and "fault of whichway" in capsys.readouterr().err


def test_the_way_to_answer_new_rows_is_only_shown_where_there_is_one(tmp_path: Path) -> None:
    task = make_task(tmp_path, more="constraints: {min_score: 1.0}\n")
    done = whichway("run", task, "--out", tmp_path / "none", "--only", "majority", "--budget-minutes", 0)
    assert done.returncode == 4 and "report.html" in done.stdout and "whichway predict" not in done.stdout
    done = whichway("run", task, "--out", tmp_path / "run", "--only", "majority")
    assert done.returncode == 6 and "rows.jsonl --strategy majority" in done.stdout
    assert not (tmp_path / "run" / "bundle").exists()
    (tmp_path / "in.jsonl").write_text('{"message": "x", "amount": 1}\n')
    done = whichway("predict", tmp_path / "run", tmp_path / "in.jsonl")
    assert done.returncode == 2 and "--strategy" in two_lines(done) and "majority" in done.stderr
