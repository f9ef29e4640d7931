"""A second look at what was found: a logistic choice among candidates, learned from train questions and their documents."""

# What is kept are questions of the train part and the ids of their gold documents, never an answer. In fitting, each row is
# seen twice: once as if it were new among known questions, once as if nobody had asked for its documents before. Without
# the second, the best features would be trusted only for documents somebody asked for (stackfaq: hit@1 0.62 instead of 0.97).

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.errors import WhichwayError
from whichway.strategies.parts.fusion import best
from whichway.strategies.parts.pairs import FEATURES, Asked, Pairing
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json

DEPTH = 60  # candidates looked at again
PENALTY = 1.0  # of squared weights on standardised features
BLOCK = 4_000_000  # numbers [questions, passages] per feature held at a time


@dataclass(frozen=True)
class Reranker:
    """Weights, one per feature and none below zero, and the questions asked before."""

    weights: tuple[float, ...]
    asked: Asked

    def ranked(
        self, pairing: Pairing, queries: Sequence[str], vectors: Any, k: int, without_self: bool = False
    ) -> list[tuple[Any, Any]]:
        """Return (passage numbers, scores) of the k best per question; scores are shares of one among the candidates.

        With `without_self` an earlier question of the same wording is not looked at.
        """
        import numpy as np
        from scipy.special import softmax

        hidden = (
            np.array([[one == other for other in self.asked.questions] for one in queries]) if without_self else None
        )
        found = []
        for candidates, features in paired(pairing, queries, vectors, max(DEPTH, k), hidden):
            scores = softmax(features @ np.array(self.weights), axis=1)
            order = best(scores, k)
            numbers = np.take_along_axis(candidates, order, axis=1)
            found += list(zip(numbers, np.take_along_axis(scores, order, axis=1), strict=True))
        return found

    def save(self, folder: Path) -> None:
        """Write reranker.json and reranker.safetensors."""
        about = {"weights": dict(zip(FEATURES, self.weights, strict=True)), "questions": self.asked.questions}
        save_json(folder / "reranker.json", about | {"gold": self.asked.gold})
        save_arrays(folder / "reranker.safetensors", {"vectors": self.asked.vectors})


def load_reranker(folder: Path) -> Reranker:
    """Read what `Reranker.save` wrote."""
    about = load_json(folder / "reranker.json")
    if set(about["weights"]) != set(FEATURES):
        raise WhichwayError(f"{folder}: this reranker is of another version of whichway.", "Run the study again.")
    gold = tuple(tuple(one) for one in about["gold"])
    vectors = load_arrays(folder / "reranker.safetensors")["vectors"]
    return Reranker(tuple(about["weights"][name] for name in FEATURES), Asked(tuple(about["questions"]), vectors, gold))


def paired(
    pairing: Pairing, queries: Sequence[str], vectors: Any, depth: int, hidden: Any = None
) -> Iterator[tuple[Any, Any]]:
    """Yield (candidates, features) of questions in blocks that fit into memory; see Pairing.features."""
    step = max(1, BLOCK // max(1, len(pairing.passages)))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        yield pairing.features(queries[rows], vectors[rows], depth, None if hidden is None else hidden[rows])


def all_paired(pairing: Pairing, rows: Sequence[int], hidden: Any) -> tuple[Any, Any, Any]:
    """Return (candidates, features, is gold) of questions asked before, given by number; `hidden` as in Pairing."""
    import numpy as np

    asked = pairing.asked
    parts = list(paired(pairing, [asked.questions[i] for i in rows], asked.vectors[list(rows)], DEPTH, hidden))
    candidates = np.concatenate([part[0] for part in parts])
    gold = [set(asked.gold[i]) for i in rows]
    right = [[pairing.passages[i].document in names for i in row] for row, names in zip(candidates, gold, strict=True)]
    return candidates, np.concatenate([part[1] for part in parts]), np.array(right)


def learn(features: Any, right: Any) -> tuple[float, ...]:
    """Return weights under which the gold passages get the largest share of a softmax over the candidates.

    The conditional logit of McFadden 1974; several gold passages share the credit. Rows without one teach nothing.
    """
    import numpy as np
    from scipy.optimize import minimize

    seen = right.any(axis=1)
    features, right = features[seen], right[seen]
    if not len(features):
        return tuple(0.0 for _ in FEATURES)
    spread = np.maximum(features.std(axis=(0, 1)), 1e-9)
    scaled = (features - features.mean(axis=1, keepdims=True)) / spread

    def loss(weights: Any) -> tuple[float, Any]:
        logits = scaled @ weights
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        good = np.maximum((shares * right).sum(axis=1), 1e-12)
        slope = shares * right / good[:, None] - shares
        gradient = PENALTY * weights - np.tensordot(slope, scaled, axes=([0, 1], [0, 1]))
        return float(PENALTY * (weights @ weights) / 2 - np.log(good).sum()), gradient

    found = minimize(loss, np.zeros(len(FEATURES)), jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(FEATURES))
    return tuple(float(one) for one in found.x / spread)
