"""Other forms of a prompt: which are asked, what is kept of each, and what counts when time ends among them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fault_server import Fault, FaultServer, Seen, answer

from whichway import load_task
from whichway.core.strategy import REWRITES
from whichway.core.task import Example, Prediction
from whichway.errors import BudgetReached
from whichway.study import measuring
from whichway.study.bench import Bench
from whichway.study.ledger import read_prompts
from whichway.study.run import Options, Watcher, run_study

COLOURS = ("red", "green", "blue")
WAY = "prompt-few@far"
ASKED_USD = (10 * 1.0 + 2 * 4.0) / 1e6  # of one call: what `answer` says was used, at the prices below


def whim(seen: Seen) -> Fault:
    """Answer rightly, but for what is drawn at a temperature: that is always red."""
    asked = seen.body["messages"][-1]["content"]
    right = next((one for one in COLOURS if one in asked), "yes")
    return Fault(body=answer(json.dumps({"label": "red" if is_drawn(seen) else right})))


def is_drawn(seen: Seen) -> bool:
    return seen.body.get("temperature", 0) > 0


def run(folder: Path, server: FaultServer) -> dict[str, Any]:
    """Run a study of one prompted way; return how its trial is reported."""
    rows = [{"id": f"r{i}", "input": f"a {COLOURS[i % 3]} thing, {i}", "output": COLOURS[i % 3]} for i in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (folder / "task.yaml").write_text(
        "task: t\ninstruction: Name the colour.\ndata: {train: rows.jsonl}\nmetric: accuracy\n"
        "paraphrases: [Say the colour., Which colour is it?, The colour?, Colour]\n"
        f"budget: {{minutes: 5, usd: 5}}\nmodels: {{endpoints: {{far: {{base_url: '{server.base_url}', model: m, "
        "price: {input: 1.0, output: 4.0}}}}\n"
    )
    report = run_study(load_task(folder / "task.yaml"), folder / "run", Options(only=(WAY,)), Watcher())
    assert report["timing"]["at_once"]["far"]["learnt"] == report["timing"]["at_once"]["far"]["allowed"] > 1
    (found,) = [one for one in report["trials"] if one["strategy"] == WAY]
    return dict(found)


def test_every_form_is_asked_and_kept_and_answers_drawn_again_are_told_apart(tmp_path: Path):
    with FaultServer(whim) as server:
        found = run(tmp_path, server)
        drawn = [one.body["temperature"] for one in server.log if is_drawn(one)]
    kinds = found["sensitivity"]["kinds"]
    assert {kind: one["forms"] for kind, one in kinds.items()} == REWRITES
    assert set(drawn) == {0.7} and len(drawn) == REWRITES["repeat"] * found["sensitivity"]["rows"]
    assert kinds["repeat"]["high"] < 1 and kinds["repeat"]["same"] < 1, "they are measured at a temperature"
    assert found["sensitivity"]["low"] == kinds["repeat"]["low"] and found["sensitivity"]["high"] == 1
    assert found["consistency"] == 1, "what is served is drawn at none"
    every = read_prompts(tmp_path / "run")
    others = [one for one in every if one["change"]]
    assert len(others) == sum(most for kind, most in REWRITES.items() if kind != "repeat")
    assert {one["change"] for one in others} == {f"another {kind}" for kind in REWRITES if kind != "repeat"}
    assert {one["parent"] for one in others} == {every[0]["id"]} and {one["score"] for one in others} == {1.0}
    per_form = found["sensitivity"]["rows"] * ASKED_USD
    assert {round(one["usd"], 12) for one in others} == {round(per_form, 12)} and all(
        one["seconds"] > 0 for one in others
    )


def test_forms_that_were_measured_count_where_time_ends_among_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept = Bench.check_time

    def check_time(bench: Bench, needed: float = 0.0) -> None:
        if any(map(is_drawn, server.log)):
            raise BudgetReached("The time budget is used up.")
        kept(bench, needed)

    monkeypatch.setattr(Bench, "check_time", check_time)
    with FaultServer(whim) as server:
        found = run(tmp_path, server)
    kinds = found["sensitivity"]["kinds"]
    assert {kind: one["forms"] for kind, one in kinds.items()} == dict.fromkeys(REWRITES, 1)
    assert found["consistency"] == 1


def test_what_the_comparison_asked_is_not_asked_again_before_a_prompt_is_reworded():
    rows = [Example(name, {"input": name}, "red") for name in "abc"]
    known = {row.id: (Prediction("green", 0.5), 0.0) for row in rows}
    asked: list[int] = []

    def predict(inputs: Any) -> list[Prediction]:
        asked.append(len(inputs))
        return [Prediction("blue", 0.5)] * len(inputs)

    line, solution = SimpleNamespace(name=WAY), SimpleNamespace(predict=predict)
    bench = SimpleNamespace(ledger=SimpleNamespace(predictions=lambda name, part: known))
    told = [measuring._answers(bench, line, solution, rows)]  # type: ignore[arg-type]
    known.pop("b")
    told.append(measuring._answers(bench, line, solution, rows))  # type: ignore[arg-type]
    assert [{one.value for one in answers} for answers in told] == [{"green"}, {"blue"}] and asked == [3]
