"""The plan: what will run, for how long, for how much, and what can be told apart."""

from __future__ import annotations

import json

import pytest

from whichway import load_task
from whichway.study import plan as planning
from whichway.study.evidence import smallest_detectable
from whichway.study.lines import make_lines
from whichway.study.plan import make_plan
from whichway.study.split import make_split

ENDPOINT = """
budget: {minutes: 30, usd: 5}
models:
  endpoints:
    big: {base_url: "http://localhost:1/v1", model: big-1, price: {input: PRICE, output: 2.0}}
"""


@pytest.fixture
def plan(tmp_path):
    def make(rows: int = 200, more: str = "", length: int = 5, labels: int = 2):
        body = "".join(f"{' '.join(['word'] * length)} {i},l{i % labels}\n" for i in range(rows))
        (tmp_path / "rows.csv").write_text("text,label\n" + body)
        head = "task: t\ninstruction: Give the label.\ndata: {train: rows.csv}\ntarget: label\nmetric: accuracy\n"
        (tmp_path / "task.yaml").write_text(head + more)
        loaded = load_task(tmp_path / "task.yaml")
        split = make_split(loaded.examples, loaded.test, 0)
        lines = make_lines(loaded.task, loaded.settings)
        return make_plan(loaded.task, loaded.examples, split, lines, loaded.settings)

    return make


def estimates(plan) -> dict:
    return {one.line.name: one for one in plan.estimates}


def test_every_line_is_either_estimated_or_excluded(plan):
    found = plan()
    assert len(found.estimates) + len(found.excluded) >= 9
    assert all(one.excluded for one in found.excluded)
    assert not {one.line.name for one in found.estimates} & {one.name for one in found.excluded}


def test_more_rows_and_longer_rows_take_longer_and_local_work_costs_no_calls(plan):
    short, many, long = estimates(plan(200)), estimates(plan(800)), estimates(plan(200, length=60))
    assert many["classic"].seconds > short["classic"].seconds < long["classic"].seconds
    assert all(one.usd == 0 and one.calls == 0 for one in short.values())
    assert all(one.seconds > 0 for one in short.values())


def test_a_slower_machine_takes_longer_over_model_work_and_not_over_the_rest(plan, monkeypatch):
    pytest.importorskip("torch")
    found = []
    for slow in (0.0, 1.0, 8.0):  # the first: all that is not a model's work
        monkeypatch.setattr(planning, "slowness", lambda exact=False, slow=slow: slow / 2 if exact else slow)
        found.append({name: one.seconds for name, one in estimates(plan(800)).items()})
    rest, fast, slow = found
    assert fast["prompt-few"] < slow["prompt-few"] < 8 * fast["prompt-few"]
    for name in ("encoder", "probe"):
        assert slow[name] - rest[name] == pytest.approx(8 * (fast[name] - rest[name])) and fast[name] > rest[name]
    assert slow["classic"] == fast["classic"] == rest["classic"]
    assert rest["probe"] > planning.START_S["embedder"] + 0.3, "its head is no model"


def test_other_forms_of_a_prompt_take_as_long_as_a_study_gives_them_at_most(plan, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(planning, "slowness", lambda exact=False: 40.0)

    def seconds(most: float) -> float:
        monkeypatch.setattr(planning, "REWRITTEN_S", most)
        return estimates(plan(200))["prompt-few"].seconds

    one, every = seconds(0.0), seconds(1e6)
    form = (every - one) / 8
    assert form > 0 and seconds(3 * form) == pytest.approx(one + 2 * form), "one is asked in any case, nine at most"


@pytest.mark.parametrize(("labels", "fewer"), [(2, False), (40, True)])
def test_labels_that_need_not_be_read_to_their_end_take_no_time(plan, monkeypatch, labels, fewer):
    pytest.importorskip("torch")
    monkeypatch.setattr(planning, "slowness", lambda exact=False: 1.0)
    found = []
    for spared in (0.0, 0.5):
        monkeypatch.setattr(planning, "SPARED", spared)
        found.append(estimates(plan(400, labels=labels))["prompt-few"].seconds)
    assert (found[1] < found[0]) is fewer


def test_what_trains_in_fp32_takes_as_long_as_fp32_does_here(plan, monkeypatch):
    pytest.importorskip("torch")
    found = []
    for exact in (1.0, 3.0):
        monkeypatch.setattr(planning, "slowness", lambda exact=False, fp32=exact: fp32 if exact else 1.0)
        found.append(estimates(plan(800)))
    one, other = found
    assert {name for name in one if one[name].seconds != other[name].seconds} == {"encoder"}
    monkeypatch.setattr(planning, "slowness", lambda exact=False: 1.0 if exact else 3.0)
    slow = estimates(plan(800))["encoder"].seconds - one["encoder"].seconds
    assert slow > 0, "its vectors are in the models' format"


def test_a_paid_call_is_estimated_from_its_price(plan):
    cheap, dear = (
        estimates(plan(more=ENDPOINT.replace("PRICE", price)))["prompt-few@big"] for price in ("1.0", "10.0")
    )
    assert 0 < cheap.usd < dear.usd
    assert cheap.calls == dear.calls > 100
    zero = estimates(plan(more=ENDPOINT.replace("PRICE", "1.0")))["prompt-zero@big"]
    assert zero.usd < cheap.usd


def test_the_plan_says_which_differences_each_part_can_show(plan):
    found = plan(200)
    assert found.detectable == {"validation": smallest_detectable(100), "test": smallest_detectable(100)}
    assert "test" not in plan(100).detectable


def test_expectations_name_the_situation_they_rest_on(plan):
    assert any("no endpoint" in one.lower() for one in plan().expectation)
    assert any("Privacy" in one for one in plan(more="constraints: {privacy: local}\n").expectation)
    assert any("too few to train" in one for one in plan(rows=24, labels=6).expectation)
    busy = plan(more="objective: {requests_per_month: 500000}\n").expectation
    assert any("500,000 requests" in one for one in busy)


def test_an_endpoint_with_a_price_is_left_out_when_no_money_may_be_spent(plan):
    free = ENDPOINT.replace("usd: 5", "usd: 0").replace("PRICE", "1.0")
    excluded = {one.name: one.excluded for one in plan(more=free).excluded}
    assert "budget.usd is 0" in excluded["prompt-few@big"]


def test_a_known_model_is_planned_at_its_list_price(plan):
    listed = ENDPOINT.replace("http://localhost:1/v1", "https://api.openai.com/v1").replace(
        ", price: {input: PRICE, output: 2.0}", ""
    )
    found = estimates(plan(more=listed.replace("big-1", "gpt-4.1-mini")))
    assert found["prompt-few@big"].usd > 0


def test_an_endpoint_without_a_known_price_is_left_out_with_what_to_add(plan):
    unknown = ENDPOINT.replace("localhost:1", "10.0.0.1").replace(", price: {input: PRICE, output: 2.0}", "")
    excluded = {one.name: one.excluded for one in plan(more=unknown).excluded}
    assert "is unknown" in excluded["prompt-few@big"] and "price: {input:" in excluded["prompt-few@big"]


@pytest.fixture
def written(tmp_path):
    """Return a plan of rows with texts or objects as answers, and documents."""

    def make(shape: str, rows: int = 150, documents: str = "documents: documents.jsonl\n", more: str = ""):
        answer = {
            "text": lambda i: f"It is thing {i} of all.",
            "fields": lambda i: {"n": i},
            "labels": lambda i: f"l{i % 3}",
        }
        lines = [{"id": str(i), "input": f"which thing is {i}?", "output": answer[shape](i)} for i in range(rows)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        (tmp_path / "documents.jsonl").write_text("".join(f'{{"id": "{i}", "text": "Things."}}\n' for i in "ab"))
        metric = {"text": "token_f1", "fields": "exact_record", "labels": "accuracy"}[shape]
        head = "task: t\ninstruction: Say it.\ndata: {train: rows.jsonl}\ninputs: {input: text}\ntarget: output\n"
        said = f"{head}metric: {metric}\noutput: {{shape: {shape}}}\n{documents}{more}"
        (tmp_path / "task.yaml").write_text(said)
        loaded = load_task(tmp_path / "task.yaml")
        split = make_split(loaded.examples, loaded.test, 0)
        return make_plan(loaded.task, loaded.examples, split, make_lines(loaded.task, loaded.settings), loaded.settings)

    return make


@pytest.mark.parametrize("shape", ["text", "fields"])
def test_what_practice_would_try_is_said_of_texts_and_objects_and_of_documents(written, shape):
    many, few = (" ".join(written(shape, rows).expectation) for rows in (400, 50))
    assert {"text": "texts", "fields": "JSON objects"}[shape] in many and "2 documents: looking up" in many
    assert "per answer" not in many and "encoder" not in many, "no such way answers in this shape"
    assert "enough to fine-tune" in many and "too few to train" in few
    assert "documents" not in " ".join(written(shape, documents="").expectation)
    assert "per answer" in " ".join(written("labels").expectation)


def test_passages_are_part_of_the_time_that_is_planned(written):
    found = estimates(written("labels"))
    assert found["rag"].seconds > found["prompt-zero"].seconds + 5, "as many as a study usually shows"
    more = estimates(written("labels", more="strategies: {settings: {rag: {passages: 5}, raft: {passages: 9}}}\n"))
    assert more["rag"].seconds > found["rag"].seconds + 5
    assert more["raft"].seconds > 3 * found["raft"].seconds, "read in training"
    assert more["rag-finetune"].seconds < 0.5 * more["raft"].seconds, "and in use alone"
