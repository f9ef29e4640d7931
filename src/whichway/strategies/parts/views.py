"""What a linear model reads of a row's text: all of it as one, or each field by itself and the ends of long ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whichway.core.rules import sentences
from whichway.core.task import Inputs, Task
from whichway.strategies.parts.features import text_of

LONG = 100  # words of a field, in the median row, from which its end says something by itself
LAST = 3  # sentences of an end: conclusions, requests and decisions stand there


@dataclass(frozen=True)
class View:
    """One text of a row: that of `field` ('': of all fields), or its last sentences. `name` is how it is kept in a file."""

    field: str = ""
    is_end: bool = False

    @property
    def name(self) -> str:
        return f"{'end' if self.is_end else 'all'}:{self.field}"

    def read(self, task: Task, inputs: Inputs) -> str:
        """Return the view's text of a row, '' where there is none."""
        said = inputs.get(self.field) if self.field else text_of(task, inputs)
        text = "" if said is None else str(said).strip()
        return " ".join(sentences(text)[-LAST:]) if self.is_end else text


WHOLE = (View(),)


def apart(task: Task, rows: Sequence[Inputs]) -> tuple[View, ...]:
    """Return a view of each text field, and of the end of those that are long; WHOLE where that is all there is to see."""
    names, found = task.text_fields, []
    for name in names:
        one = View(name)
        found.append(one)
        lengths = sorted(len(one.read(task, row).split()) for row in rows)
        if lengths and lengths[len(lengths) // 2] >= LONG:
            found.append(View(name, is_end=True))
    return tuple(found) if len(found) > 1 else WHOLE


def named(name: str) -> View:
    """Return the view that was kept under this name."""
    kind, _, field = name.partition(":")
    return View(field, kind == "end")
