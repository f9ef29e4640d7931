"""A prompt that was searched for, beside its seed; and what every search needs: rows to score on, a clock, a fitted end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.output import Labels
from whichway.core.strategy import RESUME, Edit, Kit, Progress, PromptVersion, tersely
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable
from whichway.strategies.parts.neighbours import index_examples
from whichway.strategies.parts.prompted import PromptSolution, fitted_prompt, load_prompt
from whichway.strategies.parts.racing import Race
from whichway.strategies.parts.recipe import Pantry
from whichway.strategies.parts.store import apart, load_json, save_json
from whichway.strategies.parts.writing import WrittenSolution

LABEL_ROWS, WRITTEN_ROWS, PAID_ROWS = 96, 48, 48  # rows that prompts are scored on
LEAST_ROWS = 16
MOST_OF_TRAIN = 0.5  # the others are there to be shown
TIME_SHARE = 0.3  # of the time that is left, at most


@dataclass(frozen=True)
class SearchedPrompt:
    """The best prompt of a search, and its seed, so that what the search bought can be measured."""

    best: PromptSolution | WrittenSolution
    before: PromptSolution | WrittenSolution
    changes: tuple[Edit, ...]
    facts: dict[str, Any]

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.best.predict(inputs)

    def rewritten(self, kind: str, number: int) -> SearchedPrompt | None:
        best = self.best.rewritten(kind, number)
        return replace(self, best=best) if best else None

    def terse(self) -> SearchedPrompt:
        return replace(self, best=tersely(self.best))

    def version(self) -> PromptVersion:
        """Return the prompt in use."""
        return self.best.version()

    def seed(self) -> PromptSolution | WrittenSolution:
        """Return the prompt that the search began with."""
        return self.before

    def edits(self) -> Sequence[Edit]:
        """Return what was changed and what each change bought."""
        return self.changes

    def save(self, folder: Path) -> None:
        self.best.save(folder)
        (folder / "seed").mkdir(parents=True, exist_ok=True)
        self.before.save(folder / "seed")
        save_json(folder / "search.json", {"edits": [asdict(one) for one in self.changes], "facts": self.facts})


def load_searched(task: Task, folder: Path, model: Any, kit: Kit) -> SearchedPrompt:
    """Read what `SearchedPrompt.save` wrote."""
    kept = load_json(folder / "search.json")
    best, seed = (load_prompt(task, where, model, kit) for where in (folder, folder / "seed"))
    return SearchedPrompt(best, seed, tuple(Edit(**one) for one in kept["edits"]), kept["facts"])


def rows_to_score(
    task: Task, model: Any, train: Sequence[Example], dev: Sequence[Example], wanted: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Return the rows to score prompts on, in a fixed random order, and those that may be shown as examples.

    The first are those of dev and, where it is small, more of train; `wanted` 0 stands for the usual number. Raises
    NotApplicable where there are too few.
    """
    usual = LABEL_ROWS if isinstance(task.output, Labels) else WRITTEN_ROWS
    wanted = wanted or (usual if model.is_local else min(usual, PAID_ROWS))
    rest, own = list(train), list(dev)
    random.Random(f"search {seed}").shuffle(rest)
    more = max(0, min(wanted - len(own), int(MOST_OF_TRAIN * len(rest))))
    scored, pool = [*own, *rest[:more]], rest[more:]
    if len(scored) < LEAST_ROWS or not pool:
        raise NotApplicable(
            f"{len(scored)} labelled rows to score prompts on; a search needs {LEAST_ROWS}.", "Label more rows."
        )
    random.Random(f"order {seed}").shuffle(scored)
    return scored[:wanted], pool


def race_home(kit: Kit, way: Any, task: Task, scored: Sequence[Example], pool: Sequence[Example]) -> Path:
    """Return where a killed search finds what it had scored: nothing that was scored under anything else.

    Settings, words of the task, model, seed, rows and their answers all count; what lies there of others is said to be passed
    over.
    """
    rows = [[row.id, row.target] for row in (*scored, *pool)]
    words = [task.instruction, task.context, task.output.ask(), task.metric.name]
    home = apart(kit.folder / RESUME, asdict(way), words, kit.models[way.model].name, kit.seed, len(scored), rows)
    if home.parent.is_dir() and not home.is_dir() and any(home.parent.iterdir()):
        kit.progress(Progress("an earlier search had other settings: begun anew"))
    return home


def clock(kit: Kit, minutes: float, share: float = TIME_SHARE) -> Callable[[], float]:
    """Return a function that tells how much of a search's time has been used: `minutes`, or a share of what is left."""
    began, most = time.monotonic(), 60 * minutes or share * kit.budget.remaining_s()
    return lambda: (time.monotonic() - began) / max(1e-9, most)


def ready(
    draft: PromptSolution | WrittenSolution, pantry: Pantry, race: Race, train: Sequence[Example]
) -> PromptSolution | WrittenSolution:
    """Return a prompt ready for use; where examples are looked up, it may look at all of train.

    What the race has asked about all of its rows is not asked again, though it found its examples among fewer rows.
    """
    known = race.finished(draft)
    if draft.near is not None and pantry.near is not None:
        draft = replace(draft, near=index_examples(pantry.task, train, pantry.near.embedder))
    if isinstance(draft, PromptSolution) and known and known.table:
        return replace(draft, reader=known.reader)
    return fitted_prompt(draft, race.rows, enough=len(race.rows))
