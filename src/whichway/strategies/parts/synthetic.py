"""Inputs that a model writes for labels with few rows: never labelled by it alone, never compared or tested on."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from whichway.core.model import Request
from whichway.core.output import Labels, as_labels
from whichway.core.task import Example, Task
from whichway.errors import NotApplicable
from whichway.strategies.parts.features import described

SHOWN = 5
MOST_TOKENS = 120
HEAT = 0.9
TRIES = 2  # requests per input that is wanted: some say what is there already


def write_examples(
    task: Task, train: Sequence[Example], wanted: Mapping[str, int], model: Any, seed: int
) -> list[Example]:
    """Return new inputs, each with the label it was written for; texts that are in train already are left out.

    Only tasks with labels and one text field can be written for: raises NotApplicable for others.
    """
    if why := unwritable(task):
        raise NotApplicable(f"Nothing can be written by a model here: {why}.", "Leave `synthetic` at 0.")
    rng, name = random.Random(f"synthetic {seed}"), task.fields[0].name
    asked: list[str] = []
    requests = []
    for label, count in wanted.items():
        own = [described(task, row.inputs) for row in train if label in as_labels(row.target)]
        for number in range(TRIES * count):
            shown = rng.sample(own, min(SHOWN, len(own)))
            requests.append(Request(_messages(task, label, shown), MOST_TOKENS, HEAT, draw=number))
            asked.append(label)
    known = {_folded(described(task, row.inputs)) for row in train}
    found: list[Example] = []
    counts = dict.fromkeys(wanted, 0)
    for label, reply in zip(asked, model.generate(requests) if requests else (), strict=True):
        text = reply.text.strip().strip('"').split("\n\n")[0].strip()
        if reply.finish == "failed" or not text or _folded(text) in known or counts[label] >= wanted[label]:
            continue
        known.add(_folded(text))
        counts[label] += 1
        found.append(Example(f"synthetic-{len(found)}", {name: text}, (label,) if task.labels.multi else label))
    return found


def unwritable(task: Task) -> str:
    """Say why a model cannot write inputs of this task; '' where it can."""
    if not isinstance(task.output, Labels):
        return f"inputs are written for labels, and the answers are {task.output.shape}"
    if len(task.fields) != 1 or not task.text_fields:
        names = ", ".join(field.name for field in task.fields)
        return f"inputs of one text field alone can be written, and the fields here are {names}"
    return ""


def _messages(task: Task, label: str, shown: Sequence[str]) -> Any:
    said = task.labels.descriptions.get(label, "")
    listed = "\n".join(f"- {text}" for text in shown)
    text = (
        f"The task: {task.instruction.strip()}\nWrite one more text of the kind {label.replace('_', ' ')!r}"
        f"{f' ({said})' if said else ''}. Answer with the text alone. It must differ from these:\n{listed}"
    )
    return (("user", text),)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
