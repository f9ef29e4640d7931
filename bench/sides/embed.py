"""Embedding texts: whichway the first and the second time, sentence-transformers as it comes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from common import device, measured


def whichway(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The encoder in the processor's number format."""
    from whichway.models.encoder import SentenceEncoder

    encoder = SentenceEncoder(inputs["model"])
    encoder.embed(inputs["texts"][:64])
    return lambda: _outcome(encoder.embed(inputs["texts"]), inputs)


def whichway_again(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The same texts in another study of the same user: by content from the cache on disk."""
    import numpy as np

    from whichway.models.encoder import SentenceEncoder
    from whichway.models.vector_cache import VectorCache

    cache = VectorCache("bench")
    keys = [hashlib.sha256(text.encode()).hexdigest() for text in inputs["texts"]]
    vectors = SentenceEncoder(inputs["model"]).embed(inputs["texts"])
    cache.put({key: one.tobytes() for key, one in zip(keys, vectors, strict=True)})

    def work() -> dict[str, Any]:
        again = [hashlib.sha256(text.encode()).hexdigest() for text in inputs["texts"]]
        found = cache.get(again)
        return _outcome(np.stack([np.frombuffer(found[key], dtype=np.float32) for key in again]), inputs)

    return work


def sentence_transformers(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """`SentenceTransformer(folder).encode(texts)`."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(inputs["model"], device=device())
    model.encode(inputs["texts"][:64], show_progress_bar=False)
    return lambda: _outcome(model.encode(inputs["texts"], show_progress_bar=False), inputs)


def _outcome(vectors: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Quality: accuracy of the nearest neighbour among the other texts."""
    import numpy as np

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -1)
    labels = np.array(inputs["targets"])
    right = (labels[near.argmax(1)] == labels).astype(float)
    return {"rows": len(vectors), "quality": float(right.mean()), "scores": right.tolist()}


if __name__ == "__main__":
    measured({"whichway": whichway, "whichway_again": whichway_again, "sentence_transformers": sentence_transformers})
