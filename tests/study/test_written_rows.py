"""What a model wrote for labels with few rows is learned from, told, and never compared or tested on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fault_server import Fault, FaultServer, Seen, answer
from studies import WORDS, make_task

from whichway import Options, Watcher, load_task, run_study
from whichway.report.markdown import render_markdown
from whichway.strategies.classic import Classic
from whichway.study.ledger import Ledger


def write(seen: Seen) -> Fault:
    """Write an input of the label that is asked for, never the same twice; the text says who wrote it."""
    text = seen.body["messages"][-1]["content"]
    label = next((one for one in WORDS if f"kind {one!r}" in text), next(iter(WORDS)))
    write.count += 1
    return Fault(body=answer(f"{WORDS[label]} machine {write.count}"))


write.count = 0


def test_a_row_that_a_model_wrote_is_learned_from_and_never_in_validation_or_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[tuple[Any, Any]] = []
    fit = Classic.fit

    def listening(self: Any, task: Any, train: Any, dev: Any, kit: Any) -> Any:
        fits.append(({one.id for one in train}, {one.id for one in dev}))
        return fit(self, task, train, dev, kit)

    monkeypatch.setattr(Classic, "fit", listening)
    with FaultServer(write) as server:
        more = (
            f"models: {{endpoints: {{far: {{base_url: '{server.base_url}', model: m}}}}}}\n"
            "strategies: {settings: {distill: {teachers: [classic], student: classic, rounds: 1, synthetic: 40, writer: far}}}\n"
        )
        task = make_task(tmp_path, 200, more)
        task.write_text(task.read_text().replace(", amount: number", ""))  # one text field
        loaded = load_task(task)
        report = run_study(loaded, tmp_path / "run", Options(only=("majority", "distill")), Watcher())
    (trial,) = [one for one in report["trials"] if one["strategy"] == "distill"]
    told = trial["taught"]
    assert trial["state"] == "done" and told["written"] > 0 < told["kept_written"] <= told["kept"]
    assert f"{told['written']} that a model wrote" in render_markdown(report)
    kept = [json.loads(one.read_text())["rows"] for one in (tmp_path / "run" / "trials").rglob("learned.json")]
    wrote = {one["id"] for rows in kept for one in rows if one.get("written_by") == "model"}
    assert wrote and all("machine" in one["inputs"]["message"] for rows in kept for one in rows if one["id"] in wrote)
    assert any(wrote & train for train, _ in fits), "the student learned from them"
    people = {one.id for one in (*loaded.examples, *(loaded.test or ()))}
    assert all(dev <= people for _, dev in fits), "nothing is chosen by them"
    ledger = Ledger(tmp_path / "run")
    for name in ("majority", "distill"):
        validation, test = (set(ledger.predictions(name, part)) for part in ("validation", "test"))
        assert validation and validation <= people and test <= people and not wrote & (validation | test)
    assert set(ledger.predictions("distill", "test")), "the test part was opened for it"
    ledger.close()
