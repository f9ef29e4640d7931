"""Settings of a training that are searched for: judged on dev, within the time, none tried twice, never worse than the first."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_preferences import Pupil, rows

from whichway.core.model import Reply
from whichway.core.strategy import Budget, Kit
from whichway.core.task import Example, Field, Task
from whichway.core.text import Text
from whichway.errors import BudgetReached, NotApplicable
from whichway.registry import get
from whichway.strategies.finetune import Finetune

USUAL = {"lora": 5e-4, "dora": 5e-4, "ia3": 1e-2, "prompt": 1e-2}


@dataclass
class Learner(Pupil):
    """Its loss on dev tells how far its settings are from rank 4, 8 epochs, twice the usual rate and `adapter`."""

    adapter: str = "lora"
    tried: list[dict[str, Any]] = field(default_factory=list)
    rates: Any = field(default_factory=lambda: dict(USUAL))
    dies_at: int = 99
    takes: float = 0.0
    used: Path | None = None

    def train(self, prompts: Any, answers: Any, settings: Any, dev: Any, folder: Path, kit: Kit) -> Any:
        if len(self.tried) == self.dies_at:
            raise KeyboardInterrupt
        self.tried.append(settings)
        time.sleep(min(self.takes, kit.budget.remaining_s()))
        if kit.budget.remaining_s() <= 0:
            raise BudgetReached("The time budget ended during training.")
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        (folder / "number.txt").write_text(str(len(self.tried)))
        return SimpleNamespace(tokens=100, dev_losses=(9.0, self.loss(settings)))

    def loss(self, said: dict[str, Any]) -> float:
        times = said.get("rate", self.rates[said["adapter"]]) / self.rates[said["adapter"]]
        far = abs(math.log2(said["rank"] / 4)) + abs(math.log2(said["epochs"] / 8)) + abs(math.log2(times / 2))
        return 0.1 * far + (said["adapter"] != self.adapter)

    def adapted(self, folder: Path) -> Any:
        self.used = folder
        return self


def fit(model: Any, folder: Path, seconds: float = math.inf, dev: int = 4, rejected: Any = (), **settings: Any) -> Any:
    task = Task("t", "Reply.", (Field("text"),), Text(), get("metric", "token_f1")())
    folder.mkdir(parents=True, exist_ok=True)
    kit = Kit({"causal": model}, None, folder, 0, Budget(time.monotonic() + seconds))
    plain = rows(14, 0, rejected)
    return Finetune(**{"tries": 20, **settings}).fit(task, plain[:10], plain[10 : 10 + dev], kit)


@pytest.mark.parametrize("adapter", ["lora", "ia3", "prompt"])
def test_the_settings_with_the_lowest_loss_on_dev_are_kept(tmp_path: Path, adapter: str) -> None:
    model = Learner(adapter=adapter)
    fit(model, tmp_path)
    said = json.loads((tmp_path / "weights" / "settings.json").read_text())
    losses = [model.loss(one) for one in model.tried]
    assert len(losses) == 20 and said["dev_loss"] == min(losses) < losses[0]
    assert said["settings"]["adapter"] == adapter and said["settings"] == model.tried[losses.index(min(losses))]
    assert (tmp_path / "weights" / "number.txt").read_text() == str(losses.index(min(losses)) + 1)
    assert all(one["alpha"] == 2 * one["rank"] and one["rank"] <= 16 for one in model.tried)
    assert len(list(tmp_path.glob("resume/*/try-*/weights"))) == 1  # lesser ones take no room
    assert {one["adapter"] for one in model.tried} == set(USUAL)
    assert {one["layers"] for one in model.tried} == {"usual", "attention", "all"}


@pytest.mark.parametrize("adapter", list(USUAL))
def test_the_first_try_is_what_was_asked_for(tmp_path: Path, adapter: str) -> None:
    model = Learner()
    fit(model, tmp_path, rank=5, rate=0.3, adapter=adapter, layers="all", tries=3)
    first, *others = model.tried
    assert (first["rank"], first["rate"], first["adapter"], first["epochs"]) == (5, 0.3, adapter, 3)
    assert first["layers"] == "all" and len(others) == 2


def test_weights_that_preferences_go_on_with_are_of_low_rank(tmp_path: Path) -> None:
    model = Learner(adapter="ia3")
    fit(model, tmp_path, tries=12, rejected=("bad",))
    assert {one["adapter"] for one in model.tried} == {"lora", "dora"} and len(model.preferred) == 1


def test_a_killed_search_makes_no_try_twice_and_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    whole, first, second = Learner(), Learner(dies_at=7), Learner()
    fit(whole, tmp_path / "whole", tries=12)
    with pytest.raises(KeyboardInterrupt):
        fit(first, tmp_path / "cut", tries=12)
    fit(second, tmp_path / "cut", tries=12)
    assert first.tried + second.tried == whole.tried and len(second.tried) == 5
    kept = [(tmp_path / name / "weights" / "settings.json").read_text() for name in ("whole", "cut")]
    assert kept[0] == kept[1]


def test_a_search_ends_with_its_share_of_the_time_and_keeps_the_best_so_far(tmp_path: Path) -> None:
    model = Learner(takes=0.4)
    began = time.monotonic()
    fit(model, tmp_path, seconds=2.5)
    assert time.monotonic() - began < 2.4 and 1 <= len(model.tried) <= 4
    assert (tmp_path / "weights" / "adapter_config.json").exists()
    with pytest.raises(BudgetReached):  # not even the first one ended
        fit(Learner(takes=9.0), tmp_path / "late", seconds=0.3)


class Near:
    """An embedder by which texts of like numbers are near each other."""

    name = "near"

    def embed(self, texts: Any) -> Any:
        angle = np.array([0.05 * int(re.search(r"\d+", text)[0]) for text in texts])
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_nearest_examples_are_shown_in_training_and_in_use_and_never_the_row_itself(tmp_path: Path) -> None:
    task = Task("t", "Reply.", (Field("text"),), Text(), get("metric", "token_f1")())
    model, train = Pupil(), [Example(f"r{i}", {"text": f"Question {i}?"}, f"Answer {i}.") for i in range(12)]
    kit = Kit({"causal": model}, Near(), tmp_path)
    found = Finetune(shown=2, drafts=0).fit(task, train[:10], train[10:], kit)
    ((prompts, answers),) = model.trained
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        shown = [int(one) for one in re.findall(r"Answer (\d+)\.", prompt)]
        assert len(shown) == 2 and i not in shown and max(abs(one - i) for one in shown) <= 2
        assert prompt.count(f"Question {i}?") == 1 and answer.strip() == f"Answer {i}."
    asked: list[Any] = []
    model.generate = lambda requests: asked.extend(requests) or [Reply("Yes.") for _ in requests]  # type: ignore
    found.save(tmp_path / "saved")
    again = Finetune(shown=2, drafts=0).load(task, tmp_path / "saved", replace(kit, folder=tmp_path / "saved"))
    for one in (found, again):
        one.predict([{"text": "Question 7, once more?"}])
    texts = [one.messages[0][1] for one in asked]
    assert len(texts) == 2 and texts[0] == texts[1] and "Answer 7." in texts[0] and "Question 7, once more?" in texts[0]
    with pytest.raises(NotApplicable, match="embedder"):
        Finetune(shown=2).fit(task, train[:10], train[10:], replace(kit, embedder=None))


@pytest.mark.parametrize("settings", [{"tries": 0}, {"tries": 1}, {"method": "full"}, {"dev": 0}])
def test_without_tries_or_rows_to_judge_by_there_is_one_training(tmp_path: Path, settings: Any) -> None:
    model = Learner()
    fit(model, tmp_path, **settings)
    assert len(model.tried) == 1 and not (tmp_path / "weights" / "settings.json").exists()
