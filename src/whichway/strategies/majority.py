"""The control: always the most frequent answer of train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from whichway.core.output import Labels, as_labels
from whichway.core.strategy import Kit
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.registry import register
from whichway.strategies.parts.store import load_json, save_json


@register("strategy", "majority")
@dataclass(frozen=True)
class Majority:
    """Answers every row with the most frequent answer; its confidence is that answer's share of train."""

    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    reads_instruction: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> MajoritySolution:
        rows = [*train, *dev]
        by_text = {task.output.write(row.target): row.target for row in rows}
        counts = Counter(task.output.write(row.target) for row in rows)
        text, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
        scores = None
        if isinstance(task.output, Labels):
            shares = Counter(label for row in rows for label in as_labels(row.target))
            scores = {name: shares[name] / len(rows) for name in task.output.names}
        return MajoritySolution(by_text[text], count / len(rows), scores)

    def load(self, task: Task, folder: Path, kit: Kit) -> MajoritySolution:
        kept = load_json(folder / "majority.json")
        value = tuple(kept["value"]) if isinstance(kept["value"], list) else kept["value"]
        return MajoritySolution(value, kept["confidence"], kept["scores"])


@dataclass(frozen=True)
class MajoritySolution:
    """One answer for all."""

    value: Any
    confidence: float
    scores: Mapping[str, float] | None

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return [Prediction(self.value, self.confidence, self.scores) for _ in inputs]

    def save(self, folder: Path) -> None:
        scores = None if self.scores is None else dict(self.scores)
        save_json(folder / "majority.json", {"value": self.value, "confidence": self.confidence, "scores": scores})
