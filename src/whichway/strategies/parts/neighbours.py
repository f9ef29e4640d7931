"""Train examples nearest to an input by embedding: what few-shot prompts per input are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.task import Example, Inputs, Task
from whichway.strategies.parts.features import described, text_of, without_found
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json


@dataclass(frozen=True)
class Neighbours:
    """Examples and their unit vectors [examples, width]; the embedder stays outside."""

    task: Task
    examples: tuple[Example, ...]
    vectors: Any
    embedder: Any

    def nearest(self, rows: Sequence[Inputs], count: int, without_self: bool = False) -> list[list[Example]]:
        """Return per row its `count` nearest examples, the nearest last (next to the question).

        `without_self` leaves out the example that is the row itself, by position: rows must then be the examples' own.
        """
        import numpy as np

        vectors = self.vectors if without_self else self.embedder.embed([_key(self.task, row) for row in rows])
        found = []
        for start in range(0, len(rows), 512):
            near = np.asarray(vectors[start : start + 512] @ self.vectors.T)
            if without_self:
                near[np.arange(len(near)), np.arange(start, start + len(near))] = -2.0
            order = np.argsort(-near, axis=1, kind="stable")[:, :count]
            found += [[self.examples[i] for i in reversed(row)] for row in order]
        return found

    def save(self, folder: Path) -> None:
        """Write the examples as JSON and their vectors as safetensors."""
        save_examples(folder, self.examples)
        save_arrays(folder / "examples.safetensors", {"vectors": self.vectors})


def index_examples(task: Task, examples: Sequence[Example], embedder: Any) -> Neighbours:
    """Embed examples once."""
    vectors = embedder.embed([_key(task, one.inputs) for one in examples])
    return Neighbours(task, tuple(examples), vectors, embedder)


def load_neighbours(task: Task, folder: Path, embedder: Any) -> Neighbours:
    """Read what `Neighbours.save` wrote."""
    return Neighbours(task, load_examples(folder), load_arrays(folder / "examples.safetensors")["vectors"], embedder)


def save_examples(folder: Path, examples: Sequence[Example]) -> None:
    """Write examples without vectors."""
    kept = [
        {"id": one.id, "inputs": dict(one.inputs), "target": one.target, "gold_documents": list(one.gold_documents)}
        for one in examples
    ]
    save_json(folder / "examples.json", kept)


def load_examples(folder: Path) -> tuple[Example, ...]:
    """Read examples as either way of saving wrote them."""
    return tuple(
        Example(
            one["id"],
            one["inputs"],
            tuple(one["target"]) if isinstance(one["target"], list) else one["target"],
            gold_documents=tuple(one.get("gold_documents", ())),
        )
        for one in load_json(folder / "examples.json")
    )


def _key(task: Task, row: Inputs) -> str:
    task = without_found(task)
    return text_of(task, row) if task.text_fields else described(task, row)
