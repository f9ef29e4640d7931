"""Embedding texts: whichway the first and the second time, sentence-transformers as it comes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import device, measured


def whichway(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The encoder in the processor's number format."""
    from whichway.models.encoder import SentenceEncoder

    encoder = SentenceEncoder(inputs["model"])
    encoder.embed(inputs["texts"][:64])
    return lambda: _outcome(encoder.embed(inputs["texts"]), inputs)


def whichway_again(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """The same texts in another study of the same user, by the way that a study takes: a new ledger, weights looked at anew."""
    from types import SimpleNamespace

    from whichway.study.kit import CachedEmbedder, ModelShelf
    from whichway.study.ledger import Ledger

    scratch = Path(tempfile.mkdtemp())
    os.environ["WHICHWAY_CACHE"] = str(
        scratch / "cache"
    )  # what is timed was put there by the study before, and by no other
    settings = SimpleNamespace(models=SimpleNamespace(embedder=inputs["model"], endpoints={}))

    def study(name: str) -> CachedEmbedder:
        ledger = Ledger(scratch / name)
        return CachedEmbedder(ModelShelf(settings, lambda: ledger), ledger)

    study("first").embed(inputs["texts"])
    second = study("second")
    return lambda: _outcome(second.embed(inputs["texts"]), inputs)


def sentence_transformers(inputs: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """`SentenceTransformer(folder).encode(texts)`."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(inputs["model"], device=device())
    model.encode(inputs["texts"][:64], show_progress_bar=False)
    return lambda: _outcome(model.encode(inputs["texts"], show_progress_bar=False), inputs)


def _outcome(vectors: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Quality: accuracy of the nearest neighbour among the other texts, which is not part of embedding."""
    import numpy as np

    began = time.perf_counter()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -1)
    labels = np.array(inputs["targets"])
    right = (labels[near.argmax(1)] == labels).astype(float)
    said = {"rows": len(vectors), "quality": float(right.mean()), "scores": right.tolist()}
    return {**said, "not_counted_s": time.perf_counter() - began}


if __name__ == "__main__":
    measured({"whichway": whichway, "whichway_again": whichway_again, "sentence_transformers": sentence_transformers})
