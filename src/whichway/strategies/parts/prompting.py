"""Prompts of four ingredients (instruction, context, examples, structured format), and their meaning-preserving rewrites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from whichway.core.fields import Fields
from whichway.core.output import Labels
from whichway.core.task import Example, Inputs, Task
from whichway.strategies.parts.features import described, without_found

REWRITES = 5
LONGEST_SHOWN = 600  # characters of an example's text in a prompt: two long ones must not push out the rest


@dataclass(frozen=True)
class PromptFormat:
    """Which ingredients a prompt has and how they are marked. `variant` 1 to 5 are rewrites that keep its meaning."""

    instruction: bool = True
    context: bool = True
    labels: bool = True
    words: bool = True  # 'card_arrival' is written 'card arrival'
    variant: int = 0

    def rewritten(self, variant: int) -> PromptFormat:
        """Return the same prompt in other words or marks."""
        return replace(self, variant=variant)

    def label_text(self, name: str) -> str:
        """Return how a label is spelled in the prompt and in the answer."""
        return name.replace("_", " ") if self.words else name

    def head(self, task: Task) -> str:
        """Return what stands above all examples: instruction, context, and the list of answers."""
        parts = []
        if self.instruction:
            parts.append(_INSTRUCTIONS[self.variant].format(task.instruction.strip()))
        if self.context and task.context.strip():
            parts.append(task.context.strip())
        if self.labels:
            parts.append(self._listed(task))
        return "\n\n".join(parts)

    def row(self, task: Task, inputs: Inputs, answer: Any = None) -> str:
        """Return one marked row; without an answer it ends where the model must go on."""
        asks, answers = _MARKS[self.variant]
        if isinstance(task.output, Fields):  # '{' must begin a token of its own, for weights and grammar alike
            answers = answers.rstrip() + "\n"
        if answer is None:
            return f"{asks}{described(task, inputs)}\n{answers}".rstrip(" ")
        text = described(without_found(task), inputs)
        shown = text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN].rsplit(" ", 1)[0] + " ..."
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
        return "".join(f"{block}{_GAPS[self.variant]}" for block in blocks if block)

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

    def _asked(self, task: Task, inputs: Inputs) -> str:
        return f"{_MARKS[self.variant][0]}{described(task, inputs)}"

    def _listed(self, task: Task) -> str:
        if not isinstance(task.output, Labels):
            return task.output.ask()
        names = list(task.output.names)
        if self.variant == 4:
            names.reverse()
        words = replace(
            task.output,
            names=tuple(self.label_text(name) for name in names),
            descriptions={self.label_text(name): said for name, said in task.output.descriptions.items()},
        )
        asked = words.ask()
        return asked.replace("\n- ", "\n* ") if self.variant in (2, 4) else asked


_INSTRUCTIONS = (
    "{}",
    "Please do the following. {}",
    "Task: {}",
    "{}",
    "Your task is this: {}",
    "INSTRUCTION\n{}",
)
_MARKS = (
    ("Input: ", "Answer: "),
    ("Text: ", "Label: "),
    ("INPUT: ", "ANSWER: "),
    ("Message - ", "Category - "),
    ("Input:\n", "Answer:\n"),
    ("### Input: ", "### Answer: "),
)
_GAPS = ("\n\n", "\n\n", "\n", "\n\n", "\n\n", "\n\n")
