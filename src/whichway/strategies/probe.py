"""Frozen sentence embeddings and the structured fields, into a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from whichway.core.strategy import Kit
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable
from whichway.registry import register
from whichway.strategies.parts.features import FieldEncoder, fit_fields, load_fields, text_of
from whichway.strategies.parts.linear import LinearHead, fit_head, load_head


@register("strategy", "probe")
@dataclass(frozen=True)
class Probe:
    """Logistic regression on a frozen encoder's unit vectors; `strengths` are the values of C to choose from."""

    strengths: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)
    needs: ClassVar[tuple[str, ...]] = ("embedder",)
    trains: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    reads_instruction: ClassVar[bool] = False

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> ProbeSolution:
        labels = task.labels  # another shape is refused before anything is read
        if not task.text_fields:
            raise NotApplicable(
                "The task has no free-text field to embed.", "Use classic, which reads numbers and categories."
            )
        rows = [*train, *dev]
        fields = fit_fields(task, [row.inputs for row in rows])
        features = _features(task, fields, kit.embedder, [row.inputs for row in rows])
        head = fit_head(features, [row.target for row in rows], labels, self.strengths, kit.seed)
        return ProbeSolution(task, fields, head, kit.embedder)

    def load(self, task: Task, folder: Path, kit: Kit) -> ProbeSolution:
        return ProbeSolution(task, load_fields(folder), load_head(folder), kit.embedder)


@dataclass(frozen=True)
class ProbeSolution:
    """A fitted head; the encoder stays outside."""

    task: Task
    fields: FieldEncoder
    head: LinearHead
    embedder: Any

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.head.predict(_features(self.task, self.fields, self.embedder, inputs))

    def save(self, folder: Path) -> None:
        self.fields.save(folder)
        self.head.save(folder)


def _features(task: Task, fields: FieldEncoder, embedder: Any, rows: Sequence[Inputs]) -> Any:
    import numpy as np

    vectors = embedder.embed([text_of(task, row) for row in rows])
    return np.hstack([vectors, fields.encode(rows) / 4]) if fields.width else vectors
