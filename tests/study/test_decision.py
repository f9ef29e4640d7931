"""What `whichway why` decides again, from a file alone, and how it refuses what it cannot read."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from whichway.core.task import Constraints, Objective
from whichway.errors import UsageError
from whichway.live.why import explain
from whichway.study.decision import FILE


def _kept(folder, **more):
    rng = np.random.default_rng(0)
    ways = (("good", 0.9, 1.0, 40.0, True), ("cheap", 0.8, 0.01, 2.0, True), ("far", 0.95, 3.0, 600.0, False))
    said = {
        "schema": 1,
        "part": "test",
        "hourly_usd": 0.1,
        "constraints": asdict(Constraints()),
        "objective": asdict(Objective(requests_per_month=1000)),
        "candidates": [
            {
                "name": name, "local": local, "upfront_usd": 0.5, "per_1000_usd": price, "machine_usd": 0.5, "p95_ms": p95,
                "memory_mb": 100.0, "consistency": 1.0, "parsed": 1.0, "order": i,
                "samples": rng.normal(score, 0.01, 2000).tolist(),
            }
            for i, (name, score, price, p95, local) in enumerate(ways)
        ],
    }  # fmt: skip
    (folder / FILE).write_text(json.dumps(said | more))
    return folder


@pytest.mark.parametrize(
    ("conditions", "chosen"),
    [
        ((), "far"),
        (("privacy=local",), "good"),
        (("max_p95_ms=100",), "good"),
        (("max_p95_ms=10",), "cheap"),
        (("smallest_difference=0.2",), "cheap"),
        (("min_score=0.85", "max_cost_per_1000_usd=2"), "good"),
        (("min_score=0.99",), None),
        (("compute_usd_per_hour=1", "max_cost_per_1000_usd=5"), "far"),
    ],
)
def test_another_condition_gives_the_verdict_it_asks_for(tmp_path, conditions, chosen):
    found = explain(_kept(tmp_path), conditions)
    assert found.then.verdict.chosen == chosen
    assert found.now.verdict.chosen == "far"


def test_privacy_names_whom_it_leaves_out(tmp_path):
    assert explain(_kept(tmp_path), ["privacy=local"]).then.excluded == ("far",)


def test_a_dearer_machine_changes_local_costs_alone(tmp_path):
    dear = explain(_kept(tmp_path), ["compute_usd_per_hour=1"]).then.kept.candidates
    costs = {one.name: (one.cost.upfront_usd, one.cost.per_1000_usd) for one in dear}
    assert costs["cheap"] == pytest.approx((5.0, 0.1)) and costs["far"] == pytest.approx((5.0, 3.0))


@pytest.mark.parametrize(
    "text", ["min_score", "accuracy=0.9", "min_score=high", "max_p95_ms=-1", "min_score=nan", "privacy=no"]
)
def test_a_condition_that_is_none_is_refused_with_what_there_is(tmp_path, text):
    with pytest.raises(UsageError) as caught:
        explain(_kept(tmp_path), [text])
    assert caught.value.fix


def test_a_condition_given_twice_is_refused(tmp_path):
    with pytest.raises(UsageError, match="twice"):
        explain(_kept(tmp_path), ["min_score=0.8", "min_score=0.9"])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 9}'])
def test_a_damaged_decision_is_an_error_and_no_traceback(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UsageError, match="damaged"):
        explain(tmp_path, ())


def test_a_folder_without_a_run_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="no decision"):
        explain(tmp_path, ())
