"""Retrieval-augmented generation: look passages up, put them before the question, then prompt (Lewis et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit
from whichway.core.task import Example, Task
from whichway.registry import get, register
from whichway.strategies.parts.lookup import LookedUp, Wanted, fit_over, load_over, make_lookup


@register("strategy", "rag")
@dataclass(frozen=True)
class Rag:
    """Puts the best `passages` of the task's documents before the question, and lets another strategy answer.

    `then` names it: 'prompt' (of this `form`), or 'classic' and 'probe', which learn from the passages, too. `mode` 'auto'
    chooses on train rows how passages are cut, found and reranked; `words` fixes their size, `rerank` whether
    what is found is put into a learned order. Without an embedder documents are
    found by words alone. `passages` 0 shows as few as find nearly all that five would find. The same prompt without
    passages is the control: is retrieval needed?
    """

    then: Literal["prompt", "classic", "probe"] = "prompt"
    form: Literal["zero", "few", "nearest"] = "zero"
    model: str = "causal"
    passages: int = 0
    mode: Literal["auto", "lexical", "dense", "fused"] = "auto"
    words: int = 0
    shots: int = 0
    rerank: Literal["auto", "no", "yes"] = "auto"
    needs: ClassVar[tuple[str, ...]] = ("causal", "documents")
    helped_by: ClassVar[tuple[str, ...]] = ("embedder",)
    trains: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> LookedUp:
        wanted = Wanted(self.passages, self.mode, self.words, self.rerank, learns=self.then != "prompt")
        lookup = make_lookup(task, train, wanted, kit)
        return fit_over(self._inner(), lookup, train, dev, kit)

    def load(self, task: Task, folder: Path, kit: Kit) -> LookedUp:
        return load_over(self._inner(), task, folder, kit)

    def _inner(self) -> Any:
        """Return what answers; taken from the registry, as one strategy imports no other."""
        if self.then != "prompt":
            return get("strategy", self.then)()
        return get("strategy", "prompt")(form=self.form, model=self.model, shots=self.shots)
