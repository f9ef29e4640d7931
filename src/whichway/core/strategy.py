"""A way to customise a model: its recipe, what it may touch, and what it produces."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from whichway.core.model import Embedder, Spend
from whichway.core.task import Document, Example, Inputs, Prediction, Task


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is: `done` of `total` units, in words. News is shown whatever was shown a moment ago."""

    what: str
    done: float = 0
    total: float = 0
    is_news: bool = False


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


def _unheard(_: PromptVersion) -> None:
    """Keep a prompt nowhere."""


RESUME = "resume"
ONWARD = "onward"
PICKLED = frozenset(
    {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".npy", ".npz"}
)  # may hold code
# forms of a prompt that keep its meaning, by kind
REWRITES = {"paraphrase": 4, "format": 4, "wording": 2, "order": 2, "repeat": 2}


@dataclass(frozen=True)
class PromptVersion:
    """One prompt that was scored: its whole text, and the same as chat messages, with `{field}` in place of a row.

    `parent` is the id of the prompt it was made from, `change` says how; `score` is its mean over `rows` rows to learn from
    (None: not scored there), `tokens` its length, `spend` what scoring it cost.
    """

    text: str
    messages: tuple[tuple[str, str], ...]
    parent: str = ""
    change: str = ""
    score: float | None = None
    rows: int = 0
    tokens: int = 0
    spend: Spend = Spend()

    @property
    def id(self) -> str:
        """Twelve digits of the SHA-256 of its text: the same prompt has the same id in every run."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class Judge(Protocol):
    """Tells which of two texts is better."""

    def better(
        self, rows: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction]
    ) -> Sequence[Literal["a", "b", "tie"]]:
        """Return 'a' for a row where ours is better, asked in both orders; 'tie' where they do not agree."""


class Trainings(Protocol):
    """What takes long and has ended, found by what decides how it goes: the same weights are trained once, whichever way asks.

    And the same prompt is scored once on the same rows.
    """

    def weights(self) -> str:
        """Return what tells the weights of the models on this machine, and what they compute with, from others; '' if nothing."""

    def take(self, content: str, places: Mapping[str, Path]) -> Mapping[str, Any] | None:
        """Copy what was kept of a training into folders, by their names; return what was said of it, None where there is none.

        It is counted in the cost of the way that asks. With `look` it is not, until `book` says what of it is in use.
        """

    def look(self, content: str, places: Mapping[str, Path]) -> Mapping[str, Any] | None:
        """Do what `take` does, and count nothing; `way` and `run` tell whose it is ('': of this run)."""

    def book(self, content: str, about: Mapping[str, Any]) -> None:
        """Count `seconds` and `tokens` of what was found, and of which `way`, `run` and `kind`; instead of an earlier count."""

    def keep(self, content: str, places: Mapping[str, Path], said: Mapping[str, Any]) -> None:
        """Keep these folders of a training, and what is said of it: `seconds` and `tokens` that it took, and more."""


@dataclass(frozen=True)
class Kit:
    """Everything a strategy may touch; nothing is global. `folder` is its own and may be written.

    It is empty but for `folder / RESUME`, where a fit that was killed finds what it had put there to go on from. A strategy
    that scores prompts hands each of them to `record`. `judge` is there where the task names one.

    A strategy with `continues` is fitted on a part of its rows first. That fit has `is_step` and may leave in
    `folder / ONWARD` what a training needs to go on; the fit on all rows finds that folder as `begun`.
    `trainings` are those of other fits; what is taken from there counts as trained in the cost of the way that takes it.
    """

    models: Mapping[str, Any]
    embedder: Embedder | None
    folder: Path
    seed: int = 0
    budget: Budget = field(default_factory=Budget)
    progress: Callable[[Progress], None] = _silent
    record: Callable[[PromptVersion], None] = _unheard
    judge: Judge | None = None
    begun: Path | None = None
    is_step: bool = False
    trainings: Trainings | None = None


class Solution(Protocol):
    """What a strategy produced: it predicts, is measured, saved, served."""

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        """Answer each row, in order."""

    def save(self, folder: Path) -> None:
        """Write all that `Strategy.load` needs, in open formats, never pickle."""


@runtime_checkable
class Rewritable(Protocol):
    """A solution with a prompt, of which other forms that keep its meaning can be measured."""

    def rewritten(self, kind: str, number: int) -> Solution | None:
        """Return this solution under form `number` of a kind in REWRITES; None where there is no such form."""


@runtime_checkable
class Terse(Protocol):
    """A solution that can answer without knowing how sure it is, where that is cheaper."""

    def terse(self) -> Solution:
        """Return a solution that gives the same answers; their confidences and probabilities tell nothing."""


def tersely(solution: Any) -> Any:
    """Return a solution that need not know how sure it is, where it can do without."""
    return solution.terse() if isinstance(solution, Terse) else solution


@runtime_checkable
class Prompted(Protocol):
    """A solution with a prompt that can be kept, compared and exported."""

    def version(self) -> PromptVersion | None:
        """Return the prompt in use; None where what is inside it has none."""


@dataclass(frozen=True)
class Edit:
    """One change between a prompt and its seed; `bought` is what taking it back alone would lose on `rows` rows."""

    what: str
    before: str
    after: str
    bought: float
    rows: int


@runtime_checkable
class Improved(Protocol):
    """A solution found by a search that began at another one, its seed; both are measured on the same rows."""

    def seed(self) -> Solution:
        """Return what the search began with."""

    def edits(self) -> Sequence[Edit]:
        """Return what was changed and what each change bought."""


@dataclass(frozen=True)
class Step:
    """One step of a way that goes in steps: `said` tells what was done, or why it was left out (then `solution` is None)."""

    name: str
    said: str
    solution: Solution | None
    edits: tuple[Edit, ...] = ()


@runtime_checkable
class Staged(Protocol):
    """A solution reached in steps, so that what each of them bought can be measured on the same rows."""

    def steps(self) -> Sequence[Step]:
        """Return the steps in order; the first is what it began with, the last that has a solution is the one in use."""


@runtime_checkable
class Retrieving(Protocol):
    """A solution that looks documents up; how well it finds them is measured by itself."""

    def ranked(self, inputs: Sequence[Inputs]) -> list[list[str]]:
        """Return document ids per row, the best first."""


@runtime_checkable
class Choosing(Protocol):
    """A solution that chose on train rows how documents are cut and found."""

    def choices(self) -> Mapping[str, Any]:
        """Return plain data: `chosen` settings, and `tried` ones with their scores; {} where nothing is looked up."""


@runtime_checkable
class Distilling(Protocol):
    """A solution that learned from rows which people have not labelled."""

    def learned_from(self) -> Mapping[str, Any]:
        """Return plain data: how many `unlabelled` and `written` rows teachers answered, how many of both were `kept`, and of
        the written ones (`kept_written`); `not_written` says why none were written though some were wanted."""


@runtime_checkable
class Updatable(Protocol):
    """A solution that can go on with other documents, without being fitted again."""

    @property
    def documents(self) -> Sequence[Document]:
        """The documents that it answers from."""

    def with_documents(self, documents: Sequence[Document], kept: Path | None = None) -> Solution:
        """Return this solution over these documents; only texts that neither it nor what is `kept` knows are embedded."""

    def keep(self, folder: Path) -> None:
        """Write the index of its documents, as `kept` is read; nothing that was fitted."""


class Strategy(Protocol):
    """A way: a frozen dataclass of settings; `fit` turns it into a solution.

    Class attributes, none of them settings: `needs` names what must be there ('causal', 'embedder', 'documents');
    `trains` says whether weights of a model are adapted; `shapes` (optional, labels alone by default) which outputs it
    serves; `reads_instruction` (optional, true by default) whether answers depend on the task's instruction or context.
    `helped_by` (optional) names what of that it can do without, as a study then lets it.
    `continues` (optional, a truth value) says that a fit on all rows goes on from one on a part of them; see Kit.
    `searches` (optional, a truth value, true by default) says that what a fit finds depends on the budget and the limits.
    A method `lacks(task)` (optional) says what is missing for it before anything is spent, or nothing; `asks()` (optional)
    names endpoints that it asks beside its own model, and whether they are to fine-tune. One made of others (optional) names
    them by `within()`, as a study does, makes each by `made(name)`, and by `learner()` the one whose solution answers.
    """

    needs: tuple[str, ...]
    trains: bool

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> Solution:
        """Learn from train; dev (a slice of the same labels) serves early stopping and thresholds.

        Raises NotApplicable when the strategy cannot serve this task.
        """

    def load(self, task: Task, folder: Path, kit: Kit) -> Solution:
        """Restore what `Solution.save` wrote; it predicts the same."""
