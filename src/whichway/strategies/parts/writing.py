"""Answers that a model writes (running text, JSON by a schema): how they are asked for, read, and how far they are trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.fields import Fields
from whichway.core.model import Reply, Request
from whichway.core.strategy import PromptVersion
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.core.text import Text
from whichway.errors import ProviderError
from whichway.strategies.parts.drafts import Drafts, load_drafts
from whichway.strategies.parts.neighbours import Neighbours, load_examples, load_neighbours, save_examples
from whichway.strategies.parts.prompting import PromptFormat, form_from, reordered
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.trust import Trust, fit_trust, trust_from
from whichway.strategies.parts.versions import version_of

MOST_TOKENS = 512
REPEATED_AT = 0.7  # temperature at which repeats are drawn
ROOM = 1.3  # times the longest answer of train
CHARACTERS_PER_TOKEN = 2.5  # of a model that counts none itself: on the safe side
MOST_FAILED = 0.5  # share of failed calls on labelled rows above which the provider counts as unavailable


@dataclass(frozen=True)
class WrittenReader:
    """Reads replies of at most `most` tokens; the evidence for an answer is the mean log-probability of its tokens."""

    most: int
    trust: Trust = Trust()

    def read(self, task: Task, replies: Sequence[Reply]) -> list[Prediction]:
        """Answer each reply; what cannot be read, was cut off or failed is marked as not parsed."""
        return self.trust.apply([read_reply(task, one) for one in replies], [sureness(one) for one in replies])


def read_reply(task: Task, reply: Reply) -> Prediction:
    """Return what a reply states, not yet with a confidence; of a text that was cut off, its whole sentences.

    An object that was brought to its end early, as a grammar does at the length limit, is an answer like any other.
    """
    value = task.output.read(reply.text if is_complete(task, reply) else _whole_sentences(task, reply))
    return Prediction(nothing(task), 0.0, None, parsed=False) if value is None else Prediction(value, 0.5)


@dataclass(frozen=True)
class WrittenSolution:
    """A prompt whose answers a model writes; `continues` for weights that were trained to go on after it.

    With `drafts`, texts with a fault are written again.
    """

    task: Task
    model: Any
    form: PromptFormat
    shown: tuple[Example, ...]
    near: Neighbours | None
    shots: int
    reader: WrittenReader
    continues: bool = False
    drafts: Drafts | None = None
    temperature: float = 0.0
    draw: int = 0

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        if not inputs:
            return []
        return self.reader.read(self.task, self.replies(inputs))

    def rewritten(self, kind: str, number: int) -> WrittenSolution | None:
        if kind == "order":
            return replace(self, shown=reordered(self.shown, number)) if len(self.shown) > 1 else None
        if kind == "repeat":
            return replace(self, temperature=REPEATED_AT, draw=number + 1)
        form = self.form.rewritten(kind, number, self.task.paraphrases)
        return replace(self, form=form) if form else None

    def version(self) -> PromptVersion:
        """Return the prompt as a version that can be kept, compared and exported."""
        return version_of(self.task, self.form, self.shown, self.shots if self.near is not None else 0)

    def save(self, folder: Path) -> None:
        kept = {"format": asdict(self.form), "shots": self.shots, "reader": asdict(self.reader)}
        save_json(folder / "written.json", {**kept, "continues": self.continues})
        (folder / "prompt.txt").write_text(self.form.beginning(self.task, self.shown), encoding="utf-8")
        if self.near is not None:
            self.near.save(folder)
        elif self.shown:
            save_examples(folder, self.shown)
        if self.drafts is not None:
            self.drafts.save(folder)

    def replies(self, inputs: Sequence[Inputs], own: bool = False) -> list[Reply]:
        """Return what the model writes; `own` rows are the indexed examples in order, not shown to themselves."""
        schema = self.task.output.schema if isinstance(self.task.output, Fields) else None
        stop = self.task.output.stop if isinstance(self.task.output, Text) else ()
        asked: Sequence[Any]
        if self.continues:
            asked = [(("user", text),) for text in self.prompts(inputs, own)]
        else:
            few = self.examples_for(inputs, own)
            asked = [self.form.messages(self.task, row, one) for row, one in zip(inputs, few, strict=True)]
        most = self.reader.most
        heat = self.temperature
        requests = [Request(one, most, heat, None, schema, self.continues, stop, self.draw) for one in asked]
        found: list[Reply] = self.model.generate(requests)
        return self.drafts.improve(inputs, requests, found, self.model.generate) if self.drafts else found

    def prompts(self, inputs: Sequence[Inputs], own: bool = False) -> list[str]:
        """Return the prompts as plain text."""
        few = self.examples_for(inputs, own)
        return [self.form.prompt(self.task, row, one) for row, one in zip(inputs, few, strict=True)]

    def examples_for(self, inputs: Sequence[Inputs], own: bool = False) -> Sequence[Sequence[Example]]:
        """Return the examples each input is shown."""
        if self.near is None:
            return [self.shown] * len(inputs)
        return self.near.nearest(inputs, self.shots, without_self=own)


def load_written(task: Task, folder: Path, model: Any, embedder: Any) -> WrittenSolution:
    """Read what `WrittenSolution.save` wrote."""
    kept = load_json(folder / "written.json")
    near = load_neighbours(task, folder, embedder) if (folder / "examples.safetensors").exists() else None
    shown = load_examples(folder) if near is None and (folder / "examples.json").exists() else ()
    form = form_from(kept["format"])
    reader = WrittenReader(kept["reader"]["most"], trust_from(kept["reader"]["trust"]))
    drafts = load_drafts(task, folder)
    return WrittenSolution(task, model, form, shown, near, kept["shots"], reader, kept["continues"], drafts)


def trusted(solution: WrittenSolution, rows: Sequence[Example]) -> WrittenSolution:
    """Return the solution with confidences fitted on labelled rows that it has not learned from.

    Raises ProviderError when most of the calls fail.
    """
    if not rows:
        return solution
    task, replies = solution.task, solution.replies([row.inputs for row in rows])
    failed = [reply for reply in replies if reply.finish == "failed"]
    if len(failed) > MOST_FAILED * len(rows):
        problem = f"{solution.model.name}: {failed[0].problem}"
        raise ProviderError(problem, "Look at the endpoint, then run the same command again.")
    answers = [read_reply(task, one) for one in replies]
    trust = fit_trust(task, rows, answers, [sureness(one) for one in replies])
    return replace(solution, reader=replace(solution.reader, trust=trust))


def room_for(task: Task, model: Any, rows: Sequence[Example]) -> int:
    """Return how many tokens an answer may have: somewhat more than the longest one of train."""
    said = task.output.most_tokens if isinstance(task.output, Text) else 0
    if said:
        return said
    texts = sorted({task.output.write(row.target) for row in rows}, key=len)[-32:]
    count = getattr(model, "count", None)
    longest = max((count(one) if count else len(one) / CHARACTERS_PER_TOKEN for one in texts), default=64)
    return min(MOST_TOKENS, int(ROOM * longest) + 16)


def _whole_sentences(task: Task, reply: Reply) -> str:
    """Return a cut text up to the end of its last sentence, an object as it is, and nothing of a call that failed."""
    if reply.finish == "failed" or not isinstance(task.output, Text):
        return "" if reply.finish == "failed" else reply.text
    ends = [found.end() for found in re.finditer(r"[.!?][\"'\u201d\u2019)\]]*(?=\s|$)", reply.text)]
    return reply.text[: ends[-1]] if ends else ""


def nothing(task: Task) -> Any:
    """Return the value that states nothing: what an answer that could not be read holds."""
    return task.output.empty() if isinstance(task.output, Fields) else ""


def is_complete(task: Task, reply: Reply) -> bool:
    """Tell whether a reply came to its end by itself, or holds a string at which an answer ends."""
    stop = task.output.stop if isinstance(task.output, Text) else ()
    return reply.finish == "stop" or (reply.finish == "length" and any(one in reply.text.strip() for one in stop))


def sureness(reply: Reply) -> float | None:
    """Return the mean log-probability of a reply's tokens, where it is known."""
    if reply.mean_logprob is not None:
        return max(-20.0, reply.mean_logprob)
    best = [max(one.values()) for one in reply.top_logprobs if one]
    return max(-20.0, sum(best) / len(best)) if best else None
