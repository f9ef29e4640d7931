"""From files to the nouns: examples, ids, labels, leaks, fingerprint, and rows to be answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cases import csv_text, good_rows, jsonl_text

from whichway.core.task import Field
from whichway.errors import DataError, TaskFileError
from whichway.intake.load import LoadedTask, load_inputs, load_task


def load(folder: Path, data: str, task: str = "target: label\n", name: str = "rows.csv") -> LoadedTask:
    (folder / name).write_text(data, encoding="utf-8")
    (folder / "task.yaml").write_text(f"task: t\ninstruction: Say it.\ndata: {name}\n{task}", encoding="utf-8")
    return load_task(folder / "task.yaml")


def test_a_task_file_and_a_csv_become_a_task_with_examples(tmp_path: Path) -> None:
    rows = "".join(
        f"{i},msg {i} {i * i},{i * 1.5},{'de' if i % 3 else 'fr'},{'yes' if i % 2 else 'no'}\n" for i in range(40)
    )
    loaded = load(tmp_path, "nr,message,amount,country,label\n" + rows, "target: label\nid: nr\nmetric: accuracy\n")
    assert loaded.task.fields == (
        Field("message", "text"), Field("amount", "number"), Field("country", "category"),
    )  # fmt: skip
    first = loaded.examples[1]
    assert (first.id, dict(first.inputs), first.target) == (
        "1", {"message": "msg 1 1", "amount": 1.5, "country": "de"}, "yes",
    )  # fmt: skip
    assert loaded.task.output.names == ("no", "yes") and loaded.task.metric.name == "accuracy"
    assert loaded.test is None and loaded.folder == tmp_path and loaded.task.text_fields == ("message",)


@pytest.mark.parametrize(
    ("one", "two", "names"), [(True, False, ("false", "true")), (1, 0, ("0", "1")), (1.0, 2.5, ("1", "2.5"))]
)
def test_truth_values_and_numbers_are_labels_in_words(
    tmp_path: Path, one: object, two: object, names: tuple[str, ...]
) -> None:
    data = "".join(json.dumps({"input": f"t {i} x", "output": one if i % 2 else two}) + "\n" for i in range(30))
    loaded = load(tmp_path, data, "", "rows.jsonl")
    assert loaded.task.output.names == names and all(type(row.target) is str for row in loaded.examples)


def test_a_number_that_is_missing_is_none_and_a_text_that_is_missing_is_empty(tmp_path: Path) -> None:
    rows = "".join(f"t {i} x,{'n/a' if i == 3 else i},{'ab'[i % 2]}\n" for i in range(30))
    loaded = load(tmp_path, "text,n,label\n" + rows + ",31,a\n", "target: label\ninputs: {text: text, n: number}\n")
    assert loaded.examples[3].inputs["n"] is None and loaded.examples[4].inputs["n"] == 4.0
    assert loaded.examples[30].inputs["text"] == ""


def test_ids_are_made_of_the_content_and_do_not_depend_on_the_order(tmp_path: Path) -> None:
    one = load(tmp_path, csv_text(good_rows()))
    two = load(tmp_path, csv_text(good_rows()[::-1]))
    assert {row.id for row in one.examples} == {row.id for row in two.examples} and len(one.examples) == 40
    twice = load(tmp_path, csv_text([*good_rows(), good_rows()[0]]))
    assert len({row.id for row in twice.examples}) == 41


def test_several_labels_come_from_a_list_or_from_a_separator(tmp_path: Path) -> None:
    def both(i: int) -> list[str]:
        return ["b", "a"] if i % 2 else ["c"]

    listed = "".join(json.dumps({"input": f"t {i} x", "output": both(i) if i else []}) + "\n" for i in range(30))
    loaded = load(tmp_path, listed, "output: {multi: true}\n", "rows.jsonl")
    assert [row.target for row in loaded.examples[:3]] == [(), ("a", "b"), ("c",)]
    joined = csv_text([(f"t {i} x", ";".join(both(i))) for i in range(30)])
    loaded = load(tmp_path, joined, 'target: label\noutput: {multi: true, separator: ";"}\n')
    assert loaded.examples[1].target == ("a", "b") and loaded.task.output.names == ("a", "b", "c")


def test_declared_labels_keep_their_order_and_descriptions(tmp_path: Path) -> None:
    loaded = load(tmp_path, csv_text(good_rows()), 'target: label\noutput: {labels: {bbb: "late", aaa: }}\n')
    assert loaded.task.output.names == ("bbb", "aaa") and loaded.task.output.descriptions == {"bbb": "late"}


def test_the_fingerprint_changes_with_the_data_and_with_the_task_and_with_nothing_else(tmp_path: Path) -> None:
    one = load(tmp_path, csv_text(good_rows())).fingerprint
    assert load(tmp_path, csv_text(good_rows()), "# a comment\ntarget: 'label'\n").fingerprint == one
    assert load(tmp_path, csv_text(good_rows()) + "x,aaa\n").fingerprint != one
    assert load(tmp_path, csv_text(good_rows()), "target: label\nseed: 1\n").fingerprint != one
    priced = "target: label\nobjective: {hourly_usd: 80, hours: {prompt: 2}}\nconstraints: {deadline_days: 3}\n"
    assert load(tmp_path, csv_text(good_rows()), priced).fingerprint == one, "prices move the verdict and no answer"


def test_train_rows_in_the_test_file_are_dropped_and_ids_stay_apart(tmp_path: Path) -> None:
    numbered = [f"{i},{text},{label}" for i, (text, label) in enumerate(good_rows())]
    (tmp_path / "test.csv").write_text("id,text,label\n0,THE RED PARCEL 0 CAME EARLY!,aaa\n7,something new here,bbb\n")
    task = "target: label\n"
    (tmp_path / "rows.csv").write_text("\n".join(["id,text,label", *numbered]))
    (tmp_path / "task.yaml").write_text(f"task: t\ndata: {{train: rows.csv, test: test.csv}}\n{task}")
    loaded = load_task(tmp_path / "task.yaml")
    assert "0" not in {row.id for row in loaded.examples} and len(loaded.examples) == 39
    assert loaded.test is not None and [row.id for row in loaded.test] == ["test:0", "test:7"]
    assert {"leak-normalised", "small-test", "shared-ids"} <= {one.code for one in loaded.findings}


def test_groups_and_gold_documents_are_kept(tmp_path: Path) -> None:
    rows = [
        {"input": f"t {i} x", "output": "ab"[i % 2], "group": f"g{i % 5}", "gold_doc_ids": ["d1"]} for i in range(30)
    ]
    loaded = load(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "", "rows.jsonl")
    assert loaded.examples[1].group == "g1" and loaded.examples[1].gold_documents == ("d1",)
    assert [one.name for one in loaded.task.fields] == ["input"]


def test_rows_to_be_answered_never_show_their_output(tmp_path: Path) -> None:
    loaded = load(tmp_path, jsonl_text(good_rows()), "", "rows.jsonl")
    bad_answers = '{"id": "a", "input": "x", "output": {"not": "a label"}}\n{"id": "b", "input": "y"}\n'
    (tmp_path / "in.jsonl").write_text(bad_answers)
    answered = load_inputs(tmp_path / "in.jsonl", loaded.task)
    assert [(row.id, dict(row.inputs), row.target) for row in answered] == [
        ("a", {"input": "x"}, None), ("b", {"input": "y"}, None),
    ]  # fmt: skip


def test_a_task_with_one_field_takes_rows_of_id_and_input(tmp_path: Path) -> None:
    loaded = load(tmp_path, csv_text(good_rows()))
    (tmp_path / "in.jsonl").write_text('{"id": "a", "input": "x"}\n')
    assert dict(load_inputs(tmp_path / "in.jsonl", loaded.task)[0].inputs) == {"text": "x"}
    (tmp_path / "in.csv").write_text("text\nhello\nhello\n")
    made = load_inputs(tmp_path / "in.csv", loaded.task)
    assert len(made) == 2 and dict(made[0].inputs) == {"text": "hello"}


def test_a_missing_input_names_line_and_field(tmp_path: Path) -> None:
    rows = [{"input": {"text": f"t {i}", "n": i}, "output": "ab"[i % 2]} for i in range(30)]
    loaded = load(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "", "rows.jsonl")
    (tmp_path / "in.jsonl").write_text('{"input": {"text": "x", "n": 1}}\n\n{"input": {"text": "y"}}\n')
    with pytest.raises(DataError) as caught:
        load_inputs(tmp_path / "in.jsonl", loaded.task)
    assert "in.jsonl, line 3, column 'n'" in caught.value.problem and "text, n" in caught.value.fix


def test_chat_files_need_no_target_and_bring_their_instruction(tmp_path: Path) -> None:
    rows = []
    for text, label in good_rows():
        said = [("system", "Sort it."), ("user", text), ("assistant", label)]
        rows.append(json.dumps({"messages": [{"role": role, "content": words} for role, words in said]}))
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    (tmp_path / "task.yaml").write_text("task: t\ndata: rows.jsonl\n")
    loaded = load_task(tmp_path / "task.yaml")
    assert loaded.task.instruction == "Sort it." and loaded.examples[0].target == "aaa"


def test_a_task_file_that_is_not_there_is_refused_with_exit_code_2(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError) as caught:
        load_task(tmp_path / "nowhere.yaml")
    assert caught.value.exit_code == 2


def test_unlabelled_rows_come_along_without_those_that_are_labelled(tmp_path: Path) -> None:
    rows = [{"id": f"r{i}", "input": f"text {i}", "output": "ab"[i % 2]} for i in range(200)]
    bare = [{"input": "text  7"}, {"input": "new one"}, {"input": "New one"}, {"input": "another"}]
    for name, part in (("rows.jsonl", rows), ("bare.jsonl", bare)):
        (tmp_path / name).write_text("".join(json.dumps(one) + "\n" for one in part))
    task = tmp_path / "task.yaml"
    task.write_text("task: t\ninstruction: Sort.\ndata: {train: rows.jsonl, unlabelled: bare.jsonl}\n")
    loaded = load_task(task)
    assert [one["input"] for one in loaded.task.unlabelled] == ["New one", "another"]
    assert any(one.code == "unlabelled-known" and "2 of 4" in one.message for one in loaded.findings)
    (tmp_path / "bare.jsonl").write_text('{"input": "other"}\n')
    assert load_task(task).fingerprint != loaded.fingerprint
    task.write_text(task.read_text().replace("Sort.", "Sort them."))
    again = load_task(task)
    assert again.fingerprint == load_task(task).fingerprint and again.task.instruction == "Sort them."
