"""A prompt in use: which examples it shows, how the model is asked, how its answers are read and trusted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.model import Model, NearScorer, Reply, Request, Scorer
from whichway.core.output import Labels
from whichway.core.strategy import Kit, PromptVersion
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import ProviderError
from whichway.strategies.parts.answering import (
    LikelihoodReader,
    TextReader,
    answer_names,
    continuations,
    fit_reader,
    label_evidence,
    reader_from_json,
    reader_to_json,
)
from whichway.strategies.parts.features import described
from whichway.strategies.parts.neighbours import Neighbours, load_examples, load_neighbours, save_examples
from whichway.strategies.parts.prompting import PromptFormat, form_from, longest_shown, reordered
from whichway.strategies.parts.sparing import Sparing
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.trust import AS_SAID, Trust, fit_odds, rows_to_check, trust_from
from whichway.strategies.parts.versions import version_of
from whichway.strategies.parts.writing import (
    REPEATED_AT,
    WrittenReader,
    WrittenSolution,
    load_written,
    room_for,
    trusted,
)

CHECKED = 24  # labelled rows by which confidence in written answers is learned
LABELLED = 48  # the same of likelihoods: a bias per label is fitted on them (docs/log.md)
CHECKED_PAID = 12  # the same where each row costs a call
UNKNOWN = 2  # times as many where texts may have no answer: 'I do not know' needs some of those
MOST_FAILED = 0.5  # share of failed calls on labelled rows above which the provider counts as unavailable


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
    temperature: float = 0.0
    draw: int = 0
    is_held: bool = True  # an endpoint is asked for one of the labels and nothing else

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        if not inputs:
            return []
        shown = self.examples_for(inputs)
        if isinstance(self.reader, TextReader):
            return self.reader.read(self.task, self.form, self.replies(inputs, shown))
        assert self.reader is not None
        return self.reader.read(self.likelihoods(inputs, shown, self.reader))

    def rewritten(self, kind: str, number: int) -> PromptSolution | None:
        if kind == "order":
            return replace(self, shown=reordered(self.shown, number)) if len(self.shown) > 1 else None
        if kind == "repeat":
            written = isinstance(self.reader, TextReader)
            return replace(self, temperature=REPEATED_AT, draw=number + 1) if written else None
        form = self.form.rewritten(kind, number, self.task.paraphrases)
        return replace(self, form=form) if form else None

    def terse(self) -> PromptSolution:
        """Return this prompt, read no further than the likeliest answer takes; several labels at once need all."""
        if not isinstance(self.reader, LikelihoodReader) or self.reader.multi:
            return self
        usual = self.reader.sparing.usual if self.reader.sparing else ()
        return replace(self, reader=replace(self.reader, sparing=Sparing(0.0, usual)))

    def version(self) -> PromptVersion:
        """Return the prompt as a version that can be kept, compared and exported."""
        return version_of(self.task, self.form, self.shown, self.shots if self.near is not None else 0)

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

    def likelihoods(
        self, inputs: Sequence[Inputs], shown: Sequence[Sequence[Example]], reader: LikelihoodReader | None = None
    ) -> Any:
        """Return log-likelihoods [inputs, answers]; what all prompts begin with is computed once.

        For a `reader` alone, estimates or bounds stand for likelihoods that are too far from the best to matter to it.
        """
        prompts, answers, shared = self._asked(inputs, shown)
        if reader is not None and reader.sparing is not None and isinstance(self.model, NearScorer):
            return self.model.score_near(prompts, answers, shared, reader.reach, reader.bias, reader.sparing.usual)
        return self.model.score(prompts, answers, shared)

    def table(self, rows: Sequence[Example], reader: LikelihoodReader | None = None) -> Any:
        """Return log-likelihoods [rows, answers] of labelled rows, none of which is shown to itself; as `likelihoods` does."""
        inputs = [row.inputs for row in rows]
        return self.likelihoods(inputs, self.examples_for(inputs, rows), reader)

    def by_token(self, rows: Sequence[Example]) -> tuple[Any, Any]:
        """Return the same, whole, and log-probabilities [rows, answers, tokens] where the model tells them, else None."""
        import numpy as np

        if not isinstance(self.model, NearScorer):
            return self.table(rows), None
        inputs = [row.inputs for row in rows]
        found = self.model.score_steps(*self._asked(inputs, self.examples_for(inputs, rows)))
        return np.where(np.isnan(found[:, :, 0]), np.nan, np.nansum(found, axis=2)), found

    def _asked(self, inputs: Sequence[Inputs], shown: Sequence[Sequence[Example]]) -> tuple[list[str], list[str], str]:
        """Return prompts, the texts of all answers, and what the prompts begin with."""
        prompts = [self.form.prompt(self.task, row, few) for row, few in zip(inputs, shown, strict=True)]
        shared = self.form.beginning(self.task, () if self.near is not None else self.shown)
        return prompts, continuations(self.task, self.form), shared

    def replies(self, inputs: Sequence[Inputs], shown: Sequence[Sequence[Example]]) -> Any:
        """Return what the model writes for each input."""
        choices = None
        if self.is_held and not self.task.labels.multi:
            choices = tuple(self.form.label_text(name) for name in answer_names(self.task.labels))
        longest = max(len(self.form.label_text(name)) for name in self.task.labels.names)
        room = 16 + longest * (3 if self.task.labels.multi else 1)
        return self.model.generate(
            [
                Request(
                    self.form.messages(self.task, row, few), room, self.temperature, choices=choices, draw=self.draw
                )
                for row, few in zip(inputs, shown, strict=True)
            ]
        )


def draft_prompt(
    task: Task, model: Any, form: PromptFormat, examples: Sequence[Example] | Neighbours, shots: int, train: Any
) -> PromptSolution | WrittenSolution:
    """Return a prompt that cannot yet say how sure it is; `examples` are the same for every row, or looked up for each."""
    near = examples if isinstance(examples, Neighbours) else None
    shown = () if isinstance(examples, Neighbours) else tuple(examples)
    if isinstance(task.output, Labels):
        return PromptSolution(task, model, form, shown, near, shots, None)
    return WrittenSolution(task, model, form, shown, near, shots, WrittenReader(room_for(task, model, train)))


def fitted_prompt(
    draft: PromptSolution | WrittenSolution,
    rows: Sequence[Example],
    calibrate: bool = True,
    has_dev: bool = True,
    enough: int = LABELLED,
) -> PromptSolution | WrittenSolution:
    """Return the prompt with calibration and confidence learned from labelled `rows`: `enough`, or fewer where each is paid."""
    model = draft.model
    if isinstance(draft, WrittenSolution):
        most = min(enough, CHECKED) if model.is_local else CHECKED_PAID
        return trusted(draft, rows_to_check(draft.task, rows, most, UNKNOWN * most) if has_dev else ())
    few = rows[: enough if model.is_local else CHECKED_PAID]
    if isinstance(model, Scorer):
        table, steps = draft.by_token(few)
        reader = fit_reader(draft.task, table, [row.target for row in few], calibrate, steps)
        return replace(draft, reader=reader)
    return replace(draft, reader=_text_reader(draft, few))


def load_prompt(task: Task, folder: Path, model: Any, kit: Kit) -> PromptSolution | WrittenSolution:
    """Read what `save` wrote; the files there say whether examples are fixed or looked up."""
    if not isinstance(task.output, Labels):
        return load_written(task, folder, model, kit.embedder)
    kept = load_json(folder / "prompt.json")
    looked_up = (folder / "examples.safetensors").exists()
    near = load_neighbours(task, folder, kit.embedder) if looked_up else None
    shown = load_examples(folder) if not looked_up and (folder / "examples.json").exists() else ()
    reader: LikelihoodReader | TextReader
    if "answers" in kept["reader"]:
        reader = reader_from_json(kept["reader"])
    else:
        fallback = kept["reader"]["fallback"]
        trust = trust_from(kept["reader"]["trust"])
        reader = TextReader(trust, tuple(fallback) if isinstance(fallback, list) else fallback)
    return PromptSolution(task, model, form_from(kept["format"]), shown, near, kept["shots"], reader)


def pick_shots(task: Task, train: Sequence[Example], count: int, seed: int) -> tuple[Example, ...]:
    """Return up to `count` examples that show as many labels as possible, short ones first within a label.

    Where each answer is another, those come first that are shown whole, then the shortest of the others.
    """
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
    if len(labels) == len(pool):
        over = {name: len(described(task, rows[0].inputs)) - longest_shown(task) for name, rows in by_label.items()}
        labels.sort(key=lambda name: max(0, over[name]))
    for turn in range(count):
        for label in labels:
            if turn < len(by_label[label]) and len(picked) < count:
                picked.append(by_label[label][turn])
    rng.shuffle(picked)
    return tuple(picked)


def read_labels(draft: PromptSolution, rows: Sequence[Example]) -> list[Prediction]:
    """Ask about labelled rows, never shown to themselves, and read the answers; raises ProviderError when most calls fail."""
    return _plain_reader(draft, AS_SAID).read(draft.task, draft.form, _replies_to(draft, rows))


def _replies_to(draft: PromptSolution, rows: Sequence[Example]) -> list[Reply]:
    inputs = [row.inputs for row in rows]
    model: Model = draft.model
    replies: list[Reply] = draft.replies(inputs, draft.examples_for(inputs, rows))
    failed = [reply for reply in replies if reply.finish == "failed"]
    if rows and len(failed) > MOST_FAILED * len(rows):
        raise ProviderError(
            f"{model.name}: {failed[0].problem}", "Look at the endpoint, then run the same command again."
        )
    return replies


def _text_reader(draft: PromptSolution, rows: Sequence[Example]) -> TextReader:
    """Ask about a few labelled rows to learn how far answers can be trusted, with log-probabilities and without."""
    replies = _replies_to(draft, rows)
    answers = _plain_reader(draft, AS_SAID).read(draft.task, draft.form, replies)
    right = [one.parsed and one.value == row.target for one, row in zip(answers, rows, strict=True)]
    evidence = [label_evidence(reply) if one.parsed else None for reply, one in zip(replies, answers, strict=True)]
    return _plain_reader(draft, fit_odds(right, evidence))


def _plain_reader(draft: PromptSolution, trust: Trust) -> TextReader:
    return TextReader(trust, draft.task.labels.names[0] if not draft.task.labels.multi else ())
