"""What `whichway why` decides again, from a file alone, and how it refuses what it cannot read."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
from rich.console import Console

from whichway.core.task import Constraints, Objective
from whichway.errors import UsageError
from whichway.live.why import explain
from whichway.report.why import print_why
from whichway.study.cost import Needs, total_cost
from whichway.study.decision import FILE


def _kept(folder, **more):
    """Three ways at 10 cents an hour of this machine: good 0.5 + 1 per 1,000, cheap 0.5 + 0.01, far 0.5 + 3 at an endpoint."""
    rng = np.random.default_rng(0)
    ways = (("good", 0.9, 1.0, 40.0, True), ("cheap", 0.8, 0.01, 2.0, True), ("far", 0.95, 3.0, 600.0, False))
    said = {
        "schema": 3,
        "part": "test",
        "hourly_usd": 0.1,
        "constraints": asdict(Constraints()),
        "objective": asdict(Objective(requests_per_month=1000)),
        "labels": [],
        "aside": _aside(0.0),
        "validated": [],
        "candidates": [
            {
                "name": name, "p95_ms": p95, "memory_mb": 100.0, "consistency": 1.0, "parsed": 1.0, "order": i,
                "needs": asdict(Needs(
                    name, "prompt" if name == "far" else "classic", local, machine_hours=5.0 if local else 0.0,
                    paid_usd=0.0 if local else 0.5, labels=100 if local else 0,
                    rows_per_s=1000 * 0.1 / (3600 * 0.5 * price) if local else 0.0, calls_usd=0.0 if local else price,
                )),
                "samples": rng.normal(score, 0.01, 2000).tolist(), "p95_samples": None, "pace": None, "build": None,
            }
            for i, (name, score, price, p95, local) in enumerate(ways)
        ],
    }  # fmt: skip
    (folder / FILE).write_text(json.dumps(said | more))
    return folder


def _aside(missed, *unreached):
    return {"missed": {"": missed}, "unreached": unreached}


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
    assert explain(_kept(tmp_path), ["privacy=local"]).then.kept.case.excluded == ("far",)


def _costs(folder, *conditions):
    found = explain(folder, conditions).then.kept.case.candidates
    return {one.name: (one.cost.upfront_usd, one.cost.per_1000_usd) for one in found}


def test_a_dearer_machine_changes_local_costs_alone(tmp_path):
    costs = _costs(_kept(tmp_path), "compute_usd_per_hour=1")
    assert costs["cheap"] == pytest.approx((5.0, 0.1)) and costs["far"] == pytest.approx((0.5, 3.0))


def test_dearer_endpoints_change_theirs_alone(tmp_path):
    costs = _costs(_kept(tmp_path), "endpoint_price_factor=2")
    assert costs["cheap"] == pytest.approx((0.5, 0.01)) and costs["far"] == pytest.approx((1.0, 6.0))


def test_labels_hours_refreshing_and_hosting_can_be_priced_afterwards(tmp_path):
    folder = _kept(tmp_path)
    assert _costs(folder, "label_usd=0.2")["good"][0] == pytest.approx(0.5), "all labels are taken to be there"
    assert _costs(folder, "label_usd=0.2", "labels_owned=10")["good"][0] == pytest.approx(0.5 + 90 * 0.2)
    said = _costs(folder, "hourly_usd=50", "hours.prompt=2", "hours.good=1")
    assert [round(said[name][0], 6) for name in ("good", "cheap", "far")] == [50.5, 0.5, 100.5]
    hosted = explain(folder, ["hosting_usd_per_month=30"]).then.kept.case.candidates
    assert [(one.cost.hosting_usd, one.cost.per_1000_usd) for one in hosted][1:] == [(30, 0), (0, pytest.approx(3))]
    again = explain(folder, ["refresh_months=4"]).then.kept.case
    assert [total_cost(one.cost, again.objective) for one in again.candidates][1:] == [
        pytest.approx(0.5 + 0.12 + 3 * 0.5),
        pytest.approx(0.5 + 36),
    ]
    assert explain(folder, ["hosting_usd_per_month=none"]).then.verdict == explain(folder, ()).then.verdict


def test_hours_of_a_way_that_there_is_not_name_the_ways_that_there_are(tmp_path):
    with pytest.raises(UsageError, match="no way called 'gpt'") as caught:
        explain(_kept(tmp_path), ["hours.gpt=2"])
    assert "cheap, classic, far, good, prompt" in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        *("min_score", "accuracy=0.9", "min_score=high", "max_p95_ms=-1", "min_score=nan", "privacy=no"),
        *("timeline_days=3", "hours=3", "hours.=3", "refresh_months=0", "smallest_difference=none"),
    ],
)
def test_a_condition_that_is_none_is_refused_with_what_there_is(tmp_path, text):
    with pytest.raises(UsageError) as caught:
        explain(_kept(tmp_path), [text])
    assert caught.value.fix


def test_a_name_that_is_none_is_answered_with_all_that_are(tmp_path):
    with pytest.raises(UsageError) as caught:
        explain(_kept(tmp_path), ["cost=1"])
    for name in (
        "min_score",
        "deadline_days",
        "compute_usd_per_hour",
        "endpoint_price_factor",
        "labels_owned",
        "hours.WAY",
    ):
        assert name in caught.value.fix


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


def test_a_better_way_that_the_race_may_have_missed_stays_missed_under_other_conditions(tmp_path):
    sure = explain(_kept(tmp_path), ("max_p95_ms=100",))
    assert (sure.now.verdict.level, sure.then.verdict.level) == ("decided", "decided")
    missed = explain(_kept(tmp_path, aside=_aside(0.3)), ("max_p95_ms=100",))
    assert (missed.now.verdict.level, missed.then.verdict.level) == ("leaning", "leaning")
    assert missed.then.verdict.missed == 0.3
    unreached = explain(_kept(tmp_path, aside=_aside(0.0, "raft")), ("max_p95_ms=100",))
    assert (unreached.now.verdict.level, unreached.then.verdict.level) == ("leaning", "leaning")


def test_where_no_certified_way_meets_the_conditions_one_measured_on_validation_rows_is_named(tmp_path):
    folder = _kept(tmp_path)
    said = json.loads((folder / FILE).read_text())
    every = said["candidates"]
    quick = {**every[1], "name": "quick", "p95_ms": 0.5, "needs": {**every[1]["needs"], "name": "quick"}}
    (folder / FILE).write_text(json.dumps({**said, "validated": [*every, quick]}))
    met = explain(folder, ["max_p95_ms=1"]).then
    assert met.verdict.chosen is None and met.uncertified is not None and met.uncertified.chosen == "quick"
    assert explain(folder, ["max_p95_ms=0.1"]).then.uncertified.chosen is None
    assert explain(folder, ["max_p95_ms=10"]).then.uncertified is None  # a certified way meets it
    console = Console(file=io.StringIO(), width=200)
    print_why(explain(folder, ["max_p95_ms=1"]), console)
    assert "On validation rows alone, without a certificate, quick would be taken" in console.file.getvalue()
