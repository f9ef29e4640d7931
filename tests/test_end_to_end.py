"""Whole commands in processes of their own: what they print, leave behind, refuse and survive."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time

import pytest
from studies import (
    ONLY,
    answers,
    command,
    environment,
    make_task,
    report_of,
    settled,
    strip_timing,
    whichway,
    write_plug_in,
    write_rows,
)

TRIAL_KEYS = {
    "strategy",
    "settings",
    "state",
    "reason",
    "validation",
    "test",
    "build",
    "use",
    "consistency",
    "calibration_error",
    "parsed",
}
RECOMMENDATION_KEYS = {
    "strategy",
    "level",
    "reasons",
    "runner_up",
    "difference",
    "break_even",
    "would_change",
    "not_tested",
}


def two_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of stderr that say what is wrong and how to mend it; there must be no traceback."""
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if not line.startswith(("Reading the task", "  note:"))]


def test_init_then_plan_then_run_needs_no_flag_that_the_data_could_tell(tmp_path):
    write_rows(tmp_path / "rows.csv")
    for words in (["init", "rows.csv"], ["plan", "task.yaml", *ONLY], ["run", "task.yaml", *ONLY]):
        done = whichway(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert report_of(next((tmp_path / "runs").iterdir()))["recommendation"]["strategy"] == "classic"


def test_a_plan_spends_nothing_and_writes_nothing(tmp_path):
    task = make_task(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = whichway("plan", task, *ONLY, cwd=tmp_path)
    assert done.returncode == 0
    assert "classic" in done.stdout and "100 rows" in done.stdout
    assert "timing this machine" in done.stderr and "timing this machine" not in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_results_go_to_stdout_and_progress_to_stderr(finished):
    out, err = (finished / "out").read_text(), (finished / "err").read_text()
    assert "classic" in out and "report.html" in out
    assert err.startswith("Reading the task") and "strategies to compare, roughly 1 min if all run to their end." in err
    assert "Reading the task" not in out and "\x1b" not in out + err


def test_a_run_leaves_its_reports_its_ledger_and_a_bundle(finished):
    names = {path.name for path in (finished / "run").iterdir()}
    assert {"report.html", "report.json", "report.md", "ledger.db", "bundle", "solutions.json"} <= names
    assert {path.name for path in (finished / "run" / "bundle").iterdir()} == {
        "README.md",
        "solution",
        "solutions.json",
    }
    assert not [path for path in (finished / "run").rglob("*") if path.name.endswith(".partial")]


def test_the_report_has_every_key_that_other_programs_rely_on(finished):
    report = report_of(finished / "run")
    assert {"schema", "task", "split", "trials", "recommendation", "spent", "timing"} <= set(report)
    assert {"train", "validation", "test", "fingerprint"} <= set(report["split"])
    assert {"seconds", "usd", "tokens"} <= set(report["spent"])
    assert RECOMMENDATION_KEYS <= set(report["recommendation"])
    assert [one["strategy"] for one in report["trials"]] == ["majority", "classic"]
    for one in report["trials"]:
        assert TRIAL_KEYS <= set(one) and one["state"] == "done"
        assert {"value", "low", "high", "n"} <= set(one["validation"])
        assert {"seconds", "usd", "tokens"} <= set(one["build"])
        assert {"usd_per_1000", "p50_ms", "p95_ms", "rows_per_s"} <= set(one["use"])
        assert one["validation"]["low"] <= one["validation"]["value"] <= one["validation"]["high"]
    assert {"value", "low", "high"} <= set(report["recommendation"]["difference"])


def test_the_numbers_of_the_report_are_those_of_the_ledger(finished):
    report, said = report_of(finished / "run"), answers(finished / "run")
    for one in report["trials"]:
        for part in ("validation", "test"):
            scores = [
                json.loads(row[2])
                for (trial, where, _), row in said.items()
                if (trial, where) == (one["strategy"], part)
            ]
            assert one[part]["n"] == len(scores) == report["split"][part]
            assert one[part]["value"] == pytest.approx(sum(scores) / len(scores), abs=1e-6)


def test_predict_answers_rows_in_their_order_and_never_looks_at_their_output(finished, tmp_path):
    rows = [
        {"id": f"n{i}", "message": text, "amount": 3.0}
        for i, text in enumerate(["parcel late courier box", "login password locked", "money back refund charge"])
    ]
    for name, more in (("bare", {}), ("lying", {"output": "account", "label": "account"})):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({**row, **more}) + "\n" for row in rows))
        done = whichway("predict", finished / "run", tmp_path / f"{name}.jsonl", "-o", tmp_path / f"{name}.out")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "bare.out").read_text() == (tmp_path / "lying.out").read_text()
    found = [json.loads(line) for line in (tmp_path / "bare.out").read_text().splitlines()]
    assert [one["output"] for one in found] == ["delivery", "account", "refund"]
    assert [one["id"] for one in found] == ["n0", "n1", "n2"]
    assert all(set(one) == {"id", "output", "confidence"} and 0 <= one["confidence"] <= 1 for one in found)


def test_the_bundle_answers_without_the_run_and_another_strategy_may_be_named(finished, tmp_path):
    shutil.copytree(finished / "run" / "bundle", tmp_path / "elsewhere")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "x", "message": "parcel late courier", "amount": 1}) + "\n")
    done = whichway("predict", tmp_path / "elsewhere", tmp_path / "rows.jsonl")
    assert json.loads(done.stdout)["output"] == "delivery"
    done = whichway("predict", finished / "run", tmp_path / "rows.jsonl", "--strategy", "majority")
    assert json.loads(done.stdout)["confidence"] < 0.5
    done = whichway("predict", finished / "run", tmp_path / "rows.jsonl", "--strategy", "probe")
    assert done.returncode == 2 and "majority" in done.stderr


def test_running_again_repeats_nothing_and_reports_the_same(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished / "run", run)
    units, before = settled(run), report_of(run)
    done = whichway("run", finished / "task.yaml", "--out", run, *ONLY)
    assert done.returncode == 0, done.stderr
    after = report_of(run)
    assert settled(run) == units
    assert strip_timing(after) == strip_timing(before)
    assert after["recommendation"] == before["recommendation"]  # costs too: they were measured once
    assert [one["use"] for one in after["trials"]] == [one["use"] for one in before["trials"]]


def test_another_run_with_the_same_seed_reports_the_same_but_for_times_and_costs(finished, tmp_path):
    done = whichway("run", finished / "task.yaml", "--out", tmp_path / "run", *ONLY)
    assert done.returncode == 0, done.stderr
    assert strip_timing(report_of(tmp_path / "run")) == strip_timing(report_of(finished / "run"))
    assert answers(tmp_path / "run") == answers(finished / "run")


def test_a_strategy_added_later_joins_the_same_study(finished, tmp_path):
    run = tmp_path / "run"
    done = whichway("run", finished / "task.yaml", "--out", run, "--only", "majority")
    assert done.returncode == 0, done.stderr
    done = whichway("run", finished / "task.yaml", "--out", run, "--only", "classic")
    assert done.returncode == 0, done.stderr
    assert [one["strategy"] for one in report_of(run)["trials"]] == ["majority", "classic"]


@pytest.mark.parametrize("change", ["data", "seed", "metric"])
def test_a_changed_study_is_refused_and_nothing_is_overwritten(finished, tmp_path, change):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "run" / "report.json").read_bytes()
    if change == "data":
        with (tmp_path / "rows.csv").open("a") as file:
            file.write("new,parcel late,1.0,delivery\n")
    elif change == "metric":
        task = tmp_path / "task.yaml"
        task.write_text(task.read_text().replace("metric: accuracy", "metric: macro_f1"))
    done = whichway(
        "run", tmp_path / "task.yaml", "--out", tmp_path / "run", *ONLY, *(["--seed", 7] if change == "seed" else [])
    )
    assert done.returncode == 2
    assert len(two_lines(done)) == 2 and "another study" in done.stderr
    assert (tmp_path / "run" / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "missing.yaml"],
        ["frobnicate"],
        ["run", "task.yaml", "--budget-minutes", "x"],
        ["run", "task.yaml", "--only", "clasic"],
        ["report", "nowhere"],
        ["predict", "nowhere", "rows.csv"],
        ["demo", "nothing"],
    ],
    ids=lambda words: " ".join(words),
)
def test_bad_usage_ends_with_2_and_two_lines_without_a_traceback(tmp_path, words):
    make_task(tmp_path)
    done = whichway(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(two_lines(done)) == 2


@pytest.mark.parametrize("damage", ["ragged", "empty", "one label"])
def test_bad_data_end_with_3_and_two_lines_that_name_the_file(tmp_path, damage):
    task = make_task(tmp_path)
    rows = tmp_path / "rows.csv"
    lines = rows.read_text().splitlines()
    if damage == "ragged":
        lines[10] += ",more,cells"
    elif damage == "empty":
        lines = []
    else:
        lines = [lines[0]] + [line.rsplit(",", 1)[0] + ",refund" for line in lines[1:]]
    rows.write_text("\n".join(lines))
    done = whichway("run", task, *ONLY, cwd=tmp_path)
    assert done.returncode == 3
    assert len(two_lines(done)) == 2 and "rows.csv" in done.stderr
    assert damage != "ragged" or "line 11" in done.stderr


def test_a_budget_that_ends_early_gives_a_partial_report_and_code_4(tmp_path):
    done = whichway("run", make_task(tmp_path), "--out", tmp_path / "run", *ONLY, "--budget-minutes", 0)
    assert done.returncode == 4, done.stderr
    report = report_of(tmp_path / "run")
    assert report["state"] == "budget"
    assert {one["state"] for one in report["trials"]} == {"stopped"}
    again = whichway("run", tmp_path / "task.yaml", "--out", tmp_path / "run", *ONLY)
    assert again.returncode == 0 and report_of(tmp_path / "run")["state"] == "finished"


def test_a_target_that_none_meets_ends_with_6_and_names_the_closest(tmp_path):
    done = whichway(
        "run",
        make_task(tmp_path, more="constraints: {min_score: 1.0}\n"),
        "--out",
        tmp_path / "run",
        "--only",
        "majority",
    )
    assert done.returncode == 6, done.stderr
    found = report_of(tmp_path / "run")["recommendation"]
    assert found["strategy"] is None and found["closest"] == "majority"


def test_on_labels_without_sense_nothing_is_said_to_beat_the_most_frequent_answer(tmp_path):
    done = whichway("run", make_task(tmp_path, shuffled=True), "--out", tmp_path / "run", *ONLY)
    assert done.returncode == 0, done.stderr
    found = report_of(tmp_path / "run")["recommendation"]
    assert found["difference"]["low"] <= 0 <= found["difference"]["high"]


def test_two_runs_in_one_folder_at_once_are_refused_to_the_second(tmp_path):
    task, run = make_task(tmp_path), tmp_path / "run"
    first = subprocess.Popen(
        command("run", task, "--out", run, *ONLY),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not (run / "trials").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # so that it cannot end before the second begins
        second = whichway("run", task, "--out", run, *ONLY)
        assert second.returncode == 2
        assert f"pid {first.pid}" in second.stderr and len(two_lines(second)) == 2
    finally:
        first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 0
    assert report_of(run)["state"] == "finished"


CRASHING = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Way:
    needs: ClassVar = ()
    trains: ClassVar = False
    def fit(self, task, train, dev, kit):
        raise RuntimeError("the plug-in broke")
    def load(self, task, folder, kit):
        raise NotImplementedError
"""


def test_a_plug_in_that_raises_ends_as_failed_and_the_study_goes_on(tmp_path):
    plug_in = write_plug_in(tmp_path / "plug", "crashing", CRASHING)
    task = make_task(tmp_path)
    done = whichway(
        "run", task, "--out", tmp_path / "run", "--only", "majority,crashing,classic", PYTHONPATH=str(plug_in)
    )
    assert done.returncode == 0, done.stderr
    report = report_of(tmp_path / "run")
    trials = {one["strategy"]: one for one in report["trials"]}
    assert trials["crashing"]["state"] == "failed"
    assert "the plug-in broke" in trials["crashing"]["reason"]
    assert trials["classic"]["state"] == "done" and report["recommendation"]["strategy"] == "classic"
    assert any("crashing" in one for one in report["recommendation"]["not_tested"])


def test_settings_that_make_a_strategy_fail_do_not_end_the_study(tmp_path):
    task = make_task(tmp_path, more="strategies:\n  settings:\n    classic: {most_words: -5}\n")
    done = whichway("run", task, "--out", tmp_path / "run", *ONLY)
    assert done.returncode == 0, done.stderr
    trials = {one["strategy"]: one["state"] for one in report_of(tmp_path / "run")["trials"]}
    assert trials["majority"] == "done" and trials["classic"] in ("failed", "done")
