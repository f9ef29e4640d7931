"""Both at once: fine-tuned on prompts that carry retrieved examples, and prompted the same way in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit, Solution
from whichway.core.task import Example, Task
from whichway.registry import get, register


@register("strategy", "hybrid")
@dataclass(frozen=True)
class Hybrid:
    """Fine-tuning under prompts with the `shown` nearest train examples (retrieval-augmented tuning, as in RA-DIT, 2023)."""

    shown: int = 2
    epochs: int = 1
    method: Literal["lora", "full"] = "lora"
    model: str = "causal"
    longest: int = 768
    needs: ClassVar[tuple[str, ...]] = ("causal", "embedder")
    trains: ClassVar[bool] = True
    reads_instruction: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> Solution:
        solution: Solution = self._inner().fit(task, train, dev, kit)
        return solution

    def load(self, task: Task, folder: Path, kit: Kit) -> Solution:
        solution: Solution = self._inner().load(task, folder, kit)
        return solution

    def _inner(self) -> Any:
        """Return fine-tuning with retrieved examples; taken from the registry, as one strategy imports no other."""
        return get("strategy", "finetune")(
            method=self.method, model=self.model, epochs=self.epochs, shown=self.shown, longest=self.longest
        )
