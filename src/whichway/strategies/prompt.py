"""Prompting as it is: zero-shot, few-shot, or with the nearest train examples of each input."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.model import Model, Request, Scorer
from whichway.core.output import Labels
from whichway.core.strategy import Kit, Progress
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable, ProviderError
from whichway.registry import register
from whichway.strategies.parts.answering import (
    LikelihoodReader,
    TextReader,
    answer_names,
    content_free,
    continuations,
    fit_reader,
    reader_from_json,
    reader_to_json,
)
from whichway.strategies.parts.neighbours import (
    Neighbours,
    index_examples,
    load_examples,
    load_neighbours,
    save_examples,
)
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.writing import WrittenReader, WrittenSolution, load_written, room_for, trusted

CHECKED = 24  # labelled rows by which calibration and temperature are chosen
CHECKED_PAID = 12  # the same where each row costs a call
MOST_FAILED = 0.5  # share of failed calls on labelled rows above which the provider counts as unavailable


@register("strategy", "prompt")
@dataclass(frozen=True)
class Prompt:
    """Prompts a model with instruction, context, examples and structured format, each of which can be left out.

    `form`: 'zero' shows no examples, 'few' the same `shots` to every row (as many labels as possible), 'nearest' the
    `shots` most similar ones. A local causal model answers by the likelihood of each label with contextual calibration;
    an endpoint by generation, constrained to the labels where it can be. Text and JSON are written by either.
    `model` is a name in the kit.
    """

    form: Literal["zero", "few", "nearest"] = "zero"
    model: str = "causal"
    shots: int = 0  # 0: 8 for few-shot, 4 for nearest
    instruction: bool = True
    context: bool = True
    labels: bool = True
    calibrate: bool = True
    needs: ClassVar[tuple[str, ...]] = ("causal",)
    trains: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(
        self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit
    ) -> PromptSolution | WrittenSolution:
        if self.form == "nearest" and kit.embedder is None:
            raise NotApplicable("Nearest examples need an embedder, and there is none.", "Install whichway[local].")
        model, form = kit.models[self.model], PromptFormat(self.instruction, self.context, self.labels)
        shots = self.shots or {"zero": 0, "few": 8, "nearest": 4}[self.form]
        near = index_examples(task, train, kit.embedder) if self.form == "nearest" else None
        shown = pick_shots(task, train, shots, kit.seed) if self.form == "few" else ()
        kit.progress(Progress("calibrating"))
        rows = list(dev or train)
        random.Random(kit.seed).shuffle(rows)
        if not isinstance(task.output, Labels):
            reader = WrittenReader(room_for(task, model, train))
            written = WrittenSolution(task, model, form, shown, near, shots, reader)
            return trusted(written, rows[: CHECKED if model.is_local else CHECKED_PAID] if dev else ())
        draft = PromptSolution(task, model, form, shown, near, shots, None)
        if isinstance(model, Scorer):
            return replace(draft, reader=self._likelihood_reader(draft, rows[:CHECKED], train))
        return replace(draft, reader=_text_reader(draft, rows[:CHECKED_PAID], train))

    def load(self, task: Task, folder: Path, kit: Kit) -> PromptSolution | WrittenSolution:
        if not isinstance(task.output, Labels):
            return load_written(task, folder, kit.models[self.model], kit.embedder)
        kept = load_json(folder / "prompt.json")
        near = load_neighbours(task, folder, kit.embedder) if self.form == "nearest" else None
        shown = load_examples(folder) if self.form == "few" else ()
        reader: LikelihoodReader | TextReader
        if "answers" in kept["reader"]:
            reader = reader_from_json(kept["reader"])
        else:
            fallback = kept["reader"]["fallback"]
            reader = TextReader(kept["reader"]["trust"], tuple(fallback) if isinstance(fallback, list) else fallback)
        form = PromptFormat(**kept["format"])
        return PromptSolution(task, kit.models[self.model], form, shown, near, kept["shots"], reader)

    def _likelihood_reader(
        self, draft: PromptSolution, rows: Sequence[Example], train: Sequence[Example]
    ) -> LikelihoodReader:
        """Score content-free inputs and labelled rows in one pass, and choose calibration and temperature."""
        task, blank = draft.task, content_free(draft.task) if self.calibrate else []
        shown: list[Sequence[Example]] = [draft.shown] * len(blank)
        if draft.near is not None and blank:  # content-free inputs have no neighbours: borrow those of some train rows
            blank = [blank[i % len(blank)] for i in range(8)]
            borrowed = random.Random(1).sample(list(train), min(8, len(train)))
            shown = draft.examples_for([one.inputs for one in borrowed])
            blank = blank[: len(shown)]
        inputs = [row.inputs for row in rows]
        table = draft.likelihoods([*blank, *inputs], [*shown, *draft.examples_for(inputs, rows)])
        empty = table[: len(blank)] if blank else None
        return fit_reader(task, empty, table[len(blank) :], [row.target for row in rows])


@dataclass(frozen=True)
class PromptSolution:
    """A prompt, the examples it shows, and how its answers are read."""

    task: Task
    model: Any
    form: PromptFormat
    shown: tuple[Example, ...]
    near: Neighbours | None
    shots: int
    reader: LikelihoodReader | TextReader | None

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        if not inputs:
            return []
        shown = self.examples_for(inputs)
        if isinstance(self.reader, TextReader):
            return self.reader.read(self.task, self.form, self.replies(inputs, shown))
        assert self.reader is not None
        return self.reader.read(self.likelihoods(inputs, shown))

    def rewritten(self, variant: int) -> PromptSolution:
        return replace(self, form=self.form.rewritten(variant))

    def save(self, folder: Path) -> None:
        assert self.reader is not None
        reader = reader_to_json(self.reader) if isinstance(self.reader, LikelihoodReader) else asdict(self.reader)
        save_json(folder / "prompt.json", {"format": asdict(self.form), "shots": self.shots, "reader": reader})
        (folder / "prompt.txt").write_text(self.form.beginning(self.task, self.shown), encoding="utf-8")
        if self.near is not None:
            self.near.save(folder)
        elif self.shown:
            save_examples(folder, self.shown)

    def examples_for(self, inputs: Sequence[Inputs], rows: Sequence[Example] = ()) -> list[Sequence[Example]]:
        """Return the examples each input is shown; `rows`, where given, are never shown to themselves."""
        if self.near is None:
            return [self.shown] * len(inputs)
        found = self.near.nearest(inputs, self.shots + bool(rows))
        own = [row.id for row in rows] or [""] * len(inputs)
        return [[one for one in near if one.id != id_][-self.shots :] for near, id_ in zip(found, own, strict=True)]

    def likelihoods(self, inputs: Sequence[Inputs], shown: Sequence[Sequence[Example]]) -> Any:
        """Return log-likelihoods [inputs, answers]; what all prompts begin with is computed once."""
        prompts = [self.form.prompt(self.task, row, few) for row, few in zip(inputs, shown, strict=True)]
        shared = self.form.beginning(self.task, () if self.near is not None else self.shown)
        return self.model.score(prompts, continuations(self.task, self.form), shared)

    def replies(self, inputs: Sequence[Inputs], shown: Sequence[Sequence[Example]]) -> Any:
        """Return what the model writes for each input."""
        choices = None
        if not self.task.labels.multi:
            choices = tuple(self.form.label_text(name) for name in answer_names(self.task.labels))
        longest = max(len(self.form.label_text(name)) for name in self.task.labels.names)
        room = 16 + longest * (3 if self.task.labels.multi else 1)
        return self.model.generate(
            [
                Request(self.form.messages(self.task, row, few), max_tokens=room, choices=choices)
                for row, few in zip(inputs, shown, strict=True)
            ]
        )


def pick_shots(task: Task, train: Sequence[Example], count: int, seed: int) -> tuple[Example, ...]:
    """Return up to `count` examples that show as many labels as possible, short ones first within a label."""
    rng = random.Random(seed)
    pool = list(train)
    rng.shuffle(pool)
    by_label: dict[str, list[Example]] = {}
    for row in pool:
        by_label.setdefault(task.output.write(row.target), []).append(row)
    for rows in by_label.values():
        rows.sort(key=lambda row: len(str(dict(row.inputs))) > 400)
    labels, picked = list(by_label), list[Example]()
    rng.shuffle(labels)
    for turn in range(count):
        for label in labels:
            if turn < len(by_label[label]) and len(picked) < count:
                picked.append(by_label[label][turn])
    rng.shuffle(picked)
    return tuple(picked)


def _text_reader(draft: PromptSolution, rows: Sequence[Example], train: Sequence[Example]) -> TextReader:
    """Ask about a few labelled rows to learn how far answers without log-probabilities can be trusted."""
    fallback = draft.task.labels.names[0] if not draft.task.labels.multi else ()
    inputs = [row.inputs for row in rows]
    model: Model = draft.model
    replies = draft.replies(inputs, draft.examples_for(inputs, rows))
    failed = [reply for reply in replies if reply.finish == "failed"]
    if rows and len(failed) > MOST_FAILED * len(rows):
        raise ProviderError(
            f"{model.name}: {failed[0].problem}", "Look at the endpoint, then run the same command again."
        )
    answers = TextReader(1.0, fallback).read(draft.task, draft.form, replies)
    right = sum(one.parsed and one.value == row.target for one, row in zip(answers, rows, strict=True))
    return TextReader(round((right + 1) / (len(rows) + 2), 4), fallback)
