"""What a run keeps of cost and latency, from an endpoint's bill and from this machine's times, with their spread."""

from __future__ import annotations

import json

import pytest
from batch_server import BatchServer

from whichway import load_task
from whichway.live.why import explain
from whichway.study.run import Options, Watcher, run_study

COLOURS = ("red", "green", "blue")
WAYS = ("majority", "prompt-zero@far", "prompt-few@far")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Return report and folder of a study of an endpoint whose rows are of very different lengths, and its bill."""
    folder = tmp_path_factory.mktemp("facts")
    rows = [
        {
            "id": f"r{i}",
            "input": f"a {COLOURS[i % 3]} thing, {i} " + "and more " * (i % 7) ** 2,
            "output": COLOURS[i % 3],
        }
        for i in range(320)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))

    def right(body):
        asked = body["messages"][-1]["content"]
        return json.dumps({"label": next((one for one in COLOURS if one in asked), "red")})

    with BatchServer(say=right) as server:
        (folder / "task.yaml").write_text(
            "task: t\ninstruction: Name the colour.\ndata: {train: rows.jsonl}\nmetric: accuracy\n"
            "objective: {hourly_usd: 60, hours: {prompt: 2}, label_usd: 1, labels_owned: 0, refresh_months: 4}\n"
            "budget: {minutes: 5, usd: 5}\nmodels: {endpoints: {far: "
            f"{{base_url: '{server.base_url}', model: m, price: {{input: 1.0, output: 2.0}}}}}}}}\n"
        )
        report = run_study(load_task(folder / "task.yaml"), folder / "run", Options(only=WAYS), Watcher())
    return report, folder / "run"


def way(report, name):
    return next(one for one in report["cost"]["ways"] if one["strategy"] == name)


def test_the_price_of_an_answer_has_the_spread_of_the_calls_that_were_paid(run):
    report, _ = run
    said = way(report, "prompt-zero@far")["per_1000_usd"]
    trial = next(one for one in report["trials"] if one["strategy"] == "prompt-zero@far")
    assert said["value"] == pytest.approx(trial["use"]["usd_per_1000"], rel=1e-4)
    assert said["low"] < said["value"] < said["high"] and said["high"] / said["low"] < 1.5


def test_two_prompts_at_one_endpoint_are_compared_on_the_same_rows(run):
    report, _ = run
    two = [way(report, f"prompt-{form}@far") for form in ("zero", "few")]
    assert two[0]["per_1000_usd"] == two[1]["per_1000_usd"], "this server counts the row alone"
    assert two[1]["break_even"]["never"] == 1.0 and two[1]["break_even"]["requests"] is None


def test_work_and_labels_are_counted_by_what_each_way_needs(run):
    report, _ = run
    asked, majority = way(report, "prompt-zero@far"), way(report, "majority")
    assert asked["labels"] == 0 and 120 < asked["upfront_usd"]["value"] < 121
    assert majority["upfront_usd"]["value"] == pytest.approx(majority["labels"], abs=0.01) and majority["labels"] > 100
    assert asked["refresh_usd"] == majority["refresh_usd"] == 0.0 and report["cost"]["refreshes"] == 3


def test_the_break_even_of_the_two_has_an_interval(run):
    report, _ = run
    even = way(report, "majority")["break_even"]
    assert report["cost"]["against"] == "prompt-zero@far"
    assert even["low"] < even["requests"] < even["high"] and even["never"] == 0.0
    extra = way(report, "majority")["upfront_usd"]["value"] - way(report, "prompt-zero@far")["upfront_usd"]["value"]
    each = way(report, "prompt-zero@far")["per_1000_usd"]["value"] - way(report, "majority")["per_1000_usd"]["value"]
    assert even["requests"] == pytest.approx(1000 * extra / each, rel=0.001)


def test_the_decision_made_again_has_the_same_numbers_and_other_prices(run):
    report, folder = run
    now = explain(folder, ())
    assert now.now.verdict.chosen == report["recommendation"]["strategy"] == "prompt-zero@far"
    assert [one.as_json() for one in now.now.flips] == report["recommendation"]["flips"]

    def each(*conditions):
        found = explain(folder, conditions).then.kept.case.candidates
        return next(one.cost.per_1000_usd for one in found if one.name == "prompt-zero@far")

    assert each("endpoint_price_factor=3") == pytest.approx(3 * each())
    most = way(report, "prompt-zero@far")["per_1000_usd"]["value"]
    verdict = explain(folder, (f"max_cost_per_1000_usd={most}",)).then.verdict
    assert 0.2 < verdict.p_feasible["prompt-zero@far"] < 0.8, "just at the limit is not within it for sure"
