"""The prompt, searched for: instruction, examples, format and spelling of answers, by TPE proposals that are raced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from whichway.core.strategy import Kit
from whichway.core.task import Example, Task
from whichway.registry import register
from whichway.strategies.parts.racing import Race
from whichway.strategies.parts.recipe import Pantry
from whichway.strategies.parts.scored import scored_prompts
from whichway.strategies.parts.search import Found, Search
from whichway.strategies.parts.searched import SearchedPrompt, clock, load_searched, race_home, ready, rows_to_score


@register("strategy", "optimise")
@dataclass(frozen=True)
class Optimise:
    """Searches among `prompts` prompts, starting at the few-shot prompt, on rows to learn from alone.

    Prompts are scored on dev and, where dev is small, on more of train; examples are shown from the rest. With `gate` it is
    not opened where eight diverse prompts show that there is nothing to gain (methods.md §2.3). Proposals are made by a
    tree-structured Parzen estimator (optuna) and raced in paired blocks with a length penalty (CAPO, AutoML 2025). `rows`
    0: 96 for labels, 48 where answers are written or paid for.
    """

    model: str = "causal"
    prompts: int = 30
    rows: int = 0
    gate: bool = True
    minutes: float = 0.0  # 0: up to 30 % of the time that is left
    needs: ClassVar[tuple[str, ...]] = ("causal", "embedder")
    trains: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> SearchedPrompt:
        model = kit.models[self.model]
        scored, pool = rows_to_score(task, model, train, dev, self.rows, kit.seed)
        pantry = Pantry(task, model, pool, kit.embedder, kit.seed)
        known = scored_prompts(kit, task, model, scored, pool)
        race = Race(task, scored, race_home(kit, self, task, scored, pool), known)
        search = Search(pantry, race, kit, clock(kit, self.minutes), way="optimise")
        found = search.run(self.prompts, self.gate)
        best, seed = (ready(pantry.draft(one), pantry, race, train) for one in (found.best, found.seed))
        return SearchedPrompt(best, seed, found.edits, _facts(found))

    def load(self, task: Task, folder: Path, kit: Kit) -> SearchedPrompt:
        return load_searched(task, folder, kit.models[self.model], kit)


def _facts(found: Found) -> dict[str, Any]:
    gain, low, high = (round(one, 4) for one in found.headroom)
    return {"scored": found.scored, "headroom": {"value": gain, "low": low, "high": high}}
