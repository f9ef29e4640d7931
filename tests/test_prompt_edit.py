"""An edit of a prompt runs the prompts again, and nothing else; every version stays in the ledger."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from studies import make_task, report_of, settled, whichway

ONLY = ("--only", "classic,prompt-few")


@pytest.mark.slow
def test_an_edited_prompt_is_scored_again_in_seconds_and_the_rest_is_kept(tmp_path: Path) -> None:
    task, run = make_task(tmp_path, 150), tmp_path / "run"
    assert whichway("run", task, "--out", run, *ONLY).returncode in (0, 6)
    first, before = settled(run), {one["strategy"]: one for one in report_of(run)["trials"]}
    assert before["prompt-few"]["sensitivity"]["kinds"].keys() == {"format", "wording", "order"}
    assert before["classic"]["sensitivity"] is None

    text = task.read_text()
    task.write_text(text.replace("Sort the message.", "Which desk has to act on the customer's message?"))
    began = time.monotonic()
    done = whichway("run", task, "--out", run, "--only", "prompt-few")
    took = time.monotonic() - began
    assert done.returncode in (0, 6), done.stderr
    second, after = settled(run), {one["strategy"]: one for one in report_of(run)["trials"]}
    assert first.items() <= second.items()  # nothing was lost or done again
    fitted = {unit[1] for key, units in second.items() if key not in first for unit in units}
    assert fitted == {"prompt-few"}
    assert all(after["classic"][part] == before["classic"][part] for part in ("validation", "build", "use", "state"))
    assert after["prompt-few"]["state"] == "done" and after["prompt-few"]["test"] is None  # it was opened for the first
    assert took < 60, took  # with latency and other forms of the prompt, beside the start of a process

    kept = json.loads(whichway("prompts", run, "--format", "openai", _id(run, "prompt-few", 0)).stdout)
    assert kept["messages"][0]["content"].startswith("Sort the message.")
    diff = whichway("prompts", run, _id(run, "prompt-few", 0), _id(run, "prompt-few", -1)).stdout
    assert "-Sort the message." in diff and "+Which desk has to act on the customer's message?" in diff


@pytest.mark.slow
def test_examples_format_and_rule_are_edited_in_the_task_file(tmp_path: Path) -> None:
    more = "strategies:\n  settings:\n    prompt-few: {examples: [r3, r1], marks: 3, rule: Be strict.}\n"
    task = make_task(tmp_path, 400, more)
    first = whichway("run", task, "--out", tmp_path / "run", "--only", "prompt-few")
    trial = report_of(tmp_path / "run")["trials"][0]
    wrong = [name for name in ("r3", "r1") if f"{name!r} in `examples` is not a train row" in trial["reason"]]
    if wrong:  # the split has put it elsewhere: the reason names rows that can be shown
        shown = trial["reason"].rsplit(": ", 1)[1].rstrip(".").split(", ")[:2]
        task.write_text(task.read_text().replace("[r3, r1]", f"[{', '.join(shown)}]"))
        first = whichway("run", task, "--out", tmp_path / "run", "--only", "prompt-few")
    assert first.returncode in (0, 6), first.stdout + first.stderr
    text = whichway("prompts", tmp_path / "run", _id(tmp_path / "run", "prompt-few", -1)).stdout
    assert "Be strict." in text and text.count("Message - ") == 3 and "Category - " in text


def _id(run: Path, trial: str, number: int) -> str:
    """Return a prompt's id, by its place among those that are no rewording of another."""
    import sqlite3

    with sqlite3.connect(f"file:{run / 'ledger.db'}?mode=ro", uri=True) as book:
        return book.execute(
            "SELECT id FROM prompts WHERE trial = ? AND parent = '' ORDER BY number", (trial,)
        ).fetchall()[number][0]
