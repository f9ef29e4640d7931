"""Models in the task file: names of endpoints, folders of local models, and when a study counts as another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import csv_text, good_rows

from whichway.errors import TaskFileError
from whichway.intake.load import LoadedTask, load_task
from whichway.intake.taskfile import read_task_file

ENDPOINT = "{{base_url: https://h/v1, model: m{more}}}"


def load(folder: Path, models: str = "") -> LoadedTask:
    folder.mkdir(exist_ok=True)
    (folder / "rows.csv").write_text(csv_text(good_rows()))
    (folder / "task.yaml").write_text(f"task: t\ndata: rows.csv\ntarget: label\n{models}")
    return load_task(folder / "task.yaml")


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"width": 8}')
    (folder / "model.safetensors").write_bytes(bytes(1_000_000))
    (folder / "README.md").write_text("A model.")
    return folder


@pytest.mark.parametrize("name", ["causal", "embedder", "", " ", "a/b", "../x", "x" * 61, "a\\u0007b", "a\\u202eb"])
def test_an_endpoint_may_not_be_called_what_cannot_name_a_strategy_or_a_folder(tmp_path: Path, name: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(f'task: t\ndata: r.csv\nmodels:\n  endpoints:\n    "{name}": {ENDPOINT.format(more="")}\n')
    with pytest.raises(TaskFileError) as caught:
        read_task_file(path)
    assert "line 5, column 5" in caught.value.problem and "endpoint" in caught.value.fix
    assert (caught.value.problem + caught.value.fix).isprintable()


@pytest.mark.parametrize("name", ["gpt-5 mini", "x" * 60, "größe", "causal-2", "a.b@c"])
def test_an_endpoint_may_be_called_anything_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(f'task: t\ndata: r.csv\nmodels:\n  endpoints:\n    "{name}": {ENDPOINT.format(more="")}\n')
    assert list(read_task_file(path)[0].models.endpoints) == [name]


@pytest.mark.parametrize("which", ["causal", "embedder"])
@pytest.mark.parametrize("change", ["json", "weights", "last weights", "more", "none", "hidden"])
def test_a_changed_model_is_another_study(tmp_path: Path, which: str, change: str) -> None:
    mine = model(tmp_path / "task" / "mine")
    said = f"models: {{{which}: mine}}\n"
    before = load(tmp_path / "task", said).fingerprint
    if change == "json":
        (mine / "config.json").write_text('{"width": 9}')
    elif change in ("weights", "last weights"):
        data = bytearray((mine / "model.safetensors").read_bytes())
        start = 100 if change == "weights" else 400_000
        data[start : start + 50_000] = b"\x01" * 50_000
        (mine / "model.safetensors").write_bytes(data)
    elif change == "more":
        (mine / "added.json").write_text("{}")
    elif change == "hidden":
        (mine / ".cache").mkdir()
        (mine / ".cache" / "lock").write_text("x")
    assert (load(tmp_path / "task", said).fingerprint == before) is (change in ("none", "hidden"))


def test_a_models_folder_is_looked_for_beside_the_task_file_then_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = model(tmp_path / "here" / "mine")
    model(tmp_path / "here" / "other")
    beside = model(tmp_path / "task" / "mine")
    monkeypatch.chdir(tmp_path / "here")
    loaded = load(tmp_path / "task", "models: {causal: mine, embedder: other}\n")
    assert loaded.settings.models.causal == str(beside)
    assert loaded.settings.models.embedder == str(here.parent / "other")
    named = load(tmp_path / "task", "models: {causal: someone/on-the-hub}\n").settings.models
    assert (named.causal, named.embedder) == ("someone/on-the-hub", "embedded")


def test_a_study_moved_with_its_models_is_the_same_study(tmp_path: Path) -> None:
    model(tmp_path / "task" / "mine")
    before = load(tmp_path / "task", "models: {causal: mine}\n").fingerprint
    (tmp_path / "task").rename(tmp_path / "moved")
    assert load(tmp_path / "moved", "models: {causal: mine}\n").fingerprint == before


@pytest.mark.parametrize(
    ("more", "same"),
    [
        (", price: {input: 1, output: 2}", True),
        (", timeout_s: 5", True),
        (", max_concurrency: 1", True),
        (", key_env: MY_KEY", True),
        ("2", False),
    ],
)
def test_a_price_or_a_timeout_may_change_and_the_model_behind_an_endpoint_may_not(
    tmp_path: Path, more: str, same: bool
) -> None:
    prints = [
        load(tmp_path / "task", f"models: {{endpoints: {{mini: {ENDPOINT.format(more=one)}}}}}\n").fingerprint
        for one in ("", more)
    ]
    assert (prints[0] == prints[1]) is same
    moved = ENDPOINT.format(more="").replace("//h/", "//other/")
    assert load(tmp_path / "task", f"models: {{endpoints: {{mini: {moved}}}}}\n").fingerprint != prints[0]
