"""Rows as weighted words and characters (TF-IDF) beside the structured fields; saved without pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.task import Inputs, Task
from whichway.strategies.parts.features import FieldEncoder, fit_fields, load_fields, text_of
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json

SIDES = {
    "words": {"analyzer": "word", "ngram_range": (1, 2)},
    "characters": {"analyzer": "char_wb", "ngram_range": (3, 5)},
}


@dataclass(frozen=True)
class TextReader:
    """Rows to columns: TF-IDF vectorisers by side, and the field encoder."""

    task: Task
    sides: dict[str, Any]
    fields: FieldEncoder

    def sparse(self, rows: Sequence[Inputs]) -> Any:
        """Return a CSR matrix [rows, all columns]."""
        from scipy.sparse import csr_matrix, hstack

        texts = [text_of(self.task, row) for row in rows]
        blocks = [side.transform(texts) for side in self.sides.values()]
        blocks.append(csr_matrix(self.fields.encode(rows) / 4))
        return hstack(blocks, format="csr", dtype="float32")

    def dense(self, rows: Sequence[Inputs], topics: Any) -> Any:
        """Return float32 [rows, fields and topics] for trees."""
        import numpy as np

        sparse = self.sparse(rows)
        text = sparse[:, : topics.shape[1]] @ topics.T
        return np.hstack([self.fields.encode(rows), np.asarray(text, dtype=np.float32)])

    def save(self, folder: Path) -> None:
        """Write the vocabularies as JSON and the weights of their words as safetensors."""
        words = {side: {term: int(at) for term, at in one.vocabulary_.items()} for side, one in self.sides.items()}
        save_json(folder / "vocabulary.json", words)
        save_arrays(folder / "idf.safetensors", {side: one.idf_ for side, one in self.sides.items()})
        self.fields.save(folder)


def fit_reader(task: Task, rows: Sequence[Inputs], most: Mapping[str, int]) -> TextReader:
    """Learn vocabularies from train rows; `most` says which sides there are and how many terms each may keep."""
    texts, sides = [text_of(task, row) for row in rows], {}
    for side, size in most.items():
        one = _vectoriser(SIDES[side], max_features=size)
        try:
            sides[side] = one.fit(texts)
        except ValueError:  # no text field, or nothing but stop characters in it
            continue
    return TextReader(task, sides, fit_fields(task, rows))


def load_reader(task: Task, folder: Path) -> TextReader:
    """Read what `TextReader.save` wrote."""
    words, weights = load_json(folder / "vocabulary.json"), load_arrays(folder / "idf.safetensors")
    sides = {}
    for side in SIDES:
        if side in words:
            sides[side] = _vectoriser(SIDES[side], vocabulary=words[side])
            sides[side].idf_ = weights[side]
    return TextReader(task, sides, load_fields(folder))


def _vectoriser(how: dict[str, Any], **more: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", **how, **more)
