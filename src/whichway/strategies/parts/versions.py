"""A prompt as a version: its whole text, and the same as chat messages, with a place for the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whichway.core.output import Labels
from whichway.core.strategy import PromptVersion
from whichway.core.task import Example, Task
from whichway.strategies.parts.prompting import PromptFormat


def length_of(model: Any, text: str) -> int:
    """Return the tokens of a text, as its model counts them where it does."""
    count = getattr(model, "count", None)
    return int(count(text)) if count else len(text) // 4


def version_of(task: Task, form: PromptFormat, shown: Sequence[Example], looked_up: int = 0) -> PromptVersion:
    """Return a prompt with `{field}` in place of what a row says, and `{examples}` where examples are looked up per row.

    Where nothing in it shows how labels are spelled, and they are not spelled as usual, `{answers}` stand at its end: two
    prompts that are answered in other words are two.
    """
    blank = {one.name: "{" + one.name + "}" for one in task.fields}
    beginning = form.beginning(task, shown)
    place = f"{{{looked_up} nearest examples}}" if looked_up else ""
    text = beginning + (place + "\n\n" if place else "") + form.row(task, blank)
    if isinstance(task.output, Labels) and not (form.labels or shown) and (form.spelled or not form.words):
        text += "{" + " | ".join(form.answer_text(task, name) for name in task.labels.names) + "}"
    messages = list(form.messages(task, blank, shown))
    if place:
        messages.insert(-1, ("user", place))
    return PromptVersion(text, tuple(messages))
