"""The catalogue of bad inputs: exact outcome, and never another exception, for each."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cases import Case
from catalogue import CASES

from whichway.errors import WhichwayError
from whichway.intake.load import LoadedTask, load_task


def run(case: Case, folder: Path) -> LoadedTask | WhichwayError:
    """Load what the case lays; anything but a WhichwayError escapes and fails the test."""
    name = case.build(folder)
    task = folder / "task.yaml"
    if not task.exists():
        is_native = name.endswith((".json", ".jsonl"))
        quoted = "'" + name + "'"
        task.write_text(f"task: t\ndata: {quoted}\n{'' if is_native else 'target: label'}\n{case.task}")
    try:
        return load_task(task)
    except WhichwayError as error:
        return error


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_input_has_the_exact_outcome_of_the_catalogue(case: Case, tmp_path: Path) -> None:
    begun = time.monotonic()
    outcome = run(case, tmp_path)
    assert time.monotonic() - begun < 10
    if isinstance(case.expect, int):
        assert isinstance(outcome, WhichwayError), f"accepted, though it should be refused with {case.expect}"
        check_refusal(case, outcome)
        return
    assert isinstance(outcome, LoadedTask), f"refused: {outcome}"
    codes = [finding.code for finding in outcome.findings if finding.severity == "warning"]
    if case.expect == "accepted":
        assert codes == []
    else:
        assert case.expect in codes


def check_refusal(case: Case, error: WhichwayError) -> None:
    assert error.exit_code == case.expect, error.problem
    if case.line:
        assert f", line {case.line}" in error.problem
    if case.column:
        column = case.column if isinstance(case.column, int) else f"'{case.column}'"
        assert f", column {column}" in error.problem
    assert case.says in error.problem
    assert error.fix
    assert any(fix in error.fix for fix in case.fix.split("|"))
    assert "\n" not in error.problem and "Traceback" not in error.problem


def test_the_catalogue_names_each_case_once_and_has_enough_of_them() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 120


def test_a_refusal_never_repeats_a_secret(tmp_path: Path) -> None:
    secrets = {"a key written out": "sk-abc", "an address with a password": "u:p@", "a key as key_env": "9f8a"}
    for name, secret in secrets.items():
        folder = tmp_path / name
        folder.mkdir()
        error = run(next(one for one in CASES if one.name == name), folder)
        assert isinstance(error, WhichwayError)
        assert secret not in error.problem + error.fix
