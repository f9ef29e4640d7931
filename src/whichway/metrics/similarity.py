"""The metric of meaning: how near an answer's vector is to that of a right answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from whichway.core.model import Embedder
from whichway.core.task import Example, Prediction
from whichway.errors import UsageError
from whichway.metrics.resampling import means, once
from whichway.metrics.text import right_answers
from whichway.registry import register


@register("metric", "embedding_similarity")
@dataclass(frozen=True)
class EmbeddingSimilarity:
    """Mean cosine, from 0, between the vectors of an answer and of the right answer nearest to it (Reimers and Gurevych 2019).

    Texts about the same thing are near even where they contradict each other: read it beside another metric. Where the answer or
    the right answer is empty, it is 1 if both are and else 0. `score_examples` scores many answers in one call of the
    embedder, and gives what score_example gives for each.
    """

    embedder: Embedder | None = None
    name: ClassVar[str] = "embedding_similarity"
    is_mean: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)
    needs: ClassVar[tuple[str, ...]] = ("embedder",)

    def score_example(self, example: Example, prediction: Prediction) -> float:
        return self.score_examples([example], [prediction])[0]

    def score_examples(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[float]:
        """Score answers together: each different text is embedded once."""
        pairs = [
            (str(answer.value or "").strip() if answer.parsed else None, [one.strip() for one in right_answers(row)])
            for row, answer in zip(examples, predictions, strict=True)
        ]
        vectors = self._vectors(sorted({text for said, golds in pairs for text in (said or "", *golds) if text}))
        return [0.0 if said is None else max(_near(said, gold, vectors) for gold in golds) for said, golds in pairs]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return means(scores, index)

    def _vectors(self, texts: Sequence[str]) -> dict[str, Any]:
        if self.embedder is None:
            raise UsageError("The metric embedding_similarity was given no embedder.", "Name one: models.embedder.")
        return dict(zip(texts, np.asarray(self.embedder.embed(texts), dtype=np.float64))) if texts else {}


def _near(said: str, gold: str, vectors: dict[str, Any]) -> float:
    if said == gold or not said or not gold:
        return float(said == gold)
    return min(1.0, max(0.0, float(vectors[said] @ vectors[gold])))
