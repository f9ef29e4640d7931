"""Guessing a task from rows, and the task file that says what was guessed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from cases import csv_text, good_rows
from hypothesis import given
from hypothesis import strategies as st

from whichway.errors import DataError, UsageError
from whichway.intake.guess import guess_kind, guess_shape
from whichway.intake.init import InitReport, init, quote
from whichway.intake.load import load_task
from whichway.intake.tables import read_table

DATA = Path(os.environ.get("WHICHWAY_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the data beside the project are not there")

SERVED = {"banking77": 77, "sms_spam": 2, "cuad_clause_type": 28, "pubmedqa": 3}
DOCUMENTS = {"stackfaq": 125, "pubmedqa": 1000, "cuad_contract_qa": 2485}
OTHER_SHAPES = {
    "gsm8k": "text", "meqsum": "text", "e2e_nlg_cleaned": "text", "stackfaq": "text", "cuad_contract_qa": "text",
    "sec_loan_ner": "fields",
}  # fmt: skip


def guess(folder: Path, text: str, name: str = "rows.csv", **given: object) -> InitReport:
    (folder / name).write_text(text, encoding="utf-8")
    return init(folder / name, out=folder / "task.yaml", overwrite=True, **given)  # type: ignore[arg-type]


def test_columns_are_guessed_and_the_task_file_reads_back_without_a_change(tmp_path: Path) -> None:
    desks = ("refund", "order", "account")
    rows = "".join(
        f"{i + 100},question {i} {i * 31} here,{i * 3.7:.2f},{('de', 'fr', 'it')[i % 3]},web,{desks[(i // 3) % 3]}\n"
        for i in range(60)
    )
    report = guess(tmp_path, "ticket_id,message,amount,country,channel,desk\n" + rows)
    loaded = load_task(tmp_path / "task.yaml")
    assert [(one.name, one.kind) for one in loaded.task.fields] == [
        ("message", "text"), ("amount", "number"), ("country", "category"),
    ]  # fmt: skip
    assert loaded.settings.target == "desk" and loaded.task.output.names == tuple(sorted(desks))
    assert "left out 'ticket_id'" in report.summary and "left out 'channel'" in report.summary
    assert "60 rows" in report.summary and "refund 21" in report.summary
    assert loaded.task.metric.name == "accuracy" and loaded.findings == report.findings


def test_a_column_that_says_the_same_as_the_target_is_left_out(tmp_path: Path) -> None:
    rows = "".join(f"text {i} {i * i},{i % 2},{'ab'[i % 2]}\n" for i in range(40))
    assert "left out 'code': it says the same as the target" in guess(tmp_path, "text,code,label\n" + rows).summary


@pytest.mark.parametrize(
    ("counts", "metric"),
    [
        ({"a": 30, "b": 30}, {"name": "accuracy", "params": {}}),
        ({"often": 95, "rare": 5}, {"name": "average_precision", "params": {"positive": "rare"}}),
        ({"a": 90, "b": 8, "c": 8}, {"name": "macro_f1", "params": {}}),
        ({"a": 30, "b": 30, "c": 20}, {"name": "accuracy", "params": {}}),
    ],
)
def test_the_metric_follows_the_balance_of_the_labels(tmp_path: Path, counts: dict[str, int], metric: object) -> None:
    rows = [(f"{label} text {i} {i * i}", label) for label, count in counts.items() for i in range(count)]
    guess(tmp_path, csv_text(rows))
    assert load_task(tmp_path / "task.yaml").settings.metric.model_dump() == metric


@pytest.mark.parametrize("sign", ["|", ";"])
def test_joined_labels_are_recognised_as_several(tmp_path: Path, sign: str) -> None:
    sets = (["a", "b"], ["b"], ["a", "c"], ["c"], ["a", "b", "c"])
    guess(tmp_path, csv_text([(f"text {i} {i * i}", sign.join(sets[i % 5])) for i in range(50)]))
    loaded = load_task(tmp_path / "task.yaml")
    assert loaded.task.output.multi and loaded.task.output.names == ("a", "b", "c")
    assert loaded.task.metric.name == "micro_f1" and loaded.examples[0].target == ("a", "b")


def test_lists_of_labels_are_recognised_as_several(tmp_path: Path) -> None:
    rows = [{"input": f"t {i} {i * i}", "output": ["a", "b"][: 1 + i % 2]} for i in range(40)]
    guess(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    assert load_task(tmp_path / "task.yaml").task.output.multi


def test_labels_that_yaml_would_change_come_back_as_they_are(tmp_path: Path) -> None:
    names = ("no", "null", "1e3", "~", "a: b #c", 'qu"ote', "2024-01-02", "é\u200b", "- x", "0x1F", "it's", "ta\\b")
    rows = [{"input": f"t {i} {i * i}", "output": names[i % len(names)]} for i in range(120)]
    guess(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    assert set(load_task(tmp_path / "task.yaml").task.output.names) == set(names)


@given(st.text())
def test_quoted_text_is_the_same_to_any_yaml_reader(text: str) -> None:
    assert yaml.safe_load(quote(text)) == text


def test_an_existing_task_file_is_never_overwritten_unasked(tmp_path: Path) -> None:
    guess(tmp_path, csv_text(good_rows()))
    before = (tmp_path / "task.yaml").read_text()
    with pytest.raises(UsageError) as caught:
        init(tmp_path / "rows.csv", out=tmp_path / "task.yaml")
    assert "exists already" in caught.value.problem and (tmp_path / "task.yaml").read_text() == before


def test_data_that_cannot_be_used_leave_no_task_file_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        guess(tmp_path, csv_text(good_rows(10)))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["rows.csv"]


def test_a_wrong_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        guess(tmp_path, csv_text(good_rows()), target="lable")
    assert "Did you mean 'label'?" in caught.value.fix


def test_what_was_given_is_not_guessed(tmp_path: Path) -> None:
    rows = "".join(f"one {i} {i * i},two {i},{'ab'[i % 2]},{'cd'[i % 2]}\n" for i in range(40))
    guess(tmp_path, "x,y,label,other\n" + rows, inputs=["y"], target="other")
    loaded = load_task(tmp_path / "task.yaml")
    assert [one.name for one in loaded.task.fields] == ["y"] and loaded.task.output.names == ("c", "d")


def test_kinds_and_shapes_of_values() -> None:
    assert guess_kind(["1", "2.5", "", None]) == "number"
    assert guess_kind(["nan", "1"]) == "text" and guess_kind([True, False] * 20) == "category"
    assert guess_kind(["de", "fr"] * 20) == "category" and guess_kind([f"a sentence {i}" for i in range(40)]) == "text"
    assert guess_shape(["yes", "no", "yes"]) == "labels" and guess_shape([{"a": 1}]) == "fields"
    assert (
        guess_shape([["a"], ["a", "b"]] * 20) == "multi" and guess_shape([f"answer {i}" for i in range(40)]) == "text"
    )


@needs_data
@pytest.mark.parametrize("name", [*SERVED, *OTHER_SHAPES])
def test_the_data_beside_the_project_are_readable_as_tables(name: str) -> None:
    assert len(read_table(DATA / name / "train.jsonl").rows) >= 450


@needs_data
@pytest.mark.parametrize(("name", "labels"), SERVED.items())
def test_init_reads_label_data_without_a_flag(name: str, labels: int, tmp_path: Path) -> None:
    folder = DATA / name
    init(folder / "train.jsonl", test=folder / "test.jsonl", out=tmp_path / "task.yaml")
    loaded = load_task(tmp_path / "task.yaml")
    assert len(loaded.task.output.names) == labels and loaded.test and loaded.task.name == name


@needs_data
@pytest.mark.parametrize(("name", "shape"), OTHER_SHAPES.items())
def test_init_tells_text_and_objects_from_labels_and_finds_documents(name: str, shape: str, tmp_path: Path) -> None:
    folder = DATA / name
    init(folder / "train.jsonl", test=folder / "test.jsonl", out=tmp_path / "task.yaml")
    task = load_task(tmp_path / "task.yaml").task
    assert task.output.shape == shape and len(task.documents) == DOCUMENTS.get(name, 0)


@needs_data
def test_init_writes_a_schema_that_every_object_keeps(tmp_path: Path) -> None:
    init(DATA / "sec_loan_ner" / "train.jsonl", out=tmp_path / "task.yaml")
    loaded = load_task(tmp_path / "task.yaml")
    assert loaded.task.output.names == ("PER", "ORG", "LOC", "MISC")
    assert all(loaded.task.output.accepts(one.target) for one in loaded.examples)
    assert not loaded.task.output.accepts({"PER": []})


def test_nested_objects_are_inferred_written_as_yaml_and_read_back(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"i{i}",
            "input": f"Bill {i} of {('tea', 'milk')[i % 2]} for {i} pounds",
            "output": {
                "number": i,
                "total": i + (0.5 if i % 3 == 0 else 0),
                "seller": {"name": f"shop {i % 4}", "vat": None if i % 5 else f"GB{i}"} if i % 2 else None,
                "lines": [{"what": "tea", "count": n, **({"note": "late"} if n == 2 else {})} for n in range(i % 4)],
                **({"due": "no"} if i % 6 == 0 else {}),
            },
        }
        for i in range(1, 61)
    ]
    guess(tmp_path, "".join(json.dumps(one) + "\n" for one in rows), "rows.jsonl")
    schema = yaml.safe_load((tmp_path / "task.yaml").read_text(encoding="utf-8"))["output"]["schema"]
    fields, output = schema["properties"], load_task(tmp_path / "task.yaml").task.output
    assert output.schema == schema and list(fields) == ["number", "total", "seller", "lines", "due"]
    assert fields["number"] == {"type": "integer"} and fields["total"] == {"type": "number"}
    assert set(fields["seller"]["type"]) == {"null", "object"}
    assert set(fields["seller"]["properties"]["vat"]["type"]) == {"null", "string"}
    assert fields["seller"]["required"] == ["name", "vat"] and fields["seller"]["additionalProperties"] is False
    assert fields["lines"]["type"] == "array" and fields["lines"]["items"]["required"] == ["what", "count"]
    assert fields["lines"]["items"]["properties"]["note"] == {"type": "string"}
    assert "due" not in schema["required"] and schema["required"] == ["number", "total", "seller", "lines"]
    assert all(output.read(output.write(one["output"])) == one["output"] for one in rows)
    assert not output.accepts({**rows[0]["output"], "seller": {"name": "x"}}), "a field that all rows have is required"
    assert "- seller: null or object" in output.ask() and "  - note: string, may be left out" in output.ask()
