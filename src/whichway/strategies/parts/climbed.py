"""A solution reached in steps, each of which is kept, so that what it bought can be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.strategy import Edit, Kit, PromptVersion, Step, tersely
from whichway.core.task import Inputs, Prediction, Task
from whichway.strategies.parts.prompted import PromptSolution, load_prompt
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.tuned import copy_weights
from whichway.strategies.parts.writing import WrittenSolution

SEED, PROMPT, WEIGHTS, AGAIN = "seed", "prompt", "weights", "prompt again"
TUNED = (WEIGHTS, AGAIN)  # steps whose solution is asked with adapted weights
FILE = "steps.json"


@dataclass(frozen=True)
class Climbed:
    """The last step with a solution is in use: a prompt, on the base model or on `weights` (None: they were left out)."""

    path: tuple[Step, ...]
    best: PromptSolution | WrittenSolution
    weights: Path | None
    tokens: int = 0  # read while training

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.best.predict(inputs)

    def steps(self) -> Sequence[Step]:
        """Return the steps, the few-shot prompt first."""
        return self.path

    def version(self) -> PromptVersion:
        """Return the prompt in use."""
        return self.best.version()

    def rewritten(self, kind: str, number: int) -> Climbed | None:
        best = self.best.rewritten(kind, number)
        return replace(self, best=best) if best else None

    def terse(self) -> Climbed:
        return replace(self, best=tersely(self.best))

    def save(self, folder: Path) -> None:
        last = max(i for i, one in enumerate(self.path) if one.solution is not None)
        kept = []
        for number, one in enumerate(self.path):
            where = "." if number == last else f"steps/{number}" if one.solution is not None else ""
            if one.solution is not None:
                (folder / where).mkdir(parents=True, exist_ok=True)
                (self.best if number == last else one.solution).save(folder / where)
            edits = [asdict(edit) for edit in one.edits]
            kept.append({"name": one.name, "said": one.said, "edits": edits, "where": where})
        save_json(folder / FILE, kept)
        if self.weights is not None:
            copy_weights(self.weights, folder / "weights")


def load_climbed(task: Task, folder: Path, base: Any, kit: Kit) -> Climbed:
    """Read what `Climbed.save` wrote; `base` is the model that is not adapted."""
    weights = folder / "weights" if (folder / "weights").exists() else None
    tuned = base.adapted(weights) if weights else None
    steps: list[Step] = []
    for one in load_json(folder / FILE):
        model = tuned if one["name"] in TUNED else base
        solution = load_prompt(task, folder / one["where"], model, kit) if one["where"] else None
        steps.append(Step(one["name"], one["said"], solution, tuple(Edit(**edit) for edit in one["edits"])))
    best = next(one.solution for one in reversed(steps) if one.solution is not None)
    assert isinstance(best, (PromptSolution, WrittenSolution))
    return Climbed(tuple(steps), best, weights)
