"""Meaning of passages: unit vectors of their titles, of their bodies, or of both together, each text embedded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.model import Embedder
from whichway.core.strategy import Progress
from whichway.strategies.parts.chunks import Passage
from whichway.strategies.parts.store import load_arrays, save_arrays

STEP = 512  # texts between two words of progress


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of different texts, float32 [texts, width], and which of them are a passage's title, body and both.

    `rows` maps a part to one row number per passage. Texts that occur twice (a title above all) share a row.
    """

    table: Any
    rows: Mapping[str, Any]

    def cosines(self, queries: Any, part: str) -> Any:
        """Return float32 [queries, passages] of the queries' unit vectors with one part of each passage."""
        import numpy as np

        used, where = np.unique(self.rows[part], return_inverse=True)
        return np.asarray(queries @ self.table[used].T)[:, where]

    def of(self, part: str) -> Any:
        """Return the vectors of one part of all passages, [passages, width]."""
        return self.table[self.rows[part]]

    def known(self, passages: Sequence[Passage]) -> dict[str, Any]:
        """Return the vector of each text of the passages that these vectors were made of."""
        pairs = ((part_of(one, part), row) for part in self.rows for one, row in zip(passages, self.rows[part]))
        return {text: self.table[row] for text, row in pairs}

    def save(self, folder: Path) -> None:
        """Write vectors.safetensors."""
        rows = {f"rows.{part}": found for part, found in self.rows.items()}
        save_arrays(folder / "vectors.safetensors", {"table": self.table, **rows})


def load_vectors(folder: Path) -> Vectors:
    """Read what `Vectors.save` wrote."""
    arrays = load_arrays(folder / "vectors.safetensors")
    rows = {name.removeprefix("rows."): found for name, found in arrays.items() if name.startswith("rows.")}
    return Vectors(arrays["table"], rows)


def part_of(passage: Passage, part: str) -> str:
    """Return the text of one part; where a passage has no title or no body, the other one stands for it."""
    if part == "title":
        return passage.title or passage.text
    if part == "body":
        return passage.text or passage.title
    return "\n".join(filter(None, (passage.title, passage.text)))


def embed_passages(
    passages: Sequence[Passage],
    parts: Sequence[str],
    embedder: Embedder,
    known: Mapping[str, Any],
    progress: Callable[[Progress], None],
) -> Vectors:
    """Embed the texts of passages that are not `known` yet."""
    import numpy as np

    wanted = {part: [part_of(one, part) for one in passages] for part in parts}
    texts = list(dict.fromkeys(text for part in parts for text in wanted[part]))
    vectors = {text: known[text] for text in texts if text in known}
    new = [text for text in texts if text not in vectors]
    for start in range(0, len(new), STEP):
        progress(Progress("embed the documents", start, len(new)))
        batch = new[start : start + STEP]
        vectors.update(zip(batch, embedder.embed(batch), strict=True))
    number = {text: i for i, text in enumerate(texts)}
    rows = {part: np.array([number[text] for text in wanted[part]], dtype=np.int32) for part in parts}
    table = np.stack([vectors[text] for text in texts]).astype(np.float32) if texts else np.zeros((0, 0), np.float32)
    return Vectors(table, rows)
