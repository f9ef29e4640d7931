"""Weights trained under a prompt and used under the same one: pairs of prompt and answer, training, what is saved."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.strategy import RESUME, Kit, Progress, PromptVersion, tersely
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.strategies.parts.answering import NONE, fit_reader
from whichway.strategies.parts.prompted import PromptSolution, load_prompt
from whichway.strategies.parts.store import apart, save_json
from whichway.strategies.parts.trust import rows_to_check
from whichway.strategies.parts.trying import best_of
from whichway.strategies.parts.writing import WrittenSolution, trusted

LOW_RANK = ("lora", "dora")  # adapters that DPO can go on with
CHECKED = 64  # rows of dev by which confidences are fitted


@dataclass(frozen=True)
class Tuned:
    """Adapted weights under the prompt they were trained with; `weights` is their PEFT or transformers folder."""

    inner: PromptSolution | WrittenSolution
    weights: Path
    tokens: int = 0  # read while training, over all epochs

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.inner.predict(inputs)

    def version(self) -> PromptVersion:
        """Return the prompt that the weights were trained under."""
        return self.inner.version()

    def rewritten(self, kind: str, number: int) -> Tuned | None:
        inner = self.inner.rewritten(kind, number)
        return replace(self, inner=inner) if inner else None

    def terse(self) -> Tuned:
        return replace(self, inner=tersely(self.inner))

    def save(self, folder: Path) -> None:
        self.inner.save(folder)
        copy_weights(self.weights, folder / "weights")


def load_tuned(task: Task, folder: Path, model: Any, kit: Kit) -> Tuned:
    """Read what `Tuned.save` wrote; `model` is the one that was adapted."""
    return Tuned(load_prompt(task, folder, model.adapted(folder / "weights"), kit), folder / "weights")


def confident(
    tuned: PromptSolution | WrittenSolution, dev: Sequence[Example], seed: int
) -> PromptSolution | WrittenSolution:
    """Return the solution with confidences fitted on rows that were not trained on."""
    rows = rows_to_check(tuned.task, random.Random(seed).sample(list(dev), len(dev)), CHECKED, CHECKED)
    if isinstance(tuned, WrittenSolution):
        return trusted(tuned, rows)
    table, steps = tuned.by_token(rows) if rows else ([], None)
    return replace(tuned, reader=fit_reader(tuned.task, table, [row.target for row in rows], False, steps))


def tune(
    draft: PromptSolution | WrittenSolution,
    train: Sequence[Example],
    dev: Sequence[Example],
    settings: Mapping[str, Any],
    kit: Kit,
    references: int = 0,
    then: Callable[[Path], None] | None = None,
) -> int:
    """Train a fresh copy of the draft's model to answer under its prompt, into `kit.folder / "weights"`; return tokens read.

    `settings` are those of models/training.py, and `tries`: how many settings are tried, judged on dev. Of text, up to
    `references` further right answers of a row are trained on, too. `then` goes on with the weights that came of it; it is
    handed the folder in which a killed fit finds what it had done.
    """
    kit.progress(Progress("training"))
    rows, held = pairs(draft, train, references), pairs(draft, dev)
    said = {key: value for key, value in settings.items() if key != "tries"}
    tries = settings.get("tries", 0) if held[0] else 0  # without dev, nothing tells which try is the best

    def learn(chosen: Mapping[str, Any], own: Kit) -> Any:
        return draft.model.train(*rows, dict(chosen), held, own.folder / "weights", own)

    if then is None and tries < 2:
        return int(learn(said, kit).tokens)
    kit = replace(kit, begun=None, is_step=False)  # several trainings: which would go on from which?
    kit = replace(kit, trainings=None) if tries > 1 else kit  # weights of lesser tries are not to fill the disk
    home = apart(kit.folder / RESUME, said, rows)  # a killed fit finds there what it had trained
    rates = draft.model.rates  # what goes on with the weights needs matrices of low rank
    usual = {name: rate for name, rate in rates.items() if name in LOW_RANK} if then is not None else rates
    first = best_of(tries, said, usual, learn, home, kit)
    copy_weights(first.weights, kit.folder / "weights")
    if tries > 1:
        save_json(kit.folder / "weights" / "settings.json", {"settings": first.settings, "dev_loss": first.loss})
    if then is not None:
        then(home)
    return first.tokens


def pairs(
    draft: PromptSolution | WrittenSolution, rows: Sequence[Example], references: int = 0
) -> tuple[list[str], list[str]]:
    """Return prompts, exactly as they are asked in use, and completions; a row with several labels gives one pair for each."""
    prompts, answers = [], []
    for prompt, row in zip(asked(draft, rows), rows, strict=True):
        right = right_answers(draft, row, references)
        prompts += [prompt] * len(right)
        answers += [lead(draft) + one for one in right]
    return prompts, answers


def asked(draft: PromptSolution | WrittenSolution, rows: Sequence[Example]) -> list[str]:
    """Return the prompts of labelled rows as plain text; no row is shown its own answer."""
    task, form = draft.task, draft.form
    every = zip(rows, shown_to(draft, rows), strict=True)
    if _is_chat(draft):
        return [draft.model.chat(form.messages(task, row.inputs, few)) for row, few in every]
    return [form.prompt(task, row.inputs, few) for row, few in every]


def shown_to(draft: PromptSolution | WrittenSolution, rows: Sequence[Example]) -> list[Sequence[Example]]:
    """Return the examples that each labelled row is shown, itself never among them."""
    if draft.near is None:
        return [[one for one in draft.shown if one.id != row.id] for row in rows]
    found = draft.near.nearest([row.inputs for row in rows], draft.shots + 1)
    return [[one for one in few if one.id != row.id][-draft.shots :] for few, row in zip(found, rows, strict=True)]


def right_answers(draft: PromptSolution | WrittenSolution, row: Example, references: int) -> list[str]:
    """Return the right answers of a row as the prompt has them written."""
    if not isinstance(draft.task.output, Labels):
        return [draft.task.output.write(value) for value in (row.target, *row.references[:references])]
    names = [row.target] if isinstance(row.target, str) else row.target or [NONE]
    return [draft.form.label_text(name) for name in names]


def lead(draft: PromptSolution | WrittenSolution) -> str:
    """Return what stands between prompt and answer: nothing in a chat, or before an object, which begins a line of its own."""
    return "" if _is_chat(draft) or isinstance(draft.task.output, Fields) else " "


def copy_weights(weights: Path, folder: Path) -> None:
    """Copy a folder of weights to where a solution is saved, unless it lies there."""
    if weights != folder:
        shutil.copytree(weights, folder, dirs_exist_ok=True)


def _is_chat(draft: PromptSolution | WrittenSolution) -> bool:
    """Tell whether the model is asked by chat messages: where it writes, unless it was trained to go on after plain text."""
    return isinstance(draft, WrittenSolution) and not draft.continues
