"""`whichway why` and `whichway plan --labels` from the command line, on a run that was made by it."""

import json
import shutil

import pytest
from studies import ONLY, make_task, report_of, whichway

from whichway.report.labels import between


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("why")
    task = make_task(folder, 400)
    done = whichway("run", task, "--out", folder / "run", *ONLY)
    assert done.returncode == 0, done.stderr
    return task, folder / "run"


def test_why_gives_the_verdict_of_the_report_with_its_numbers(run):
    _, folder = run
    said = whichway("why", folder)
    assert said.returncode == 0
    assert said.stdout.startswith("Use classic") and "P(meets all)" in said.stdout
    assert "majority" in said.stdout


def test_another_condition_changes_the_verdict_and_nothing_in_the_folder(run):
    _, folder = run
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    said = whichway("why", folder, "--if", "max_p95_ms=0.0001", "--if", "smallest_difference=0.9")
    assert said.returncode == 0
    assert "If max_p95_ms = 0.0001 and smallest_difference = 0.9" in said.stdout
    assert "None of the 2 certified ways meets" in said.stdout and "Without that: Use classic" in said.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_wrong_condition_is_two_lines_and_exit_code_two(run):
    _, folder = run
    said = whichway("why", folder, "--if", "accuracy=1")
    assert said.returncode == 2 and said.stderr.count("\n") == 2 and "min_score" in said.stderr


def test_why_tells_at_which_numbers_the_answer_flips(run):
    said = " ".join(whichway("why", run[1]).stdout.split())
    assert "If you require more than" in said and "requests a month" in said


def test_prices_may_be_edited_in_the_task_file_of_a_finished_run(run, tmp_path):
    task, folder = run
    work = tmp_path / "again"
    shutil.copytree(task.parent, work)
    text = (work / task.name).read_text()
    (work / task.name).write_text(text + "objective: {hourly_usd: 100, hours: {classic: 7.5}}\n")
    done = whichway("run", work / task.name, "--out", work / folder.name, *ONLY)
    assert done.returncode == 0 and "$750" in done.stdout, done.stderr
    report = json.loads((work / folder.name / "report.json").read_text())
    (priced,) = [one for one in report["cost"]["ways"] if one["strategy"] == "classic"]
    assert priced["upfront_usd"]["value"] == pytest.approx(750, abs=0.1) and priced["hours"] == 7.5
    page = (work / folder.name / "report.md").read_text()
    assert "What it costs over time" in page and "7.5 h of work" in page


def test_plan_tells_what_more_labels_would_buy_and_what_they_cost(run):
    task, folder = run
    with_price = task.with_name("priced.yaml")
    with_price.write_text(task.read_text() + "objective: {label_usd: 0.5}\n")
    said = whichway("plan", with_price, "--labels", 200, "--out", folder)
    assert said.returncode == 0, said.stderr
    assert "with 200 more" in said.stdout and "classic" in said.stdout and "$100.00" in said.stdout
    far = whichway("plan", task, "--labels", 100_000, "--out", folder)
    (most,) = {4 * one["rungs"][-1]["labels"] for one in report_of(folder)["labels"]}
    assert "at least" in far.stdout and f"not foretold beyond {most:,} labels" in far.stdout
    assert "set objective.label_usd in the task file" in far.stdout


def test_plan_foretells_what_the_report_does(run):
    task, folder = run
    (one,) = report_of(folder)["labels"]
    assert one["chance"] == pytest.approx(1 / 3) and one["seed"] == 0
    whole = one["rungs"][-1]["labels"]
    with_price = task.with_name("priced.yaml")
    with_price.write_text(task.read_text() + "objective: {label_usd: 0.5}\n")
    for times in (2, 4):
        (told,) = (at for at in one["band"] if at["labels"] == times * whole)
        said = whichway("plan", with_price, "--labels", (times - 1) * whole, "--out", folder).stdout
        (row,) = (line for line in said.splitlines() if line.startswith("classic ") and "%" in line)
        assert f"{told['value']:.3f} {told['low']:.3f} to {told['high']:.3f}" in " ".join(row.split())
        (gain,) = (at for at in one["gains"] if at["more"] == (times - 1) * whole)
        assert f"classic: {gain['value']:+.3f} ({between(gain)}), " in said
        assert "per point ($" in said or "no gain to be expected" in said
    assert gain["usd"] is None, "the run knew no price"


def test_labels_of_a_damaged_report_are_refused_in_two_lines(run, tmp_path):
    found = report_of(run[1])
    del found["labels"][0]["rungs"][0]["low"]
    (tmp_path / "report.json").write_text(json.dumps(found))
    said = whichway("plan", run[0], "--labels", 10, "--out", tmp_path)
    assert said.returncode == 2 and said.stderr.count("\n") == 2 and "damaged (KeyError" in said.stderr


def test_plan_labels_without_a_run_says_what_to_do(run, tmp_path):
    said = whichway("plan", run[0], "--labels", 10, "--out", tmp_path / "none")
    assert said.returncode == 2 and "whichway run" in said.stderr
    (tmp_path / "report.json").write_text(
        json.dumps({**json.loads((run[1] / "report.json").read_text()), "labels": []})
    )
    said = whichway("plan", run[0], "--labels", 10, "--out", tmp_path)
    assert said.returncode == 2 and "no way was measured on parts of its labels" in said.stderr
