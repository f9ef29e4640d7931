"""The sentence encoder itself fine-tuned on the labels, then a linear head over its vectors beside the frozen ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit, Progress
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable
from whichway.registry import get, register
from whichway.strategies.parts.features import FieldEncoder, fit_fields, load_fields, text_of
from whichway.strategies.parts.linear import LinearHead, as_predictions, fit_head, load_head
from whichway.strategies.parts.store import load_json, save_json

MANY_PER_LABEL = 30  # rows of a label from which a model of words is worth half a vote
SMALLEST = 1e-6  # a probability below it counts as this


@register("strategy", "encoder")
@dataclass(frozen=True)
class Encoder:
    """Contrastive tuning when labels are few, a cosine classifier when they are many (`loss='auto'`), then a head.

    The head reads the tuned vectors beside the frozen ones: tuning on few rows forgets, and the frozen half remembers.
    A linear model of the rows' words (`classic`) has a share of `words` in the answer: the logarithms of both models'
    probabilities are averaged. By itself (-1) that is half where labels have 30 rows and more, else nothing: measured,
    it adds two points on contract clauses and takes two from intents with 10 rows each. Several labels per row: nothing.
    """

    loss: Literal["auto", "contrastive", "classifier"] = "auto"
    rate: float = 5e-5
    temperature: float = 0.1
    visits: int = 0  # rows read while training; 0: chosen by the number of labels
    strengths: tuple[float, ...] = (10.0,)
    words: float = -1.0
    needs: ClassVar[tuple[str, ...]] = ("embedder",)
    trains: ClassVar[bool] = True
    searches: ClassVar[bool] = False
    reads_instruction: ClassVar[bool] = False

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> EncoderSolution:
        labels = task.labels  # another shape is refused before anything is trained
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
        head = fit_head(features, [row.target for row in rows], labels, self.strengths, kit.seed)
        share = self._share(task, rows)
        return EncoderSolution(draft, head, folder, _lexical(task, rows, kit) if share else None, share)

    def _share(self, task: Task, rows: Sequence[Example]) -> float:
        if task.labels.multi:
            return 0.0
        many = len(rows) >= MANY_PER_LABEL * len({row.target for row in rows})
        return self.words if self.words >= 0 else 0.5 * many

    def load(self, task: Task, folder: Path, kit: Kit) -> EncoderSolution:
        frozen: Any = kit.embedder
        draft = _Draft(task, load_fields(folder), frozen, frozen.tuned(folder / "tuned"))
        share = float(load_json(folder / "share.json")["words"])
        lexical = get("strategy", "classic")().load(task, folder / "words", kit) if share else None
        return EncoderSolution(draft, load_head(folder), folder / "tuned", lexical, share)


@dataclass(frozen=True)
class EncoderSolution:
    """Both encoders, the fields, the head over them, and a model of words that has a share in the answer."""

    draft: _Draft
    head: LinearHead
    tuned: Path
    lexical: Any | None
    share: float

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        if self.lexical is None or not inputs:
            return self.head.predict(self.draft.features(inputs))
        import numpy as np
        from scipy.special import softmax

        names = self.head.labels
        words = np.array([[one.scores[name] for name in names] for one in self.lexical.predict(inputs)])
        vectors = np.asarray(self.head.probabilities(self.draft.features(inputs)))
        both = self.share * np.log(words.clip(SMALLEST)) + (1 - self.share) * np.log(vectors.clip(SMALLEST))
        return as_predictions(names, False, softmax(both, axis=1))

    def save(self, folder: Path) -> None:
        self.draft.fields.save(folder)
        self.head.save(folder)
        save_json(folder / "share.json", {"words": self.share})
        if self.lexical is not None:
            (folder / "words").mkdir(exist_ok=True)
            self.lexical.save(folder / "words")
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


def _lexical(task: Task, rows: Sequence[Example], kit: Kit) -> Any:
    """Return a fitted model of words; taken from the registry, as one strategy imports no other."""
    return get("strategy", "classic")(head="linear", strengths=(100.0,)).fit(task, rows, (), kit)


def _numbers(task: Task, target: Any) -> list[int]:
    return [task.labels.names.index(name) for name in ([target] if isinstance(target, str) else target)]
