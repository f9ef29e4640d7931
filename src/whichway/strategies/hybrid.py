"""Both at once: search for a prompt, train the weights under it, search again; a step that does not help is left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.output import Labels
from whichway.core.strategy import RESUME, Edit, Kit, Progress, Solution, Step
from whichway.core.task import Example, Task
from whichway.errors import BudgetReached, NotApplicable
from whichway.registry import register
from whichway.strategies.parts.climbed import AGAIN, PROMPT, SEED, WEIGHTS, Climbed, load_climbed
from whichway.strategies.parts.prompted import PromptSolution
from whichway.strategies.parts.racing import Race, Runner, gaps
from whichway.strategies.parts.recipe import Pantry, Recipe
from whichway.strategies.parts.scored import scored_prompts
from whichway.strategies.parts.search import Search
from whichway.strategies.parts.searched import LABEL_ROWS, WRITTEN_ROWS, clock, ready, rows_to_score
from whichway.strategies.parts.store import apart, load_json, save_json
from whichway.strategies.parts.tuned import tune
from whichway.strategies.parts.writing import WrittenSolution

LEAST_JUDGED = 32  # rows that weights do not learn from, by which they and the second search are judged
FIRST, TRAINING, SECOND = 0.2, 0.6, 0.3  # shares of the time that is left, at most
REFERENCES = 3  # further right answers of a row that are trained on, of text


@register("strategy", "hybrid")
@dataclass(frozen=True)
class Hybrid:
    """Prompt, weights, prompt (BetterTogether, Soylu et al. 2024): each step goes on from the one before.

    Each search scores up to `prompts` prompts, as `optimise` does. Weights are trained under the prompt that was found, with
    as few of its examples as needed that it puts at most `around` tokens around a row. Weights and the second search are
    judged on rows that the weights did not learn from; what is not ahead there is left out, and the report says so.
    """

    prompts: int = 12  # of each search
    rows: int = 0
    minutes: float = 0.0  # of each search; 0: up to 20 and 30 % of the time that is left
    around: int = 160
    method: Literal["lora", "full"] = "lora"
    model: str = "causal"
    epochs: int = 2
    rank: int = 16
    rate: float = 0.0
    batch: int = 8
    longest: int = 768
    needs: ClassVar[tuple[str, ...]] = ("causal", "embedder")
    trains: ClassVar[bool] = True
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> Climbed:
        model = kit.models[self.model]
        if not hasattr(model, "train"):
            raise NotApplicable(f"The model {self.model!r} cannot be trained here.", "Use a local causal model.")
        return _Climb(self, task, train, dev, kit).climb()

    def load(self, task: Task, folder: Path, kit: Kit) -> Climbed:
        return load_climbed(task, folder, kit.models[self.model], kit)


@dataclass(frozen=True)
class _Found:
    """What a step found: a prompt as a recipe, its changes, and what is said of it; `is_kept` where it helped."""

    recipe: Recipe
    said: str
    is_kept: bool
    edits: tuple[Edit, ...] = ()
    tokens: int = 0


class _Climb:
    """One way up. What a step found is kept in the folder that a killed fit finds again, so that no step is done twice."""

    def __init__(self, way: Hybrid, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> None:
        self.way, self.task, self.train, self.kit = way, task, train, kit
        self.base: Any = kit.models[way.model]
        self.home = apart(kit.folder / RESUME, asdict(way), task.instruction, task.context, kit.seed)
        scored, pool = rows_to_score(task, self.base, train, dev, way.rows, kit.seed)
        self.pantry = Pantry(task, self.base, pool, kit.embedder, kit.seed)
        self.race = Race(task, scored, self.home / "first", scored_prompts(kit, task, self.base, scored, pool))
        usual = LABEL_ROWS if isinstance(task.output, Labels) else WRITTEN_ROWS
        held = max(LEAST_JUDGED, min(usual, len(dev)))
        self.judged, self.learned = rows_to_score(task, self.base, train, dev, held, kit.seed)
        self._of_tuned: tuple[Pantry, Race] | None = None

    def climb(self) -> Climbed:
        """Go up step by step."""
        start = self.pantry.seed_recipe().canonical()
        self.race.recall()  # where this fit goes on behind a search that has ended
        first = self._once(PROMPT, self._search)
        below = self._ready(start, self.pantry, self.race)  # after the search, which has asked the seed
        steps = [Step(SEED, f"the few-shot prompt with {start.shots} examples", below)]
        if first.is_kept:
            below = self._ready(first.recipe, self.pantry, self.race)
        steps.append(_as_step(PROMPT, first, below))
        second = self._once(WEIGHTS, lambda: self._train(first.recipe))
        if not second.is_kept:
            return Climbed((*steps, _as_step(WEIGHTS, second, below)), below, None, second.tokens)
        tuned, race = self._tuned()
        third = self._once(AGAIN, lambda: self._search_again(second.recipe, tuned, race))
        best = self._ready(second.recipe, tuned, race)
        steps.append(_as_step(WEIGHTS, second, best))
        if third.is_kept:
            best = self._ready(third.recipe, tuned, race)
        steps.append(_as_step(AGAIN, third, best))
        return Climbed(tuple(steps), best, self._weights, second.tokens)

    def _once(self, name: str, work: Callable[[], _Found]) -> _Found:
        """Return what a step found, from the folder where it was done before."""
        file = self.home / f"{name}.json"
        if file.exists():
            kept = load_json(file)
            edits = tuple(Edit(**one) for one in kept["edits"])
            return _Found(Recipe(**kept["recipe"]), kept["said"], kept["is_kept"], edits, kept["tokens"])
        found = work()
        scratch = file.with_suffix(".partial")
        save_json(scratch, asdict(found))
        scratch.replace(file)
        return found

    def _search(self) -> _Found:
        return self._searched(Search(self.pantry, self.race, self.kit, clock(self.kit, self.way.minutes, FIRST)))

    def _search_again(self, start: Recipe, tuned: Pantry, race: Race) -> _Found:
        """Search around the prompt that the weights were trained under, which was scored when they were judged."""
        draft = tuned.draft(start)
        race.run(race.enter(draft.version().id, draft), None)
        said = replace(self.kit, record=lambda one: self.kit.record(replace(one, change=f"tuned: {one.change}")))
        return self._searched(Search(tuned, race, said, clock(self.kit, self.way.minutes, SECOND), start))

    def _searched(self, search: Search) -> _Found:
        try:
            found = search.run(self.way.prompts, gate=True)
        except NotApplicable as no:
            return _Found(search.seed_recipe, no.problem, False)
        said = f"{found.scored} prompts scored on up to {len(search.race.rows)} rows to learn from"
        if found.best == found.seed:
            return _Found(found.seed, f"{said}; none was ahead", False)
        return _Found(found.best, f"{said}, {_ahead(search.best, search.seed)[1]}", True, found.edits)

    def _train(self, found: Recipe) -> _Found:
        """Train under the prompt that was found; the weights are kept where they are ahead of it on rows they have not seen."""
        recipe = self.pantry.lighter(found, self.way.around)
        left = TRAINING * self.kit.budget.remaining_s()
        budget = replace(self.kit.budget, deadline=min(self.kit.budget.deadline, time.monotonic() + left))
        inner = replace(self.kit, folder=self.home / "training", budget=budget)
        try:
            tokens = tune(self.pantry.draft(recipe), self.learned, self.judged, self._settings(), inner, REFERENCES)
        except BudgetReached:
            if self.kit.budget.remaining_s() <= 0:
                raise
            return _Found(found, f"training did not end in {left:.0f} s, its share of the time", False)
        tuned, race = self._tuned()
        before = Race(self.task, self.judged, self.home / "before")
        rival, one = (
            there.enter(draft.version().id, draft)
            for there, draft in ((before, self.pantry.draft(found)), (race, tuned.draft(recipe)))
        )
        for there, what in ((before, "the prompt on the same rows"), (race, "the weights on rows they have not seen")):
            there.hear = self._telling(what)
        before.take(rival, self.race)
        before.run(rival, None)
        race.run(one, None)
        gain, ahead = _ahead(one, rival)
        shown = f"{recipe.shots} of its {found.shots} examples" if recipe.shots < found.shots else "all of it"
        said = f"trained on {len(self.learned)} rows under the prompt before, with {shown}; on other rows {ahead}"
        return _Found(recipe, said, gain > 0, (), tokens)

    def _telling(self, what: str) -> Callable[[Runner], None]:
        return lambda one: self.kit.progress(Progress(what, len(one.values), len(self.judged)))

    def _tuned(self) -> tuple[Pantry, Race]:
        """Return what prompts on the trained weights are made with and scored on."""
        if self._of_tuned is None:
            tuned = self.pantry.over(self.base.adapted(self._weights))
            self._of_tuned = tuned, Race(self.task, self.judged, self.home / "second")
        return self._of_tuned

    @property
    def _weights(self) -> Path:
        return self.home / "training" / "weights"

    def _ready(self, recipe: Recipe, pantry: Pantry, race: Race) -> PromptSolution | WrittenSolution:
        return ready(pantry.draft(recipe), pantry, race, self.train)

    def _settings(self) -> dict[str, Any]:
        way = self.way
        said = {"method": way.method, "epochs": way.epochs, "rank": way.rank, "alpha": 2 * way.rank}
        said |= {"batch": way.batch, "longest": way.longest}
        return said | ({"rate": way.rate} if way.rate else {})


def _as_step(name: str, step: _Found, solution: Solution) -> Step:
    return Step(name, step.said, solution if step.is_kept else None, step.edits)


def _ahead(one: Runner, other: Runner) -> tuple[float, str]:
    """Return how far one is ahead on the rows both have answered, and the same in words."""
    found = gaps(one, other)
    mean = sum(found) / len(found)
    return mean, f"{'ahead' if mean > 0 else 'behind'} by {abs(mean):.3f} (n = {len(found)})"
