"""The sentence encoder itself fine-tuned on the labels, then a linear head over its vectors beside the frozen ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit, Progress
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable
from whichway.registry import register
from whichway.strategies.parts.features import FieldEncoder, fit_fields, load_fields, text_of
from whichway.strategies.parts.linear import LinearHead, fit_head, load_head


@register("strategy", "encoder")
@dataclass(frozen=True)
class Encoder:
    """Contrastive tuning when labels are few, a cosine classifier when they are many (`loss='auto'`), then a head.

    The head reads the tuned vectors beside the frozen ones: tuning on few rows forgets, and the frozen half remembers.
    """

    loss: Literal["auto", "contrastive", "classifier"] = "auto"
    rate: float = 5e-5
    temperature: float = 0.1
    visits: int = 0  # rows read while training; 0: chosen by the number of labels
    strengths: tuple[float, ...] = (10.0,)
    needs: ClassVar[tuple[str, ...]] = ("embedder",)
    trains: ClassVar[bool] = True

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> EncoderSolution:
        if not task.text_fields:
            raise NotApplicable(
                "The task has no free-text field to embed.", "Use classic, which reads numbers and categories."
            )
        frozen: Any = kit.embedder
        if not hasattr(frozen, "tune"):
            raise NotApplicable(f"The encoder {frozen.name!r} cannot be trained here.", "Use a local sentence encoder.")
        rows = [*train, *dev]
        texts = [text_of(task, row.inputs) for row in rows]
        numbers = [_numbers(task, row.target) for row in rows]
        settings = {"loss": self.loss, "rate": self.rate, "temperature": self.temperature, "visits": self.visits}
        folder = kit.folder / "tuned"
        kit.progress(Progress("training"))
        frozen.tune(texts, numbers, settings, folder, kit)
        draft = _Draft(task, fit_fields(task, [row.inputs for row in rows]), frozen, frozen.tuned(folder))
        features = draft.features([row.inputs for row in rows])
        head = fit_head(features, [row.target for row in rows], task.output, self.strengths, kit.seed)
        return EncoderSolution(draft, head, folder)

    def load(self, task: Task, folder: Path, kit: Kit) -> EncoderSolution:
        frozen: Any = kit.embedder
        draft = _Draft(task, load_fields(folder), frozen, frozen.tuned(folder / "tuned"))
        return EncoderSolution(draft, load_head(folder), folder / "tuned")


@dataclass(frozen=True)
class EncoderSolution:
    """Both encoders, the fields, and the head over them."""

    draft: _Draft
    head: LinearHead
    tuned: Path

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.head.predict(self.draft.features(inputs))

    def save(self, folder: Path) -> None:
        self.draft.fields.save(folder)
        self.head.save(folder)
        if self.tuned != folder / "tuned":
            import shutil

            shutil.copytree(self.tuned, folder / "tuned", dirs_exist_ok=True)


@dataclass(frozen=True)
class _Draft:
    task: Task
    fields: FieldEncoder
    frozen: Any
    tuned: Any

    def features(self, rows: Sequence[Inputs]) -> Any:
        """Return float32 [rows, frozen + tuned + fields]; the two vectors together have unit length."""
        import numpy as np

        texts = [text_of(self.task, row) for row in rows]
        blocks = [self.frozen.embed(texts) / 2**0.5, self.tuned.embed(texts) / 2**0.5]
        if self.fields.width:
            blocks.append(self.fields.encode(rows) / 4)
        return np.hstack(blocks)


def _numbers(task: Task, target: Any) -> list[int]:
    return [task.output.names.index(name) for name in ([target] if isinstance(target, str) else target)]
