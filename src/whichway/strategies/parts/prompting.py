"""Prompts of four ingredients (instruction, context, examples, structured format), and other forms of the same meaning."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.task import Example, Inputs, Task
from whichway.strategies.parts.features import described, without_found
from whichway.strategies.parts.marks import Marks, others
from whichway.strategies.parts.marks import marks as marks_of

LONGEST_SHOWN = 600  # characters of an example's text in a prompt: two long ones must not push out the rest
LONGEST_READ = (
    1500  # the same where its answer is made of what stands in it: cut text beside a whole answer teaches invention
)
WORDINGS = (
    "{}",
    "Please do the following. {}",
    "Task: {}",
    "{} This is your task.",
    "Your task is this: {}",
    "INSTRUCTION\n{}",
)


@dataclass(frozen=True)
class PromptFormat:
    """Which ingredients a prompt has, how they are worded and how they are marked.

    `marks` is a number of the grammar in marks.py, `wording` one of the equivalent frames of the instruction, `rule` a sentence
    after it, `said` an instruction in place of the task's. `hints` are typical words of labels that have no description,
    `spelled` the words written in place of labels; both are pairs (label, words).
    """

    instruction: bool = True
    context: bool = True
    labels: bool = True
    words: bool = True  # 'card_arrival' is written 'card arrival'
    marks: int = 0
    wording: int = 0
    rule: str = ""
    said: str = ""
    hints: tuple[tuple[str, str], ...] = ()
    spelled: tuple[tuple[str, str], ...] = ()

    def rewritten(self, kind: str, number: int, paraphrases: Sequence[str] = ()) -> PromptFormat | None:
        """Return the same prompt in another format or wording; None for other kinds, and where there is nothing to word.

        `paraphrases` stand in place of the task's instruction, not of one that was found for it.
        """
        if kind == "paraphrase" and self.instruction and not self.said and number < len(paraphrases):
            return replace(self, said=paraphrases[number].strip())
        if kind == "format":
            return replace(self, marks=others(self.marks, number + 1)[number])
        if kind == "wording" and self.instruction:
            return replace(self, wording=[one for one in range(len(WORDINGS)) if one != self.wording][number])
        return None

    def label_text(self, name: str) -> str:
        """Return how a label is spelled in the prompt and in the answer."""
        return dict(self.spelled).get(name) or (name.replace("_", " ") if self.words else name)

    def head(self, task: Task) -> str:
        """Return what stands above all examples: instruction, context, and the list of answers."""
        parts = []
        if self.instruction:
            parts.append(WORDINGS[self.wording].format(self.said or task.instruction.strip()))
        if self.rule:
            parts.append(self.rule)
        if self.context and task.context.strip():
            parts.append(task.context.strip())
        if self.labels:
            parts.append(self._listed(task))
        return "\n\n".join(parts)

    def row(self, task: Task, inputs: Inputs, answer: Any = None) -> str:
        """Return one marked row; without an answer it ends where the model must go on."""
        asks, answers = self._marks.asks, self._marks.answers
        if isinstance(task.output, Fields):  # '{' must begin a token of its own, for weights and grammar alike
            answers = answers.rstrip() + "\n"
        if answer is None:
            return f"{asks}{described(task, inputs)}\n{answers}".rstrip(" ")
        text = described(without_found(task), inputs)
        longest = longest_shown(task)
        shown = text if len(text) <= longest else text[:longest].rsplit(" ", 1)[0] + " ..."
        return f"{asks}{shown}\n{answers}{self.answer_text(task, answer)}"

    def answer_text(self, task: Task, value: Any) -> str:
        """Return how an answer is written: a label, or the shape's own form."""
        if not isinstance(task.output, Labels):
            return task.output.write(value)
        if isinstance(value, str):
            return self.label_text(value)
        return task.output.write(tuple(self.label_text(name) for name in value))

    def prompt(self, task: Task, inputs: Inputs, shown: Sequence[Example] = ()) -> str:
        """Return the whole prompt as plain text: head, examples, the row in question."""
        return self.beginning(task, shown) + self.row(task, inputs)

    def beginning(self, task: Task, shown: Sequence[Example] = ()) -> str:
        """Return all that stands before the row in question."""
        blocks = [self.head(task), *(self.row(task, one.inputs, one.target) for one in shown)]
        return "".join(f"{block}{self._marks.gap}" for block in blocks if block)

    def messages(
        self, task: Task, inputs: Inputs, shown: Sequence[Example] = ()
    ) -> tuple[tuple[Literal["system", "user", "assistant"], str], ...]:
        """Return the same prompt as chat messages: the head as system, each example as a turn."""
        turns: list[tuple[Literal["system", "user", "assistant"], str]] = []
        if head := self.head(task):
            turns.append(("system", head))
        for one in shown:
            turns.append(("user", self._asked(without_found(task), one.inputs)))
            turns.append(("assistant", self.answer_text(task, one.target)))
        turns.append(("user", self._asked(task, inputs)))
        return tuple(turns)

    @property
    def _marks(self) -> Marks:
        return marks_of(self.marks)

    def _asked(self, task: Task, inputs: Inputs) -> str:
        return f"{self._marks.asks}{described(task, inputs)}"

    def _listed(self, task: Task) -> str:
        if not isinstance(task.output, Labels):
            return task.output.ask()
        names = list(task.output.names)
        if self._marks.turned:
            names.reverse()
        said = {**{name: f"such as {words}" for name, words in self.hints}, **task.output.descriptions}
        words = replace(
            task.output,
            names=tuple(self.label_text(name) for name in names),
            descriptions={self.label_text(name): one for name, one in said.items()},
        )
        return words.ask().replace("\n- ", "\n" + self._marks.bullet)


def longest_shown(task: Task) -> int:
    """Return the most characters of an example's text that a prompt shows."""
    return LONGEST_READ if isinstance(task.output, Fields) else LONGEST_SHOWN


def reordered(shown: Sequence[Example], number: int) -> tuple[Example, ...]:
    """Return examples in another order: the other way round, then shuffled."""
    if number == 0:
        return tuple(reversed(shown))
    mixed = list(shown)
    random.Random(f"order {number}").shuffle(mixed)
    return tuple(mixed)


def form_from(kept: Mapping[str, Any]) -> PromptFormat:
    """Return the format that `dataclasses.asdict` made plain."""
    pairs = {name: tuple((a, b) for a, b in kept.get(name, ())) for name in ("hints", "spelled")}
    return PromptFormat(**{**kept, **pairs})
