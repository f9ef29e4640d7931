"""Retrieval-augmented fine-tuning: trained on prompts with the passages that retrieval finds, right and wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit
from whichway.core.task import Example, Task
from whichway.registry import get, register
from whichway.strategies.parts.lookup import LookedUp, fit_over, load_over, make_lookup


@register("strategy", "raft")
@dataclass(frozen=True)
class Raft:
    """Fine-tunes under prompts that carry retrieved passages (RAFT, Zhang et al. 2024): gold ones beside distractors.

    The passages are those that the index finds, so that training sees what use will see, the misses included.
    """

    passages: int = 2
    mode: Literal["auto", "lexical", "dense", "fused"] = "auto"
    words: int = 0
    method: Literal["lora", "full"] = "lora"
    model: str = "causal"
    epochs: int = 2
    longest: int = 1280
    needs: ClassVar[tuple[str, ...]] = ("causal", "embedder", "documents")
    trains: ClassVar[bool] = True
    searches: ClassVar[bool] = False
    reads_instruction: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    @property
    def continues(self) -> bool:
        """Tell whether a fit on all rows goes on from one on a part of them."""
        return self.method == "lora"

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> LookedUp:
        lookup = make_lookup(task, train, self.passages, self.mode, self.words, kit)
        return fit_over(self._inner(), lookup, train, dev, kit)

    def load(self, task: Task, folder: Path, kit: Kit) -> LookedUp:
        return load_over(self._inner(), task, folder, kit)

    def _inner(self) -> Any:
        """Return fine-tuning; taken from the registry, as one strategy imports no other."""
        return get("strategy", "finetune")(
            method=self.method, model=self.model, epochs=self.epochs, longest=self.longest
        )
