"""The control: always the most frequent label of train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> MajoritySolution:
        rows = [*train, *dev]
        counts = Counter(row.target for row in rows)
        value, count = min(counts.items(), key=lambda item: (-item[1], str(item[0])))
        shares = Counter(
            label for row in rows for label in ([row.target] if isinstance(row.target, str) else row.target)
        )
        scores = {name: shares[name] / len(rows) for name in task.output.names}
        return MajoritySolution(value, count / len(rows), scores)

    def load(self, task: Task, folder: Path, kit: Kit) -> MajoritySolution:
        kept = load_json(folder / "majority.json")
        value = tuple(kept["value"]) if isinstance(kept["value"], list) else kept["value"]
        return MajoritySolution(value, kept["confidence"], kept["scores"])


@dataclass(frozen=True)
class MajoritySolution:
    """One answer for all."""

    value: Any
    confidence: float
    scores: Mapping[str, float]

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return [Prediction(self.value, self.confidence, self.scores) for _ in inputs]

    def save(self, folder: Path) -> None:
        save_json(
            folder / "majority.json", {"value": self.value, "confidence": self.confidence, "scores": dict(self.scores)}
        )
