"""Which strategies take part: chosen, left out, refused, and why."""

from __future__ import annotations

import importlib.util
import json

import pytest

from whichway import load_task
from whichway.core.strategy import Kit
from whichway.core.task import Example, Prediction
from whichway.errors import NotApplicable, TaskFileError, UsageError
from whichway.registry import get
from whichway.study.lines import DEFAULTS, in_use, make_lines

# They need documents, answers that are no labels, a model able to reflect, or rows without labels.
UNSERVED = ["extractive", "rag", "rag-classic", "raft", "rag-finetune", "distill", "reflect"]
ENDPOINT = """
models:
  endpoints:
    big: {base_url: "http://localhost:1/v1", model: big-1, price: {input: 1.0, output: 2.0}}
budget: {minutes: 1, usd: 1}
"""


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Return a function from lines of a task file and names to lines; every package counts as installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: found("json"))

    def make(more: str = "", only: tuple[str, ...] = ()):
        (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"words of row {i},l{i % 2}\n" for i in range(40)))
        head = "task: t\ninstruction: Give the label.\ndata: {train: rows.csv}\ntarget: label\nmetric: accuracy\n"
        (tmp_path / "task.yaml").write_text(head + more)
        loaded = load_task(tmp_path / "task.yaml")
        return make_lines(loaded.task, loaded.settings, only)

    return make


def names(lines) -> list[str]:
    return [line.name for line in lines]


def test_without_a_word_every_built_in_strategy_takes_part_cheap_ones_first(lines):
    found = names(lines())
    assert found[:3] == ["majority", "classic", "probe"]
    assert {"prompt-zero", "prompt-few", "prompt-nearest", "encoder", "finetune", "hybrid"} <= set(found)
    assert names([line for line in lines() if line.excluded]) == UNSERVED


def test_only_takes_names_and_families(lines):
    assert names(lines(only=("classic", "prompt"))) == ["classic", "prompt-zero", "prompt-few", "prompt-nearest"]
    assert names(lines("strategies: {only: [majority]}\n")) == ["majority"]
    assert names(lines("strategies: {only: [majority]}\n", only=("prompt-few",))) == ["prompt-few"]


def test_retrieval_over_a_fine_tuned_model_is_a_way_of_its_own(lines, tmp_path):
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "title": "A", "text": "Lunch."}\n')
    said = "documents: documents.jsonl\nstrategies: {settings: {raft: {epochs: 1, passages: 3}}}\n"
    bare, raft = (lines(said, only=(name,))[0] for name in ("rag-finetune", "raft"))
    assert names(lines(said, only=("raft",))) == ["raft", "rag-finetune"] and not bare.excluded
    longest = get("strategy", "finetune").longest  # what nothing is said of is as in finetune, whose weights they are
    made = get("strategy", "raft")(trained="bare", epochs=1, passages=3, longest=longest)
    assert bare.strategy == made, "settings of the family hold"
    assert (bare.way, bare.model, raft.strategy.trained) == ("raft", "causal", "passages")
    assert lines(only=("rag-finetune",))[0].excluded == lines(only=("raft",))[0].excluded != ""
    with pytest.raises(TaskFileError, match="makes 'rag-finetune' what it is"):
        lines("strategies: {settings: {rag-finetune: {trained: passages}}}\n", only=("rag-finetune",))


TAUGHT = "strategies: {settings: {distill: {teachers: [TEACHER], student: STUDENT}}}\n"


def taught(teacher: str = "probe", student: str = "probe") -> str:
    return ENDPOINT + TAUGHT.replace("TEACHER", teacher).replace("STUDENT", student)


@pytest.mark.parametrize(
    ("student", "model"),
    [("probe", "embedder"), ("classic", "embedder"), ("encoder", "embedder"), ("rag-classic", "embedder")]
    + [("finetune", "causal"), ("prompt-few", "causal"), ("prompt-few@big", "big")],
)
def test_a_distilled_student_is_measured_as_what_it_is(lines, student, model):
    (line,) = lines(taught(student=student), only=("distill",))
    assert line.model == model and line.is_local is (model != "big")
    assert in_use(line.strategy) == line.strategy.made(student)


@pytest.mark.parametrize("more", [taught("prob"), taught(student="finetun"), taught("classic@big"), taught("distill")])
def test_a_teacher_or_student_that_is_no_strategy_is_named_before_anything_is_spent(lines, more):
    with pytest.raises(TaskFileError, match="strategy.*(prob|finetun|classic@big|distill)"):
        lines(more, only=("distill",))


def test_names_within_a_way_mean_what_they_mean_in_a_study(lines):
    within = get("strategy", "distill")()
    for name, way, fixed in DEFAULTS:
        if name not in ("distill", "probe", "classic"):
            assert within.made(name) == get("strategy", way)(**fixed), name
    few = next(one for one in lines(ENDPOINT) if one.name == "prompt-few@big")
    assert within.made("prompt-few@big") == few.strategy


def test_a_student_that_is_trained_here_needs_the_packages_for_it(lines, monkeypatch):
    has = importlib.util.find_spec("json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "trl" else has)
    more = taught(student="finetune").replace("teachers:", "synthetic: 5, teachers:")
    assert "needs trl" in lines(more, only=("distill",))[0].excluded


UNPRICED = 'models: {endpoints: {far: {base_url: "https://far.example/v1", model: far-1}}}\n'


@pytest.mark.parametrize("name", ["prompt-few@far", "optimise@far", "distill"])
def test_a_way_called_by_its_name_whose_price_is_unknown_is_refused_and_others_are_left_out(lines, name):
    teach = "strategies: {settings: {distill: {teachers: [prompt-few@far]}}}\n"
    with pytest.raises(UsageError, match="price of the endpoint 'far' is unknown") as caught:
        lines(UNPRICED + teach, only=("majority", name))
    assert caught.value.exit_code == 2 and "models.endpoints.far" in caught.value.fix
    for only in ((), ("prompt", "optimise", "majority")):
        found = {one.name: one.excluded for one in lines(UNPRICED + teach, only=only)}
        assert "price of the endpoint 'far' is unknown" in found["prompt-few@far"] and not found["majority"]
    (kept,) = lines(UNPRICED + teach + "constraints: {privacy: local}\n", only=(name,))
    assert kept.excluded.startswith("privacy"), "whatever it costs, it may not be asked"


def test_fine_tuning_called_by_its_name_is_refused_where_the_price_of_training_is_unknown(lines):
    more = UNPRICED.replace("far-1", "far-1, fine_tuning: true, price: {input: 1.0, output: 2.0}")
    more += "budget: {minutes: 1, usd: 1}\n"
    with pytest.raises(UsageError, match="price of training at the endpoint 'far' is unknown"):
        lines(more, only=("finetune@far",))
    assert not lines(more, only=("prompt-few@far",))[0].excluded
    assert "price of training" in {one.name: one.excluded for one in lines(more)}["finetune@far"]


def test_skip_leaves_out_names_and_families(lines):
    found = names(lines("strategies: {skip: [prompt, finetune]}\n"))
    assert not any(name.startswith("prompt") or name == "finetune" for name in found)
    assert "hybrid" in found


def test_settings_of_a_family_hold_for_all_its_forms_and_those_of_a_name_win(lines):
    found = {
        line.name: line.settings
        for line in lines(
            "strategies:\n  settings:\n    prompt: {calibrate: false, shots: 5}\n    prompt-few: {shots: 3}\n"
        )
    }
    assert found["prompt-few"]["shots"] == 3 and found["prompt-zero"]["shots"] == 5
    assert not found["prompt-few"]["calibrate"] and not found["prompt-zero"]["calibrate"]
    assert found["prompt-few"]["form"] == "few"


@pytest.mark.parametrize(
    "more",
    ["strategies: {only: [clasic]}\n", "strategies: {skip: [clasic]}\n", "strategies:\n  settings:\n    clasic: {}\n"],
)
def test_an_unknown_strategy_is_refused_and_the_known_ones_are_named(lines, more):
    with pytest.raises(TaskFileError) as caught:
        lines(more)
    assert "'clasic'" in caught.value.problem
    assert "classic" in caught.value.fix
    with pytest.raises(TaskFileError, match="clasic"):
        lines(only=("clasic",))


def test_an_unknown_setting_is_refused_and_the_known_ones_are_named(lines):
    with pytest.raises(TaskFileError) as caught:
        lines("strategies:\n  settings:\n    finetune: {epoch: 3}\n")
    assert "'epoch'" in caught.value.problem and "epochs" in caught.value.fix


def test_when_nothing_is_left_that_is_said(lines):
    with pytest.raises(TaskFileError, match="No strategy is left"):
        lines("strategies: {only: [majority], skip: [majority]}\n")


def test_an_endpoint_is_prompted_in_all_forms(lines):
    found = {line.name: line for line in lines(ENDPOINT)}
    assert {"prompt-zero@big", "prompt-few@big", "prompt-nearest@big"} <= set(found)
    assert found["prompt-few@big"].model == "big" and not found["prompt-few@big"].is_local


def test_local_privacy_excludes_every_endpoint_and_says_why_and_nothing_else(lines):
    found = lines(ENDPOINT + "constraints: {privacy: local}\n")
    excluded = {line.name: line.excluded for line in found if line.excluded and line.name not in UNSERVED}
    assert set(excluded) == {line.name for line in found if "@" in line.name} > {"optimise@big", "reflect@big"}
    assert all("privacy" in why for why in excluded.values())


@pytest.mark.parametrize(
    ("package", "out"),
    [
        (
            "torch",
            {"probe", "prompt-zero", "prompt-few", "prompt-nearest", "optimise", "encoder", "finetune", "hybrid"},
        ),
        ("sentence_transformers", {"probe", "prompt-nearest", "optimise", "encoder", "hybrid"}),
        ("peft", {"finetune", "hybrid"}),
    ],
)
def test_a_missing_package_excludes_what_needs_it_and_is_named(lines, monkeypatch, package, out):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == package else found("json"))
    excluded = {line.name: line.excluded for line in lines() if line.excluded and line.name not in UNSERVED}
    assert set(excluded) == out
    assert all(package in why and "whichway[local]" in why for why in excluded.values())


def test_an_endpoint_that_fine_tunes_is_fine_tuned(lines):
    assert "finetune@big" not in names(lines(ENDPOINT))
    found = {line.name: line for line in lines(ENDPOINT.replace("big-1,", "big-1, fine_tuning: true,"))}
    assert found["finetune@big"].model == "big" and not found["finetune@big"].excluded


def test_a_setting_that_does_nothing_at_an_endpoint_is_refused_and_a_familys_is_for_local_lines(lines):
    tuning = ENDPOINT.replace("big-1,", "big-1, fine_tuning: true,")
    said = "strategies: {settings: {%s}}\n"
    found = {line.name: line for line in lines(tuning + said % "finetune: {rank: 4, epochs: 2}")}
    local, there = found["finetune"].strategy, found["finetune@big"].strategy
    assert (local.rank, local.epochs, there.rank, there.epochs) == (4, 2, 16, 2)
    found = {line.name: line for line in lines(tuning + said % '"finetune@big": {shown: 3}')}
    assert found["finetune@big"].strategy.shown == 3
    for wrong in ('"finetune@big": {preference: 0.2}', "finetune: {model: big, preference: 0.2}"):
        with pytest.raises(TaskFileError, match="'preference' does nothing at an endpoint"):
            lines(tuning + said % wrong)


def test_what_reads_no_instruction_is_kept_when_it_is_edited(lines, tmp_path):
    from dataclasses import replace

    before = {line.name: line.key("data") for line in lines()}
    loaded = load_task(tmp_path / "task.yaml")
    edited = make_lines(replace(loaded.task, instruction="Another."), loaded.settings)
    changed = {line.name for line in edited if line.key("data") != before[line.name]}
    assert {"prompt-zero", "prompt-few", "prompt-nearest", "optimise", "rag", "distill", "hybrid"} <= changed
    assert not changed & {"majority", "classic", "probe", "encoder", "finetune", "raft", "extractive"}


def test_a_trial_is_known_by_what_it_is(lines):
    one, same = lines(only=("classic",))[0], lines(only=("classic",))[0]
    other = lines("strategies:\n  settings:\n    classic: {head: linear}\n", only=("classic",))[0]
    assert one.key("data") == same.key("data")
    assert len({one.key("data"), one.key("other data"), other.key("data")}) == 3


def test_hours_of_a_strategy_that_there_is_not_are_refused_with_those_there_are(lines):
    with pytest.raises(TaskFileError, match="hours of 'gpt', which is no strategy") as caught:
        lines("objective: {hours: {gpt: 4}}\n")
    assert "finetune" in caught.value.fix
    assert lines("objective: {hours: {prompt: 4}, refresh_hours: {prompt-few: 1}}\n")


def test_what_takes_longer_to_build_than_the_deadline_is_left_out_before_anything_is_spent(lines):
    found = lines("objective: {hours: {prompt: 4, finetune: 40}}\nconstraints: {deadline_days: 3}\n")
    late = {line.name: line.excluded for line in found if line.excluded.startswith("deadline")}
    assert late == {"finetune": "deadline: its hours of work take 5 days, and constraints.deadline_days is 3"}


def write_fields(folder, schema: str = "", rules: str = "") -> str:
    """Write a task whose answers are objects by a schema, or texts by rules."""
    rows = [{"q": f"row {i}", "output": f"said {i}" if rules else {"tags": [f"t{i}"]}} for i in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    output = f"{{shape: text, rules: {rules}}}" if rules else f"{{shape: fields, schema: {schema}}}"
    head = "task: t\ninstruction: Say it.\ndata: {train: rows.jsonl}\ninputs: [q]\ntarget: output\n"
    (folder / "task.yaml").write_text(f"{head}output: {output}\n")
    return str(folder / "task.yaml")


@pytest.mark.parametrize(("more", "skipped"), [("", False), (", uniqueItems: true", True)])
def test_a_schema_that_no_grammar_can_hold_leaves_local_models_out_before_anything_is_spent(tmp_path, more, skipped):
    pytest.importorskip("llguidance")
    schema = f"{{type: object, properties: {{tags: {{type: array, items: {{type: string}}{more}}}}}}}"
    loaded = load_task(write_fields(tmp_path, schema))
    (line,) = make_lines(loaded.task, loaded.settings, ("finetune",))
    assert ("uniqueItems" in line.excluded) == skipped


def test_a_rule_about_a_field_that_is_none_is_refused(tmp_path):
    with pytest.raises(TaskFileError, match=r"line 6.*names no input field") as caught:
        load_task(write_fields(tmp_path, rules="{must_mention: ['{qq}']}"))
    assert "q" in caught.value.fix


def test_what_an_encoder_only_helps_runs_without_it_unless_its_settings_ask_for_it(tmp_path, monkeypatch):
    task = write_fields(tmp_path, rules="{max_words: 9}")
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "title": "A", "text": "Lunch."}\n')
    seen = importlib.util.find_spec
    gone = ("torch", "sentence_transformers", "transformers")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else seen(name))
    with open(task, "a") as file:
        file.write("documents: documents.jsonl\n")
    loaded = load_task(task)
    lines = {one.name: one for one in make_lines(loaded.task, loaded.settings)}
    assert not lines["extractive"].excluded and lines["extractive"].model == ""
    assert "needs torch" in lines["rag"].excluded, "its language model"
    assert lines["rag-classic"].model == "" and "serves labels" in lines["rag-classic"].excluded
    with open(task, "a") as file:
        file.write("strategies: {settings: {extractive: {mode: dense}}}\n")
    loaded = load_task(task)
    (line,) = make_lines(loaded.task, loaded.settings, ("extractive",))
    assert "needs torch" in line.excluded
    monkeypatch.undo()
    if seen("torch") and seen("sentence_transformers"):
        (line,) = make_lines(loaded.task, loaded.settings, ("extractive",))
        assert not line.excluded and line.model == "embedder"


def test_groundedness_without_documents_is_refused(tmp_path):
    task = write_fields(tmp_path, rules="{max_words: 9}")
    with open(task, "a") as file:
        file.write("metric: groundedness\n")
    with pytest.raises(TaskFileError, match="compares with documents"):
        load_task(task)


@pytest.mark.parametrize("by", ["passages", "documents", "pages"])
def test_the_title_of_a_document_supports_what_is_said_as_its_text_does(tmp_path, by):
    task = write_fields(tmp_path, rules="{max_words: 9}")
    (tmp_path / "documents.jsonl").write_text(
        '{"id": "a", "title": "Parental leave", "text": "It lasts 14 weeks."}\n{"id": "b", "title": "", "text": "Lunch."}\n'
    )
    with open(task, "a") as file:
        file.write(f"metric: {{name: groundedness, by: {by}}}\ndocuments: documents.jsonl\n")
    if by == "pages":
        with pytest.raises(TaskFileError, match="does not take these parameters") as caught:
            load_task(task)
        assert "'passages' or 'documents'" in caught.value.fix
        return
    metric = load_task(task).task.metric
    row = Example("r", {}, "")
    assert metric.score_example(row, Prediction("Parental leave lasts 14 weeks.", 1.0, sources=("a",))) == [1, 1]
    assert metric.score_example(row, Prediction("Parental leave lasts 14 weeks.", 1.0, sources=("b",))) == [0, 1]


def test_a_student_that_cannot_answer_this_shape_is_named_before_anything_is_spent(tmp_path):
    loaded = load_task(write_fields(tmp_path, rules="{max_words: 9}"))
    (line,) = make_lines(loaded.task, loaded.settings, ("distill",))
    assert "student probe answers labels alone" in line.excluded


def test_answers_are_not_sought_in_documents_that_are_not_there(tmp_path):
    loaded = load_task(write_fields(tmp_path, rules="{max_words: 9}"))
    with pytest.raises(NotApplicable, match="the task has no documents"):
        get("strategy", "extractive")(source="documents").fit(
            loaded.task, loaded.examples[:20], (), Kit({}, None, tmp_path)
        )
