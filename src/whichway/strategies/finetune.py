"""Fine-tuning a causal model on prompt -> answer pairs: LoRA by default, all weights as a setting."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.strategy import Kit, Progress, PromptVersion
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable
from whichway.registry import register
from whichway.strategies.parts.answering import (
    NONE,
    LikelihoodReader,
    continuations,
    fit_reader,
    reader_from_json,
    reader_to_json,
)
from whichway.strategies.parts.drafts import fit_drafts
from whichway.strategies.parts.hosted import HostedSolution, fit_hosted, load_hosted
from whichway.strategies.parts.neighbours import Neighbours, index_examples, load_neighbours
from whichway.strategies.parts.prompting import PromptFormat, form_from
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.versions import version_of
from whichway.strategies.parts.writing import WrittenReader, WrittenSolution, load_written, room_for, trusted

CHECKED = 64  # rows of dev by which confidences are fitted


@register("strategy", "finetune")
@dataclass(frozen=True)
class Finetune:
    """Trains with the loss on the answer only and stops early on dev; the result is a standard PEFT or transformers folder.

    `shown` > 0 trains and uses prompts that carry that many nearest train examples. The prompt is bare (no instruction,
    no list of labels): the weights learn both. `rank`, `rate`, `epochs`, `batch` are the usual ones. Of text, up to `references`
    further right answers of each row are trained on, too, and a text that misses a fact or breaks a house rule is written
    again: the best of `drafts` more is taken (0: never). Where `model` is an endpoint that fine-tunes (`fine_tuning: true`),
    the rows are sent there, and the settings are those its jobs know: epochs and batch.
    """

    method: Literal["lora", "full"] = "lora"
    model: str = "causal"
    epochs: int = 3
    rank: int = 16
    rate: float = 0.0  # 0: 5e-4 for LoRA, 3e-5 for all weights
    batch: int = 8
    shown: int = 0
    longest: int = 512  # tokens of a training row
    references: int = 3  # further right answers of a row that are trained on
    drafts: int = 8  # of a text with a fault
    needs: ClassVar[tuple[str, ...]] = ("causal",)
    trains: ClassVar[bool] = True
    reads_instruction: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(
        self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit
    ) -> FinetuneSolution | FinetunedWriter | HostedSolution:
        model: Any = kit.models[self.model]
        if hasattr(model, "tune"):
            return fit_hosted(task, model, train, dev, {"epochs": self.epochs, "batch": self.batch}, kit)
        if not hasattr(model, "train"):
            raise NotApplicable(f"The model {self.model!r} cannot be trained here.", "Fine-tune a local causal model.")
        if self.shown and kit.embedder is None:
            raise NotApplicable("Retrieved examples need an embedder, and there is none.", "Install whichway[local].")
        form = PromptFormat(instruction=False, context=False, labels=False)
        near = index_examples(task, train, kit.embedder) if self.shown else None
        draft = FinetuneSolution(task, form, near, self.shown, model, None, kit.folder / "weights")
        kit.progress(Progress("training"))
        trained = model.train(
            *_pairs(task, draft, train, own=True, more=self.references),
            self._settings(),
            _pairs(task, draft, dev, own=False, more=0),
            kit.folder / "weights",
            kit,
        )
        tuned = replace(draft, model=model.adapted(kit.folder / "weights"))
        checked = random.Random(kit.seed).sample(list(dev), min(CHECKED, len(dev)))
        if not isinstance(task.output, Labels):
            room = WrittenReader(room_for(task, model, train))
            drafts = fit_drafts(task, self.drafts, train)
            writer = WrittenSolution(task, tuned.model, form, (), near, self.shown, room, True, drafts)
            return FinetunedWriter(trusted(writer, checked), tuned.weights, trained.tokens)
        inputs = [row.inputs for row in checked]
        table = tuned.likelihoods(inputs) if checked else []
        reader = fit_reader(task, None, table, [row.target for row in checked])
        return replace(tuned, reader=reader, tokens=trained.tokens)

    def load(self, task: Task, folder: Path, kit: Kit) -> FinetuneSolution | FinetunedWriter | HostedSolution:
        if (folder / "hosted.json").exists():
            return load_hosted(task, folder, kit.models[self.model], kit)
        model = kit.models[self.model].adapted(folder / "weights")
        if not isinstance(task.output, Labels):
            return FinetunedWriter(load_written(task, folder, model, kit.embedder), folder / "weights")
        kept = load_json(folder / "prompt.json")
        near = load_neighbours(task, folder, kit.embedder) if kept["shown"] else None
        reader = reader_from_json(kept["reader"])
        form = form_from(kept["format"])
        return FinetuneSolution(task, form, near, kept["shown"], model, reader, folder / "weights")

    def _settings(self) -> dict[str, Any]:
        said = {"method": self.method, "epochs": self.epochs, "rank": self.rank, "alpha": 2 * self.rank}
        said |= {"batch": self.batch, "longest": self.longest}
        return said | ({"rate": self.rate} if self.rate else {})


@dataclass(frozen=True)
class FinetuneSolution:
    """Adapted weights under the prompt they were trained with."""

    task: Task
    form: PromptFormat
    near: Neighbours | None
    shown: int
    model: Any
    reader: LikelihoodReader | None
    weights: Path
    tokens: int = 0  # read while training, over all epochs

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        if not inputs:
            return []
        assert self.reader is not None
        return self.reader.read(self.likelihoods(inputs))

    def version(self) -> PromptVersion:
        """Return the prompt that the weights were trained under."""
        return version_of(self.task, self.form, (), self.shown if self.near is not None else 0)

    def rewritten(self, kind: str, number: int) -> FinetuneSolution | None:
        form = self.form.rewritten(kind, number)
        return replace(self, form=form) if form else None

    def save(self, folder: Path) -> None:
        assert self.reader is not None
        kept = {"format": asdict(self.form), "shown": self.shown, "reader": reader_to_json(self.reader)}
        save_json(folder / "prompt.json", kept)
        if self.near is not None:
            self.near.save(folder)
        _copy(self.weights, folder / "weights")

    def prompts(self, inputs: Sequence[Inputs], own: bool = False) -> list[str]:
        """Return the prompts of inputs; `own` rows are train rows in order, not shown to themselves."""
        if self.near is None:
            return [self.form.prompt(self.task, row) for row in inputs]
        shown = self.near.nearest(inputs, self.shown, without_self=own)
        return [self.form.prompt(self.task, row, few) for row, few in zip(inputs, shown, strict=True)]

    def likelihoods(self, inputs: Sequence[Inputs]) -> Any:
        """Return log-likelihoods [inputs, answers]."""
        return self.model.score(
            self.prompts(inputs), continuations(self.task, self.form), self.form.beginning(self.task)
        )


@dataclass(frozen=True)
class FinetunedWriter:
    """Adapted weights that write their answers."""

    writer: WrittenSolution
    weights: Path
    tokens: int = 0

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.writer.predict(inputs)

    def version(self) -> PromptVersion:
        """Return the prompt that the weights were trained under."""
        return self.writer.version()

    def rewritten(self, kind: str, number: int) -> FinetunedWriter | None:
        writer = self.writer.rewritten(kind, number)
        return replace(self, writer=writer) if writer else None

    def save(self, folder: Path) -> None:
        self.writer.save(folder)
        _copy(self.weights, folder / "weights")


def _copy(weights: Path, folder: Path) -> None:
    if weights != folder:
        import shutil

        shutil.copytree(weights, folder, dirs_exist_ok=True)


def _pairs(
    task: Task, draft: FinetuneSolution, rows: Sequence[Example], own: bool, more: int
) -> tuple[list[str], list[str]]:
    """Return prompts and completions; a row with several labels gives one pair for each of them."""
    prompts, answers = [], []
    lead = "" if isinstance(task.output, Fields) else " "  # a JSON object begins a line of its own
    for prompt, row in zip(draft.prompts([row.inputs for row in rows], own), rows, strict=True):
        if not isinstance(task.output, Labels):
            right = [row.target, *row.references[:more]]
            prompts += [prompt] * len(right)
            answers += [lead + task.output.write(value) for value in right]
            continue
        for name in [row.target] if isinstance(row.target, str) else row.target or [NONE]:
            prompts.append(prompt)
            answers.append(" " + draft.form.label_text(name))
    return prompts, answers
