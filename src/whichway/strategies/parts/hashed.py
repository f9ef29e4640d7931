"""Vectors of texts by their words alone: what likeness is where no sentence encoder is installed."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from whichway.strategies.parts.lexical import tokens

WIDTH = 1024  # places that words share; two words of one place are told apart by nothing


class HashedWords:
    """An Embedder that learns nothing: each word has one place and a sign by its hash (Weinberger et al. 2009)."""

    name = "words"

    def embed(self, texts: Sequence[str]) -> Any:
        """Return one unit vector per text, float32 [n, 1024]; a text without words has zeros."""
        import numpy as np

        found = np.zeros((len(texts), WIDTH), dtype=np.float32)
        for row, text in zip(found, texts, strict=True):
            for word, count in Counter(tokens(text)).items():
                said = zlib.crc32(word.encode("utf-8", "surrogatepass"))
                row[said % WIDTH] += (1 if said >> 31 else -1) * count**0.5
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
