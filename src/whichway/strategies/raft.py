"""Retrieval before fine-tuned weights: trained under prompts with passages, right and wrong ones, or without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit
from whichway.core.task import Example, Task
from whichway.errors import NotApplicable
from whichway.registry import get, register
from whichway.strategies.parts.lookup import LookedUp, Wanted, fit_over, load_over, make_lookup
from whichway.strategies.parts.tuned import confident


@register("strategy", "raft")
@dataclass(frozen=True)
class Raft:
    """Fine-tunes under prompts that carry retrieved passages (RAFT, Zhang et al. 2024): gold ones beside distractors.

    The passages are those that the index finds, so that training sees what use will see, the misses included. With
    `trained` 'bare' the weights are those of `finetune`, which saw no passage in training; passages stand before the
    question in use alone, and how far its answers are trusted is learned so: does retrieval help weights that know the task?
    """

    passages: int = 2
    mode: Literal["auto", "lexical", "dense", "fused"] = "auto"
    words: int = 0
    method: Literal["lora", "full"] = "lora"
    model: str = "causal"
    epochs: int = 2
    longest: int = 1280
    trained: Literal["passages", "bare"] = "passages"
    rerank: Literal["auto", "no", "yes"] = "auto"
    needs: ClassVar[tuple[str, ...]] = ("causal", "documents")
    helped_by: ClassVar[tuple[str, ...]] = ("embedder",)
    trains: ClassVar[bool] = True
    searches: ClassVar[bool] = False
    reads_instruction: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    @property
    def continues(self) -> bool:
        """Tell whether a fit on all rows goes on from one on a part of them."""
        return self.method == "lora"

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> LookedUp:
        lookup = make_lookup(task, train, Wanted(self.passages, self.mode, self.words, self.rerank), kit)
        if self.trained == "passages":
            return fit_over(self._inner(), lookup, train, dev, kit)
        if hasattr(kit.models[self.model], "tune"):
            raise NotApplicable(
                f"The model {self.model!r} is fine-tuned behind an endpoint; with `trained: bare`, weights here are needed.",
                "Leave `model` or `trained` out.",
            )
        bare = self._inner().fit(task, train, dev, kit)
        reading = replace(bare.inner, task=lookup.widened)
        return LookedUp(replace(bare, inner=confident(reading, lookup.examples(dev, own=False), kit.seed)), lookup)

    def load(self, task: Task, folder: Path, kit: Kit) -> LookedUp:
        return load_over(self._inner(), task, folder, kit)

    def _inner(self) -> Any:
        """Return fine-tuning; taken from the registry, as one strategy imports no other."""
        return get("strategy", "finetune")(
            method=self.method, model=self.model, epochs=self.epochs, longest=self.longest
        )
