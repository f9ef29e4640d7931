"""Answers that somebody likes less: read beside the right one, refused where they make no sense, never an input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whichway import load_task
from whichway.errors import DataError
from whichway.intake.init import init
from whichway.intake.tables import read_table

TEXT = "task: t\ninstruction: Reply.\ndata: rows.jsonl\noutput: {shape: text}\nmetric: token_f1\n"
OBJECT = {"total": 5}
FIELDS = TEXT.replace("shape: text", "shape: fields").replace("token_f1", "field_f1")


def loaded(folder: Path, rejected: Any, task: str = TEXT, output: Any = "Yes, we do.", usual: Any = None) -> Any:
    row = {"input": "Do you open on Sundays?", "output": output, "rejected": rejected}
    plain = [{"input": f"Question {i}?", "output": usual or output} for i in range(20)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [*plain, row]))
    (folder / "task.yaml").write_text(task)
    return load_task(folder / "task.yaml")


@pytest.mark.parametrize(
    ("rejected", "read"),
    [("Go away. ", ("Go away.",)), (["No.", "Go away."], ("No.", "Go away.")), (None, ()), ([], ())],
)
def test_rejected_answers_are_read_beside_the_right_one_and_are_no_input(tmp_path, rejected, read):
    found = loaded(tmp_path, rejected)
    assert found.examples[-1].rejected == read and found.examples[0].rejected == ()
    assert [one.name for one in found.task.fields] == ["input"]


def test_an_object_may_have_a_rejected_object(tmp_path):
    assert loaded(tmp_path, {"total": 6}, FIELDS, OBJECT).examples[-1].rejected == ({"total": 6},)


@pytest.mark.parametrize(
    ("rejected", "said"),
    [
        ("Yes, we do. ", "rejected answer is the right one"),
        (["No.", 5], "rejected answer '5' is no text"),
        ({"a": 1}, "is no text"),
        ("", "is no text"),
    ],
)
def test_a_rejected_answer_that_makes_no_sense_is_refused_with_its_line(tmp_path, rejected, said):
    with pytest.raises(DataError, match=said) as error:
        loaded(tmp_path, rejected)
    assert "line 21" in error.value.problem and error.value.fix


def test_a_text_is_no_rejected_object(tmp_path):
    with pytest.raises(DataError, match="is no JSON object"):
        loaded(tmp_path, "six", FIELDS, OBJECT)


def test_a_column_called_rejected_that_is_an_input_or_stands_beside_labels_stays_what_it_is(tmp_path):
    as_input = TEXT + "inputs: {input: text, rejected: category}\n"
    found = loaded(tmp_path, "no", as_input)
    assert found.examples[-1].inputs["rejected"] == "no" and found.examples[-1].rejected == ()
    labels = "task: t\ninstruction: Sort.\ndata: rows.jsonl\ninputs: [input]\ntarget: output\n"
    assert loaded(tmp_path, "no", labels, "yes", "no").examples[-1].rejected == ()


SAID = [{"role": "user", "content": "Open on Sundays?"}]
PAIRS = {
    "openai": {
        "input": {"messages": SAID, "tools": []},
        "preferred_output": [{"role": "assistant", "content": "We do."}],
        "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
    },
    "texts": {"prompt": "Open on Sundays?", "chosen": "We do.", "rejected": "No idea."},
    "messages": {
        "prompt": SAID,
        "chosen": [{"role": "assistant", "content": "We do."}],
        "rejected": [{"role": "assistant", "content": "No idea."}],
    },
}


@pytest.mark.parametrize("form", PAIRS)
def test_files_of_preferences_are_read_and_init_makes_a_task_of_them(tmp_path, form):
    said = json.dumps(PAIRS[form])
    made = [
        said.replace("Sundays", f"day {i}").replace("We do", f"Yes, of course, on day {i} we do") for i in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(made))
    table = read_table(tmp_path / "rows.jsonl")
    row = {"input": "Open on day 3?", "output": "Yes, of course, on day 3 we do.", "rejected": "No idea."}
    assert table.rows[3] == row and table.inputs == ("input",) and table.format == "preference"
    init(tmp_path / "rows.jsonl", out=tmp_path / "task.yaml")
    found = load_task(tmp_path / "task.yaml")
    assert [one.name for one in found.task.fields] == ["input"] and found.task.output.shape == "text"
    assert {one.rejected for one in found.examples} == {("No idea.",)}


def test_a_preference_without_an_answer_is_refused_with_its_line(tmp_path):
    rows = [PAIRS["texts"], {"prompt": "Open?", "chosen": "We do.", "rejected": None}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="`rejected` is neither a text nor a list of messages"):
        read_table(tmp_path / "rows.jsonl")
