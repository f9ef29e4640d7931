"""Fine-tuning behind an endpoint: chats that end in the right answer go out, the name of a model comes back."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.output import Labels
from whichway.core.strategy import Kit, Progress, PromptVersion
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable
from whichway.strategies.parts.neighbours import Neighbours, index_examples
from whichway.strategies.parts.prompted import PromptSolution, draft_prompt, fitted_prompt, load_prompt
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.writing import WrittenSolution

LEAST = 10  # rows of a file: what OpenAI's fine-tuning asks for


@dataclass(frozen=True)
class HostedSolution:
    """A fine-tuned model at an endpoint under the prompt that it was trained with; `is_paid` by this run."""

    inner: PromptSolution | WrittenSolution
    name: str
    tokens: int = 0
    is_paid: bool = True

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.inner.predict(inputs)

    def version(self) -> PromptVersion:
        """Return the prompt that the weights were trained under."""
        return self.inner.version()

    def rewritten(self, kind: str, number: int) -> HostedSolution | None:
        inner = self.inner.rewritten(kind, number)
        return replace(self, inner=inner) if inner else None

    def save(self, folder: Path) -> None:
        self.inner.save(folder)
        save_json(folder / "hosted.json", {"model": self.name, "tokens": self.tokens, "paid_by_this_run": self.is_paid})


def fit_hosted(
    task: Task,
    model: Any,
    train: Sequence[Example],
    dev: Sequence[Example],
    settings: Mapping[str, Any],
    kit: Kit,
    shown: int = 0,
) -> HostedSolution:
    """Fine-tune at the endpoint, and learn on dev how far the answers can be trusted.

    `shown` > 0 trains and uses prompts that carry so many nearest train examples; a row never carries itself.

    Rows are checked before any is sent: those without an answer stay here, and so does a dev part that is too small for a
    file. Raises NotApplicable where too few are left to learn from.
    """
    form = PromptFormat(instruction=False, context=False, labels=False)
    kit.progress(Progress("preparing rows"))
    near = index_examples(task, train, kit.embedder) if shown else None
    rows, held = (
        _complete(_chats(task, form, some, _examples(near, some, shown, some is train))) for some in (train, dev)
    )
    if len(rows) < LEAST:
        problem = f"{len(rows)} rows with an answer to learn from; a fine-tuning job at an endpoint needs {LEAST}."
        raise NotApplicable(problem, "Label more rows.")
    if len(held) < LEAST:
        kit.progress(Progress(f"without a validation file: {len(held)} held-out rows, and it needs {LEAST}"))
        held = []
    made = model.tune(rows, held, settings, kit)
    draft = draft_prompt(task, model.tuned(made.name), form, near or (), shown, train)
    checked = random.Random(kit.seed).sample(list(dev or train), len(dev or train))
    inner = fitted_prompt(_plain(draft), checked, has_dev=bool(dev))
    return HostedSolution(inner, made.name, made.tokens, made.is_paid)


def load_hosted(task: Task, folder: Path, model: Any, kit: Kit) -> HostedSolution:
    """Read what `HostedSolution.save` wrote."""
    kept = load_json(folder / "hosted.json")
    inner = load_prompt(task, folder, model.tuned(kept["model"]), kit)
    return HostedSolution(_plain(inner), kept["model"], kept["tokens"], kept.get("paid_by_this_run", True))


def _plain(draft: PromptSolution | WrittenSolution) -> PromptSolution | WrittenSolution:
    """Ask for a label as the weights have learned to say it, without a form around it."""
    return replace(draft, is_held=False) if isinstance(draft, PromptSolution) else draft


def _examples(near: Neighbours | None, rows: Sequence[Example], shown: int, own: bool) -> Sequence[Sequence[Example]]:
    """Return the examples that each row's prompt carries; rows that are the examples' `own` do not carry themselves."""
    if near is None or not rows:
        return [()] * len(rows)
    return near.nearest([row.inputs for row in rows], shown, without_self=own)


def _chats(
    task: Task, form: PromptFormat, rows: Sequence[Example], shown: Sequence[Sequence[Example]]
) -> list[list[tuple[str, str]]]:
    """Return each row as the chat that will be asked, and its right answer."""
    return [
        [*form.messages(task, row.inputs, some), ("assistant", form.answer_text(task, _value(task, row.target)))]
        for row, some in zip(rows, shown, strict=True)
    ]


def _complete(chats: Sequence[list[tuple[str, str]]]) -> list[list[tuple[str, str]]]:
    """Return those in which every message says something: what files of chats may hold."""
    return [chat for chat in chats if all(text.strip() for _, text in chat)]


def _value(task: Task, target: Any) -> Any:
    return tuple(target) if isinstance(task.output, Labels) and isinstance(target, list) else target
