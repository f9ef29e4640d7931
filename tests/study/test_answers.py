"""What single answers tell: thresholds, ties of confidence, cascades; on answers laid down by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from whichway import registry
from whichway.core.output import Labels
from whichway.core.task import Example, Objective, Prediction
from whichway.core.text import Text
from whichway.report.found import abstaining, cascaded, needed, retrieval
from whichway.study import blend as blending
from whichway.study import cascade
from whichway.study.answers import abstention, threshold_for
from whichway.study.cascade import cascades
from whichway.study.cost import Cost, in_turn
from whichway.study.further import by_familiarity, further_scores

ROWS = {f"r{i:03}": Example(f"r{i:03}", {"text": str(i)}, "yes" if i % 2 else "no") for i in range(200)}


class Lines:
    """A ledger that holds these answers for both parts."""

    def __init__(self, answers):
        self.answers = answers

    def predictions(self, name, part):
        return self.answers[(name, part)] if (name, part) in self.answers else self.answers[name]

    def trial(self, name):
        return ("done", "", {})


def bench_of(**answers):
    metric = registry.get("metric", "accuracy")()
    kept = {
        name: {row.id: (one, metric.score_example(row, one)) for row, one in zip(ROWS.values(), said, strict=True)}
        for name, said in answers.items()
    }
    task = SimpleNamespace(output=Labels(("no", "yes")), metric=metric, objective=Objective())
    split = SimpleNamespace(test=tuple(ROWS), validation=tuple(ROWS), seed=0)
    return SimpleNamespace(task=task, metric=metric, rows=ROWS, test=ROWS, split=split, ledger=Lines(kept))


def said(right, confidence):
    """Answer each row: `right` and `confidence` are functions of its number."""
    other = {"yes": "no", "no": "yes"}
    return [
        Prediction(row.target if right(i) else other[row.target], confidence(i)) for i, row in enumerate(ROWS.values())
    ]


def test_a_threshold_lets_through_the_promised_share():
    sure = [i / 100 for i in range(100)]
    for promised in (0.05, 0.5, 0.9, 1.0):
        assert sum(one >= threshold_for(sure, promised) for one in sure) == round(100 * promised)


def test_answers_that_are_equally_sure_are_not_told_apart():
    found = abstention(bench_of(flat=said(lambda i: i < 100, lambda i: 0.7)), "flat", "test")
    assert {one["score"] for one in found["curve"]} == {0.5} and found["aurc"] == 0.5


def test_a_way_that_knows_when_it_does_not_know_has_a_falling_curve_and_keeps_its_promises():
    found = abstention(bench_of(wise=said(lambda i: i < 100, lambda i: 1 - i / 200)), "wise", "test")
    assert found["curve"][0]["score"] == 1.0 and found["curve"][-1]["score"] == 0.5 and found["aurc"] < 0.2
    assert [one["measured"] for one in found["promises"]] == [0.95, 0.9, 0.8]
    section = abstaining({"abstention": {"wise": found}})
    assert section.tables[1].rows[0][3].text == "95%"


def test_the_report_tells_how_often_i_do_not_know_was_said_rightly_and_wrongly():
    bench = bench_of(shy=said(lambda i: True, lambda i: 0.8))
    assert (
        "unknown" not in abstention(bench, "shy", "test") and len(abstaining({"abstention": {"shy": {}}}).tables) == 0
    )
    rows = {id_: replace(row, target="" if i < 20 else "yes") for i, (id_, row) in enumerate(ROWS.items())}
    given = [Prediction("", 0.9, parsed=i > 0) if i < 16 or i >= 182 else Prediction("yes", 0.7) for i in range(200)]
    bench.ledger.answers["shy"] = {id_: (one, 0.5) for id_, one in zip(rows, given, strict=True)}
    bench.rows, bench.test, bench.task.output = rows, rows, Text()
    found = abstention(bench, "shy", "test")
    right, wrong = found["unknown"]["rightly"], found["unknown"]["wrongly"]
    assert (right["value"], right["n"], wrong["value"], wrong["n"]) == (0.75, 20, 0.1, 180), "what failed says nothing"
    assert right["low"] < 0.55 and right["high"] > 0.9
    line = abstaining({"abstention": {"shy": found}}).tables[-1].rows[0]
    assert [one.text for one in line] == ["shy", "75%", "10%"] and "n = 20" in line[1].small


@pytest.fixture
def prices(monkeypatch):
    usd = {"small": 0.1, "big": 5.0}
    monkeypatch.setattr(cascade, "running_cost", lambda bench, line: Cost(0.0, usd[line.name]))
    return [SimpleNamespace(name=name) for name in usd]


def test_a_cheap_way_that_is_right_where_it_is_sure_goes_before_a_dear_one(prices):
    bench = bench_of(
        small=said(lambda i: i < 140, lambda i: 0.9 if i < 140 else 0.3), big=said(lambda i: i % 20 != 0, lambda i: 0.8)
    )
    (one,) = cascades(bench, prices, "test")
    assert (one["cheap"], one["dear"]) == ("small", "big") and one["passed_on"] == pytest.approx(0.3, abs=0.02)
    assert one["score"] > one["dear_score"] > one["cheap_score"] and one["difference"]["low"] > 0
    assert one["usd_per_1000"] == pytest.approx(0.1 + one["passed_on"] * 5.0, abs=1e-3)
    assert cascaded({"cascades": [one]}).tables[0].rows[0][0].text == "small, then big"


def test_cascades_are_ranked_by_what_was_known_before_the_test_part(monkeypatch):
    usd = {"first": 0.1, "second": 0.1, "big": 5.0}
    monkeypatch.setattr(cascade, "running_cost", lambda bench, line: Cost(0.0, usd[line.name]))
    lines = [SimpleNamespace(name=name) for name in usd]
    good = said(lambda i: i < 160, lambda i: 0.9 if i < 160 else 0.3)
    poor = said(lambda i: i % 10 != 0 and i < 160, lambda i: 0.9 if i < 160 else 0.3)
    bench, turned = (
        bench_of(first=one, second=other, big=said(lambda i: i % 8 != 0, lambda i: 0.8))
        for one, other in ((good, poor), (poor, good))
    )
    bench.ledger.answers |= {(name, "test"): turned.ledger.answers[name] for name in usd}
    found = cascades(bench, lines, "test")
    assert [one["cheap"] for one in found] == ["first", "second"], "the other way round on the test part"
    assert found[0]["score"] < found[1]["score"] and found[0]["part"] == "test"
    assert found[0]["validation"]["score"] > found[1]["validation"]["score"]
    shown = cascaded({"cascades": found}).tables[0]
    assert "validation" in shown.columns[2].name and shown.columns[3].name == "test"
    assert float(shown.rows[0][2].text) > float(shown.rows[0][3].text)
    bench.ledger.answers |= {(name, "test"): {} for name in usd}
    (once, _) = cascades(bench, lines, "test")
    assert once["part"] == "validation" and cascaded({"cascades": [once]}).tables[0].rows[0][3].text == ""


def torn(rights, sure):
    """Answers with probabilities: right where `rights` says so, as sure as `sure` says."""
    gold = [row.target for row in ROWS.values()]
    other = {"yes": "no", "no": "yes"}
    said = [gold[i] if rights(i) else other[gold[i]] for i in range(200)]
    return [Prediction(one, sure(i), {one: sure(i), other[one]: 1 - sure(i)}) for i, one in enumerate(said)]


def test_the_two_best_ways_are_averaged_and_which_they_are_is_known_before_the_test_part(monkeypatch):
    usd = {"left": 0.5, "right": 2.0, "poor": 0.1, "silent": 0.1}
    monkeypatch.setattr(blending, "running_cost", lambda bench, line: Cost(0.0, usd[line.name]))
    lines = [SimpleNamespace(name=name) for name in usd]
    bench = bench_of(
        left=torn(lambda i: i >= 40, lambda i: 0.6 if i < 40 else 0.9),  # each is unsure where it is wrong
        right=torn(lambda i: i < 150, lambda i: 0.9 if i < 150 else 0.6),
        poor=torn(lambda i: i % 2, lambda i: 0.99),
        silent=said(lambda i: True, lambda i: 0.8),  # the best, but it tells no probabilities
    )
    bench.ledger.answers[("poor", "test")] = bench.ledger.answers["left"]
    found = blending.blend(bench, lines, "test")
    assert found["of"] == ["left", "right"] and found["part"] == "test"
    assert found["score"] == 1.0 and found["scores"] == {"left": 0.8, "right": 0.75} and found["better"] == "left"
    assert found["difference"]["low"] > 0.1 and found["usd_per_1000"] == 2.5
    (line,) = cascaded({"blend": found}).tables[0].rows
    assert line[0].text == "left and right" and line[3].small == "left alone" and line[2].text
    rented = Cost(0.0, 0.0, hosting_usd=100.0, carries=1e9)
    monkeypatch.setattr(blending, "running_cost", lambda bench, line: rented)
    alone = rented.running_per_1000(bench.task.objective.requests_per_month)
    assert blending.blend(bench, lines, "test")["usd_per_1000"] == pytest.approx(alone, rel=1e-3), (
        "one machine for both"
    )
    bench.ledger.answers |= {(name, "test"): {} for name in usd}
    assert blending.blend(bench, lines, "test")["part"] == "validation"
    assert blending.blend(bench, lines[2:], "test") is None, "one way by itself"
    bench.task.output = Labels(("no", "yes"), multi=True)
    assert blending.blend(bench, lines, "test") is None


class Counted:
    """An embedder that remembers how many texts it was given at a time."""

    name = "counted"

    def __init__(self):
        self.calls = []

    def embed(self, texts):
        self.calls.append(len(texts))
        return np.ones((len(texts), 2), dtype=np.float32) / 2**0.5


def test_further_metrics_are_scored_in_one_batch_per_part():
    bench, embedder = bench_of(some=said(lambda i: i < 100, lambda i: 0.5)), Counted()
    bench.task.further = (registry.get("metric", "embedding_similarity")(embedder=embedder),)
    found = further_scores(bench, "some")["embedding_similarity"]
    assert (found["validation"]["n"], found["test"]["n"]) == (200, 200)
    assert found["test"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert len(embedder.calls) == 2, "once for validation and once for test, and not for every row"


def test_a_rented_machine_is_paid_once_and_whole_whatever_share_is_passed_on():
    rented = Cost(0.0, 0.0, hosting_usd=70.0, carries=1e6)
    endpoint = Cost(0.0, 0.5)
    assert in_turn(endpoint, rented, 0.2).running_per_1000(10_000) == pytest.approx(0.5 + 7.0)
    assert in_turn(rented, endpoint, 0.2).running_per_1000(10_000) == pytest.approx(7.0 + 0.2 * 0.5)
    assert in_turn(rented, rented, 0.5).running_per_1000(10_000) == pytest.approx(7.0)
    assert in_turn(rented, rented, 0.5).running_per_1000(2e6) == pytest.approx(
        1.5 * 0.07
    )  # one and a half machines' work
    assert in_turn(endpoint, endpoint, 0.5).running_per_1000(10) == pytest.approx(0.75)


def test_a_cheap_way_that_is_sure_of_nothing_saves_nothing(prices):
    bench = bench_of(small=said(lambda i: i % 2 == 0, lambda i: 0.5), big=said(lambda i: True, lambda i: 0.9))
    assert cascades(bench, prices, "test") == []


def test_rows_about_documents_that_were_learned_from_are_told_apart():
    bench = bench_of(parrot=said(lambda i: i % 4 == 0, lambda i: 0.5))
    about = {id_: replace(row, gold_documents=(f"d{i % 4}",)) for i, (id_, row) in enumerate(ROWS.items())}
    train = {f"t{i}": Example(f"t{i}", {}, "no", gold_documents=("d0",)) for i in range(3)}
    fold = SimpleNamespace(train=tuple(train), dev=(), validation=())
    bench.test, bench.rows = about, {**about, **train}
    bench.split = SimpleNamespace(**vars(bench.split), folds=(fold,), learning=tuple(train))
    found = by_familiarity(bench, "parrot")
    assert found["part"] == "test"
    assert (found["seen"]["value"], found["seen"]["n"]) == (1.0, 50)
    assert (found["unseen"]["value"], found["unseen"]["n"]) == (0.0, 150)
    trial = {"strategy": "parrot", "validation": {"value": 0.5}, "familiarity": found}
    shown = retrieval({"trials": [trial], "task": {"metric": {"name": "accuracy", "bounds": [0, 1]}}})
    assert [cell.text for cell in shown.tables[0].rows[0][1:]] == ["1.000", "0.000"]
    bench.rows = {**about, **{key: replace(row, gold_documents=()) for key, row in train.items()}}
    assert by_familiarity(bench, "parrot") == {}, "nothing was seen: nothing to tell apart"


def test_the_report_says_whether_retrieval_was_needed_by_the_same_way_without_documents():
    prompt = {"then": "prompt", "form": "zero", "model": "causal"}
    trials = [
        {"strategy": "rag", "way": "rag", "settings": prompt},
        {"strategy": "rag-classic", "way": "rag", "settings": {**prompt, "then": "classic"}},
        {"strategy": "rag@big", "way": "rag", "settings": {**prompt, "model": "big"}},
        {"strategy": "raft", "way": "raft", "settings": {}},
        {"strategy": "extractive", "way": "extractive", "settings": {}},
    ]
    pairs = (
        ("prompt-zero", "rag", "test", 0.3, 0.2, 0.4),
        ("rag", "prompt-zero", "validation", 0.1, 0.0, 0.2),
        ("rag-classic", "classic", "validation", 0.25, 0.1, 0.4),
        ("rag@big", "prompt-zero@big", "test", 0.01, -0.02, 0.04),
        ("extractive", "classic", "test", 0.5, 0.4, 0.6),
    )
    keys = ("a", "b", "part", "value", "low", "high")
    report = {"trials": trials, "differences": [{**dict(zip(keys, one, strict=True)), "n": 80} for one in pairs]}
    assert needed(report) == retrieval(report).items
    assert needed(report) == (
        "rag against prompt-zero, the same without documents: -0.300 (-0.400 to -0.200), test, n = 80. Retrieval did harm.",
        "rag-classic against classic, the same without documents: +0.250 (+0.100 to +0.400), validation, n = 80. "
        "Retrieval was needed.",
        "rag@big against prompt-zero@big, the same without documents: +0.010 (-0.020 to +0.040), test, n = 80. "
        "Whether retrieval is needed is not shown.",
    )
