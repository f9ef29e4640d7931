"""The task file: what stays a string, what becomes a number, and where a mistake is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whichway.errors import TaskFileError
from whichway.intake.taskfile import TaskFile, read_task_file

FULL = """
task: support-triage
instruction: Route the message to the desk.
context: ""
data: {train: rows.jsonl, test: null, format: auto}
inputs: {message: text, amount_eur: number, country: category}
target: output
id: id
group: null
output: {shape: labels, labels: {no: "not at all", yes: , on: "", 1e3: "", 2024-01-02: x, "null": y}, separator: "|"}
metric: {name: recall_at_precision, positive: no, precision: 0.9}
objective: {smallest_difference: 0.01, requests_per_month: 1e5, compute_usd_per_hour: null}
constraints: {min_score: 0.5, max_p95_ms: 200, privacy: local}
budget: {minutes: 5, usd: 0.5}
models:
  causal: embedded
  endpoints:
    small:
      base_url: http://localhost:8000/v1
      model: m
      key_env: OPENAI_API_KEY
      price: {input: 0.15, output: 0.6, cached_input: 0.075}
strategies:
  only: [finetune, probe]
  settings: {finetune: {epochs: 3, rate: 2e-4, fast: true, note: "3", parts: [1, a]}}
seed: 7
"""


def read(folder: Path, text: str | bytes) -> TaskFile:
    path = folder / "task.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_task_file(path)[0]


def test_everything_that_a_task_file_may_say_is_read(tmp_path: Path) -> None:
    said = read(tmp_path, FULL)
    assert said.output.labels == {"no": "not at all", "yes": "", "on": "", "1e3": "", "2024-01-02": "x", "null": "y"}
    assert said.metric.params == {"positive": "no", "precision": 0.9}
    assert said.objective.requests_per_month == 100_000 and said.objective.compute_usd_per_hour is None
    assert said.strategies.settings["finetune"] == {
        "epochs": 3, "rate": 2e-4, "fast": True, "note": "3", "parts": [1, "a"],
    }  # fmt: skip
    assert type(said.strategies.settings["finetune"]["parts"][1]) is str
    endpoint = said.models.endpoints["small"]
    assert endpoint.price is not None and endpoint.price.cached_input == 0.075 and endpoint.max_concurrency == 4
    assert said.data.test is None and said.group is None and said.seed == 7


def test_labels_in_a_list_stay_strings(tmp_path: Path) -> None:
    said = read(tmp_path, "task: t\ndata: r.csv\noutput: {labels: [no, yes, 1, 2.50, true, 0x1F, 12:30]}\n")
    assert list(said.output.labels or ()) == ["no", "yes", "1", "2.50", "true", "0x1F", "12:30"]


def test_the_short_forms_mean_the_same_as_the_long_ones(tmp_path: Path) -> None:
    short = read(tmp_path, "task: t\ndata: r.csv\nmetric: accuracy\ninputs: [a, b]\n")
    long = read(tmp_path, "task: t\ndata: {train: r.csv}\nmetric: {name: accuracy}\ninputs: {a: , b: null}\n")
    assert short == long


def test_a_key_without_a_value_keeps_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, "task: t\ndata: r.csv\nseed:\nbudget:\nmodels: {causal: ~}\n").budget.minutes == 30


def test_a_data_file_given_as_task_file_names_init(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError) as caught:
        read_task_file(tmp_path / "rows.csv")
    assert "whichway init" in caught.value.fix


def test_an_error_says_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError) as caught:
        read(tmp_path, "task: t\ndata: r.csv\n\nbudget:\n  minutes: -3\n")
    assert "task.yaml, line 5, column 3" in caught.value.problem


def test_a_long_token_is_refused_wherever_a_name_is_expected_and_never_repeated(tmp_path: Path) -> None:
    token = "9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c"
    for line in (f"context: use {token}", f"models: {{causal: {token}}}", f"strategies: {{only: [{token}]}}"):
        with pytest.raises(TaskFileError) as caught:
            read(tmp_path, f"task: t\ndata: r.csv\n{line}\n")
        assert "line 3" in caught.value.problem and token not in caught.value.problem + caught.value.fix
    uuid = "123e4567-e89b-12d3-a456-426614174000"
    assert read(tmp_path, f"task: t\ndata: {token}.csv\nmodels: {{causal: {uuid}}}\n").models.causal == uuid


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = [
    "task",
    "data",
    "inputs",
    "output",
    "labels",
    "metric",
    "models",
    "settings",
    "null",
    "no",
    "1e3",
    "&a",
    "*a",
    "!!int",
    "---",
    "[",
    "]",
    "{",
    "}",
    "#",
    "|",
    ">",
    "?",
    ",",
    "'",
    "é",
]
PIECES = st.sampled_from([*WORDS, ": ", "\n", "  ", "- ", '"', "\t", "\x00", "\\"])


@QUICK
@given(st.lists(PIECES, max_size=30).map("".join) | st.binary(max_size=60))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str | bytes) -> None:
    try:
        read(tmp_path, text)
    except TaskFileError as error:
        assert error.problem and error.fix


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@QUICK
@given(st.dictionaries(st.sampled_from(list(TaskFile.model_fields)), VALUE, max_size=6))
def test_any_value_under_a_known_key_is_read_or_refused(tmp_path: Path, said: dict[str, object]) -> None:
    import json

    try:
        read(tmp_path, json.dumps(said))
    except TaskFileError as error:
        assert error.problem and error.fix
