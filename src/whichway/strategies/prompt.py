"""Prompting as it is: zero-shot, few-shot, or with the nearest train examples of each input."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from whichway.core.strategy import Kit, Progress
from whichway.core.task import Example, Task
from whichway.errors import NotApplicable, TaskFileError
from whichway.registry import register
from whichway.strategies.parts import marks
from whichway.strategies.parts.neighbours import Neighbours, index_examples
from whichway.strategies.parts.prompted import (
    PromptSolution,
    draft_prompt,
    fitted_prompt,
    load_prompt,
    pick_shots,
)
from whichway.strategies.parts.prompting import WORDINGS, PromptFormat
from whichway.strategies.parts.writing import WrittenSolution


@register("strategy", "prompt")
@dataclass(frozen=True)
class Prompt:
    """Prompts a model with instruction, context, examples and structured format, each of which can be edited or left out.

    `form`: 'zero' shows no examples, 'few' the same `shots` to every row (as many labels as possible, or those whose ids
    `examples` lists, in that order), 'nearest' the `shots` most similar ones. `marks` is the number of a format, `wording`
    of a frame around the instruction, `rule` one more sentence. A local causal model answers by the likelihood of each label
    less a bias that labelled rows teach; an endpoint by generation, constrained to the labels where it can be. Text and JSON are
    written by either. `model` is a name in the kit.
    """

    form: Literal["zero", "few", "nearest"] = "zero"
    model: str = "causal"
    shots: int = 0  # 0: 8 for few-shot, 4 for nearest
    instruction: bool = True
    context: bool = True
    labels: bool = True
    calibrate: bool = True
    examples: tuple[str, ...] = ()
    marks: int = 0
    wording: int = 0
    rule: str = ""
    needs: ClassVar[tuple[str, ...]] = ("causal",)
    trains: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(
        self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit
    ) -> PromptSolution | WrittenSolution:
        if self.form == "nearest" and kit.embedder is None:
            raise NotApplicable("Nearest examples need an embedder, and there is none.", "Install whichway[local].")
        form, shots = self._format(), self.shots or {"zero": 0, "few": 8, "nearest": 4}[self.form]
        examples: Neighbours | tuple[Example, ...] = ()
        if self.form == "nearest":
            examples = index_examples(task, train, kit.embedder)
        if self.form == "few":
            examples = self._chosen([*train, *dev]) or pick_shots(task, train, shots, kit.seed)
        kit.progress(Progress("calibrating"))
        rows = [row for row in dev or train if row.id not in self.examples]
        random.Random(kit.seed).shuffle(rows)
        draft = draft_prompt(task, kit.models[self.model], form, examples, shots, train)
        return fitted_prompt(draft, rows, self.calibrate, bool(dev))

    def load(self, task: Task, folder: Path, kit: Kit) -> PromptSolution | WrittenSolution:
        return load_prompt(task, folder, kit.models[self.model], kit)

    def _format(self) -> PromptFormat:
        """Return the format; raises TaskFileError for a number that is none."""
        for name, value, size in (("marks", self.marks, marks.count()), ("wording", self.wording, len(WORDINGS))):
            if not 0 <= value < size:
                raise TaskFileError(f"prompt: {name!r} cannot be {value}.", f"Choose 0 to {size - 1}.")
        return PromptFormat(
            self.instruction, self.context, self.labels, marks=self.marks, wording=self.wording, rule=self.rule
        )

    def _chosen(self, rows: Sequence[Example]) -> tuple[Example, ...]:
        """Return the examples the user has listed; raises TaskFileError for an id that is not among the rows to learn from."""
        by_id = {row.id: row for row in rows}
        for name in self.examples:
            if name not in by_id:
                fix = f"Rows to show are those to learn from, e.g.: {', '.join(list(by_id)[:5])}."
                raise TaskFileError(f"prompt: {name!r} in `examples` is not a train row of this split.", fix)
        return tuple(by_id[name] for name in self.examples)
