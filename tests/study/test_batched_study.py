"""A study whose endpoint is asked in batches: what it costs, what it says, and when it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer

from whichway import load_task
from whichway.study.lines import Means, make_lines
from whichway.study.plan import make_plan
from whichway.study.run import Options, Watcher, run_study
from whichway.study.split import make_split

COLOURS = ("red", "green", "blue")
PRICE = "{input: 1.0, output: 2.0, batch_discount: 0.5}"


def right(body: dict[str, Any]) -> str:
    asked = body["messages"][-1]["content"]
    return json.dumps({"label": next((one for one in COLOURS if one in asked), "yes")})


@pytest.fixture
def told(tmp_path: Path) -> Any:
    """Return a function that writes a task with an endpoint asked in batches and loads it."""

    def make(base_url: str, how: str = "batch: true, batch_minutes: 4", price: str = PRICE) -> Any:
        lines = [
            {"id": f"r{i}", "input": f"a {COLOURS[i % 3]} thing, {i}", "output": COLOURS[i % 3]} for i in range(320)
        ]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        (tmp_path / "task.yaml").write_text(
            "task: t\ninstruction: Name the colour.\ndata: {train: rows.jsonl}\nmetric: accuracy\n"
            "budget: {minutes: 5, usd: 5}\nmodels: {endpoints: {far: "
            f"{{base_url: '{base_url}', model: m, price: {price}, {how}}}}}}}\n"
        )
        return load_task(tmp_path / "task.yaml")

    return make


def planned_usd(loaded: Any) -> float:
    lines = make_lines(loaded.task, loaded.settings, ("prompt-zero@far",))
    split = make_split(loaded.examples, loaded.test, loaded.settings.seed)
    return make_plan(loaded.task, loaded.examples, split, lines, loaded.settings).usd


def test_every_part_of_a_trial_goes_as_one_batch_at_its_discount(
    told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("whichway.models.endpoint_batch.LOOK_S", (0.01, 0.05))
    with BatchServer(say=right, looks=1) as server:
        report = run_study(told(server.base_url), tmp_path / "run", Options(only=("prompt-zero@far",)), Watcher())
        sizes = [len(server.files[one["input_file_id"]].splitlines()) for one in server.batches]
    trial = report["trials"][0]
    assert trial["state"] == "done" and sizes == [trial["validation"]["n"], trial["test"]["n"]]
    assert report["spent"]["usd"] == pytest.approx(server.bill_usd, abs=1e-6)
    assert trial["use"]["p95_ms"] > 0, "latency is that of single calls"
    ordinary = 2 * server.bill_usd / (sum(sizes) + server.chats) * 1000
    assert trial["use"]["usd_per_1000"] > 0.6 * ordinary, "in use rows come one by one, at the ordinary price"
    assert report["prices"][0]["input"] == 0.5
    assert report["prices"][0]["said"] == "the task file's, within a batch"


def test_a_batch_is_planned_at_its_discount(told: Any):
    far = "http://127.0.0.1:1/v1"
    plain, batched = planned_usd(told(far, "batch: false")), planned_usd(told(far))
    assert 0.5 * plain < batched < 0.75 * plain, "calibration and rewordings are too few for a batch"
    assert planned_usd(told(far, price="{input: 1.0, output: 2.0}")) == pytest.approx(plain)


def test_a_batch_that_may_outlast_the_budget_is_left_out_with_what_to_do(told: Any):
    loaded = told("http://127.0.0.1:1/v1", "batch: true")

    def left_out(minutes: float) -> str:
        lines = make_lines(loaded.task, loaded.settings, ("prompt-zero@far",), Means(5.0, minutes))
        return lines[0].excluded

    said = left_out(30)
    assert "batch of 'far' may take 1440 minutes" in said and "budget.minutes" in said and "batch_minutes" in said
    assert left_out(1440) == ""
