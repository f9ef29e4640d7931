"""Every prompt of a run can be listed, shown, compared and taken away as text or as chat messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from studies import whichway

from whichway.core.model import Spend
from whichway.core.strategy import PromptVersion
from whichway.errors import UsageError
from whichway.live.prompts import compare_prompts, export_prompt, find_prompt, list_prompts
from whichway.study.ledger import Ledger

FIRST = PromptVersion("Sort it.\n\nInput: {text}\nAnswer:", (("system", "Sort it."), ("user", "Input: {text}")))
SECOND = PromptVersion(
    "Sort it well.\n\nInput: {text}\nAnswer:",
    (("system", "Sort it well."), ("user", "Input: {text}")),
    FIRST.id,
    "wording ... well",
    0.75,
    32,
    11,
    Spend(2.0, 0.01),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "run")
    ledger.keep_prompt("prompt-few", "validation", FIRST)
    ledger.keep_prompt("optimise", "train", SECOND)
    ledger.keep_prompt("optimise", "train", SECOND)
    ledger.close()
    return tmp_path / "run"


def test_prompts_are_kept_once_with_parent_score_and_cost(run: Path) -> None:
    first, second = list_prompts(run)
    assert (first["id"], first["trial"], first["part"]) == (FIRST.id, "prompt-few", "validation")
    kept = {name: second[name] for name in ("parent", "change", "score", "rows", "tokens", "usd")}
    assert kept == {"parent": FIRST.id, "change": SECOND.change, "score": 0.75, "rows": 32, "tokens": 11, "usd": 0.01}


def test_a_run_under_way_may_be_looked_at(run: Path) -> None:
    ledger = Ledger(run)  # holds the folder's lock
    assert len(list_prompts(run)) == 2
    ledger.close()


def test_a_prompt_is_found_by_the_beginning_of_its_id(run: Path) -> None:
    prompts = list_prompts(run)
    assert find_prompt(prompts, SECOND.id[:6])["text"] == SECOND.text
    for wrong in ("zz", ""):
        with pytest.raises(UsageError, match="begins with"):
            find_prompt(prompts, wrong)


def test_a_prompt_is_exported_as_text_and_as_chat_messages(run: Path) -> None:
    prompt = find_prompt(list_prompts(run), SECOND.id)
    assert export_prompt(prompt, "text") == SECOND.text
    said = json.loads(export_prompt(prompt, "openai"))
    assert said["messages"][0] == {"role": "system", "content": "Sort it well."}
    with pytest.raises(UsageError, match="format"):
        export_prompt(prompt, "yaml")


def test_two_prompts_are_compared_line_by_line(run: Path) -> None:
    prompts = list_prompts(run)
    said = compare_prompts(*(find_prompt(prompts, one.id) for one in (FIRST, SECOND))).splitlines()
    assert "-Sort it." in said and "+Sort it well." in said
    assert compare_prompts(prompts[0], prompts[0]) == "The prompts are the same."


def test_the_command_lists_shows_and_writes(run: Path, tmp_path: Path) -> None:
    listed = whichway("prompts", run)
    assert listed.returncode == 0 and FIRST.id in listed.stdout and "32 train rows" in listed.stdout
    shown = whichway("prompts", run, SECOND.id)
    assert shown.stdout.strip() == SECOND.text
    done = whichway("prompts", run, SECOND.id[:5], "--format", "openai", "-o", tmp_path / "p.json")
    assert done.returncode == 0 and json.loads((tmp_path / "p.json").read_text())["messages"]
    assert whichway("prompts", run, FIRST.id, SECOND.id).stdout.startswith("---")
    nothing = whichway("prompts", tmp_path / "none")
    assert nothing.returncode == 2 and "holds no prompt" in nothing.stderr
