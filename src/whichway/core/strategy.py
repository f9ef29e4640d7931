"""A way to customise a model: its recipe, what it may touch, and what it produces."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from whichway.core.model import Embedder
from whichway.core.task import Document, Example, Inputs, Prediction, Task


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is: `done` of `total` units, in words."""

    what: str
    done: float = 0
    total: float = 0


@dataclass(frozen=True)
class Budget:
    """What may still be used: `deadline` is a moment of time.monotonic(), `usd` an amount of money."""

    deadline: float = float("inf")
    usd: float = float("inf")

    def remaining_s(self) -> float:
        """Seconds left until the deadline, never negative."""
        return max(0.0, self.deadline - time.monotonic())


def _silent(_: Progress) -> None:
    """Report progress to nobody."""


RESUME = "resume"


@dataclass(frozen=True)
class Kit:
    """Everything a strategy may touch; nothing is global. `folder` is its own and may be written.

    It is empty but for `folder / RESUME`, where a fit that was killed finds what it had put there to go on from.
    """

    models: Mapping[str, Any]
    embedder: Embedder | None
    folder: Path
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    progress: Callable[[Progress], None] = _silent


class Solution(Protocol):
    """What a strategy produced: it predicts, is measured, saved, served."""

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        """Answer each row, in order."""

    def save(self, folder: Path) -> None:
        """Write all that `Strategy.load` needs, in open formats, never pickle."""


@runtime_checkable
class Rewritable(Protocol):
    """A solution with a prompt, of which meaning-preserving rewrites can be measured."""

    def rewritten(self, variant: int) -> Solution:
        """Return this solution under the prompt's rewrite number `variant` (0 is the prompt itself)."""


@runtime_checkable
class Retrieving(Protocol):
    """A solution that looks documents up; how well it finds them is measured by itself."""

    def ranked(self, inputs: Sequence[Inputs]) -> list[list[str]]:
        """Return document ids per row, the best first."""


@runtime_checkable
class Updatable(Protocol):
    """A solution that can go on with other documents, without being fitted again."""

    def with_documents(self, documents: Sequence[Document]) -> Solution:
        """Return this solution over these documents; only texts that it does not know are embedded."""


class Strategy(Protocol):
    """A way: a frozen dataclass of settings; `fit` turns it into a solution.

    Class attributes, none of them settings: `needs` names what must be there ('causal', 'embedder', 'documents');
    `trains` says whether weights of a model are adapted; `shapes` (optional, labels alone by default) which outputs it
    serves.
    """

    needs: tuple[str, ...]
    trains: bool

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> Solution:
        """Learn from train; dev (a slice of the same labels) serves early stopping and thresholds.

        Raises NotApplicable when the strategy cannot serve this task.
        """

    def load(self, task: Task, folder: Path, kit: Kit) -> Solution:
        """Restore what `Solution.save` wrote; it predicts the same."""
