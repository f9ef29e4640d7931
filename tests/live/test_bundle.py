"""Which solution a run folder answers with, and what is said when it cannot."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from kept import PRICED, finish, lay_solution, make_task, trial

from whichway import cli
from whichway.core.model import Reply
from whichway.errors import BudgetReached, UsageError
from whichway.live import bundle
from whichway.live.answer import answer_file
from whichway.live.bundle import KEPT, load_solution
from whichway.models.endpoint import EndpointModel
from whichway.strategies.parts.prompting import PromptFormat
from whichway.study.lines import folder_name


def answer_of(run: Path, strategy: str | None = None) -> str:
    return load_solution(run, strategy)[1].predict([{"text": "x"}])[0].value


@pytest.mark.parametrize(
    ("test", "expected"),
    [(None, "b"), ({"refit": True}, "b"), ({"refit": False}, "a")],
    ids=["unseen", "refit", "as is"],
)
def test_the_solution_that_was_certified_is_the_one_that_answers(tmp_path: Path, test: object, expected: str) -> None:
    lay_solution(tmp_path, "majority", "fold-0", "a")
    lay_solution(tmp_path, "majority", "final", "b")
    certified = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, **test} if isinstance(test, dict) else None
    one = {**trial("majority", test=certified), "validation": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}}
    assert finish(tmp_path, [one], "majority") == ["majority"]
    assert answer_of(tmp_path) == expected and answer_of(tmp_path / "bundle") == expected


def test_without_a_recommendation_there_is_no_bundle_and_a_strategy_must_be_named(tmp_path: Path) -> None:
    for name, value in (("one", "a"), ("two@mini", "b")):
        lay_solution(tmp_path, name, "fold-0", value)
    trials = [trial("one"), trial("two@mini")]
    finish(tmp_path, trials, "one")
    assert (tmp_path / "bundle" / "solution").is_dir() and answer_of(tmp_path) == "a"
    finish(tmp_path, trials, None)
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(UsageError) as caught:
        load_solution(tmp_path)
    assert "No strategy was recommended" in caught.value.problem
    assert "--strategy" in caught.value.fix and "one, two@mini" in caught.value.fix
    assert answer_of(tmp_path, "two@mini") == "b"


def test_a_run_without_any_solution_says_so(tmp_path: Path) -> None:
    assert finish(tmp_path, [trial("one")], None) == []
    with pytest.raises(UsageError) as caught:
        load_solution(tmp_path)
    assert "--strategy" not in caught.value.fix


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: "",
        lambda kept: "{",
        lambda kept: "[]",
        lambda kept: "null",
        lambda kept: "[" * 100_000,
        lambda kept: json.dumps({**kept, "schema": 2}),
        lambda kept: json.dumps({**kept, "solutions": []}),
        lambda kept: json.dumps({**kept, "task": {}}),
        lambda kept: json.dumps({**kept, "models": None}),
        lambda kept: json.dumps({**kept, "budget_usd": "much"}),
        lambda kept: json.dumps({**kept, "solutions": {"one": {"way": "majority", "settings": {}, "folder": None}}}),
        lambda kept: json.dumps(
            {**kept, "solutions": {"one": {"way": "majority", "settings": {"x": 1}, "folder": "f"}}}
        ),
        lambda kept: json.dumps({**kept, "solutions": {"one": {"way": "majority", "settings": {}, "folder": "../.."}}}),
        lambda kept: json.dumps({key: value for key, value in kept.items() if key != "recommended"}),
    ],
)
def test_a_damaged_list_of_solutions_is_refused_in_words(tmp_path: Path, damage) -> None:
    lay_solution(tmp_path, "one", "fold-0", "a")
    finish(tmp_path, [trial("one")], "one")
    (tmp_path / KEPT).write_text(damage(json.loads((tmp_path / KEPT).read_text())))
    with pytest.raises(UsageError) as caught:
        load_solution(tmp_path)
    assert str(tmp_path) in caught.value.problem and caught.value.fix


def lay_prompted(run: Path, usd: float) -> None:
    """A run whose winner asks an endpoint that has a price; nothing listens at its address."""
    name = "prompt-zero@mini"
    home = run / "trials" / folder_name(name) / "fold-0"
    home.mkdir(parents=True)
    kept = {"format": asdict(PromptFormat()), "shots": 0, "reader": {"trust": 0.5, "fallback": "a"}}
    (home / "prompt.json").write_text(json.dumps(kept))
    settings = {"form": "zero", "model": "mini"}
    finish(run, [trial(name, "prompt", **settings)], name, make_task(), {"mini": PRICED}, usd)


def test_paid_answers_stop_at_the_task_files_budget_before_anything_is_sent(tmp_path: Path) -> None:
    lay_prompted(tmp_path, 0.0)
    (tmp_path / "in.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(BudgetReached):
        answer_file(tmp_path, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(("words", "cap"), [([], 1.5), (["--budget-usd", "0.25"], 0.25)])
def test_the_option_of_the_command_reaches_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], cap: float
) -> None:
    lay_prompted(tmp_path, 1.5)
    (tmp_path / "in.jsonl").write_text('{"text": "x"}\n')
    caps = []
    monkeypatch.setattr(bundle, "Ledger", lambda folder, usd: caps.append((folder, usd)))
    monkeypatch.setattr(EndpointModel, "generate", lambda self, requests: [Reply("b") for _ in requests])
    cli.app(["predict", str(tmp_path), str(tmp_path / "in.jsonl"), *words], standalone_mode=False)
    assert caps == [(tmp_path / "use", cap)]


@pytest.mark.parametrize(("said", "cap"), [(None, 1.5), (0.25, 0.25), (0.0, 0.0)])
def test_the_cap_is_the_options_or_else_the_task_files(tmp_path: Path, said: float | None, cap: float) -> None:
    lay_prompted(tmp_path, 1.5)
    solution = load_solution(tmp_path, usd=said)[1]
    assert solution.model.meter.ledger.usd_cap == cap
    solution.model.meter.ledger.close()
