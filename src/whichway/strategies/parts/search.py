"""The search for a better prompt: diverse ones first, then TPE proposals, raced; at the end each change is taken back once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from whichway.core.strategy import Edit, Kit, Progress, PromptVersion
from whichway.errors import NotApplicable
from whichway.strategies.parts.racing import BLOCK, Race, Runner, gaps, headroom
from whichway.strategies.parts.recipe import Pantry, Recipe
from whichway.strategies.parts.versions import length_of

LENGTH_PENALTY = 0.01  # of score, per doubling of a prompt's length (CAPO's length penalty)
MERGED = 4
WEIGHTY = ("pick", "shots", "listed", "spelling", "marks")  # changes that are taken back first, should time end
DIVERSE = 8  # prompts of the headroom gate, the seed among them
LEAST_DIVERSE = 3
SURE = 64  # rows that the gate looks at before it says that there is nothing to gain
SCREENING = 0.4  # share of the time after which no further one of them is begun
PROPOSING = 0.7  # share of the time after which no further prompt is tried: the rest is for taking changes back
TRIES = 4  # proposals per new prompt: the sampler may propose one that is known
SHRINK = 8.0  # rows of "no difference" that a prompt's gain is mixed with: few rows say little


@dataclass(frozen=True)
class Found:
    """What a search found: the best recipe, the seed, what each change bought, and how many prompts were scored."""

    best: Recipe
    seed: Recipe
    edits: tuple[Edit, ...]
    scored: int
    headroom: tuple[float, float, float]


class Search:
    """One search over recipes; every prompt that is scored is handed to `kit.record`.

    `used` tells which share of the time for it has been used. It begins at `start`, or at the few-shot prompt. `way` is the
    strategy that lets its user do without the gate.
    """

    def __init__(
        self,
        pantry: Pantry,
        race: Race,
        kit: Kit,
        used: Callable[[], float],
        start: Recipe | None = None,
        way: str = "",
    ) -> None:
        self.way = way
        self.pantry, self.race, self.kit, self.used = pantry, race, kit, used
        self.recipes: dict[str, Recipe] = {}
        self.lengths: dict[str, int] = {}
        self.seed_recipe = (start or pantry.seed_recipe()).canonical()
        self.seed = self._enter(self.seed_recipe)
        self.best = self.seed
        self.recorded: set[str] = set()
        self.screened: list[Runner] = []
        self.at = Progress("prompts")
        race.hear = self._tell_rows

    def run(self, prompts: int, gate: bool) -> Found:
        """Search among `prompts` prompts.

        Raises NotApplicable when `gate` is on and diverse prompts show that there is nothing to gain.
        """
        with self._recording():
            room = self.screen(gate, prompts)
            merged = self._merged(self.screened)
            for number, recipe in enumerate(merged):
                self._tell(number + 1, len(merged), "prompts of several changes")
                self._judge(self._enter(recipe))
            self._propose(prompts)
            edits = self._taken_back()
        return Found(self.recipes[self.best.id], self.seed_recipe, edits, len(self.race.runners), room)

    def screen(self, gate: bool, prompts: int = DIVERSE) -> tuple[float, float, float]:
        """Score the seed and diverse prompts on a block of rows; return what the best of them gains, with its 90 % interval."""
        with self._recording():
            self._tell(1, prompts)
            self.race.advance(self.seed, BLOCK)
            for number, recipe in enumerate(self.diverse()):
                if number >= LEAST_DIVERSE and self.used() > SCREENING:
                    break  # where a block takes long, fewer prompts have to do
                self._tell(number + 1, prompts)
                self.screened.append(self._enter(recipe))
                self.race.advance(self.screened[-1], BLOCK)
            room = headroom(self.seed, self.screened)
            if gate:
                room = self._refuse_without(room)
            self.race.run(self.seed, None, lambda: self.used() > SCREENING)
            self._record(self.seed, None)
            for number, one in enumerate(self.screened):
                self._tell(number + 1, len(self.screened), "prompts on more rows")
                self._judge(one)
        return room

    def _refuse_without(self, room: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return what there is to gain; raises NotApplicable where it is nothing: a block may all be right, so by more rows."""
        least = self.pantry.task.objective.smallest_difference
        rows, most = len(self.seed.values), min(SURE, len(self.race.rows))
        while room[2] < least and rows < most and self.used() <= SCREENING:
            rows += BLOCK
            for one in (self.seed, *self.screened):
                self.race.advance(one, rows)
            room = headroom(self.seed, self.screened)
        if room[2] < least:
            raise NotApplicable(
                f"No headroom: of {len(self.screened)} other prompts on {len(self.seed.values)} rows the best gains "
                f"{room[0]:+.3f} over the seed (90% interval {room[1]:+.3f} to {room[2]:+.3f}), less than the smallest "
                f"difference of interest, {least:g}."
                + (f" With strategies.settings.{self.way}.gate: false it searches all the same." if self.way else "")
            )
        return room

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Record and share what was scored of prompts under way, too, however it ends."""
        try:
            yield
        finally:
            for one in self.race.runners.values():
                if one.values and one.id in self.recipes and one.id not in self.recorded:
                    self._record(one, None if one is self.seed else self.seed)
            self.race.share()

    def diverse(self) -> list[Recipe]:
        """Return prompts that differ from the seed as far as this task allows, each in two or three settings."""
        choices, seed = self.pantry.choices(), self.seed_recipe
        most = max(choices["shots"])
        wanted = [
            {"shots": 0},
            {"pick": "nearest", "shots": min(8, most)},
            {"pick": "central"},
            {"shots": most, "order": "grouped"},
            {"listed": False},
            {"hints": True},
            {"marks": choices["marks"][-1]},
            {"wording": 2, "spelling": "title"},
            {"draw": 1},
            {"marks": 5, "context": False},
        ]
        found: list[Recipe] = []
        for one in wanted:
            possible = {name: value for name, value in one.items() if value in choices[name]}
            rule = choices["rule"][(len(found) + 1) % len(choices["rule"])]  # each of them once or twice
            made = replace(seed, **{"rule": rule, **possible}).canonical()
            if possible and made not in found:
                found.append(made)
        return found[: DIVERSE - 1]

    def _merged(self, diverse: Sequence[Runner]) -> list[Recipe]:
        """Return prompts that hold the changes of the best two, three and four of those that gain something at once."""
        better = sorted((one for one in diverse if self._gain(one) > 0), key=self._gain, reverse=True)
        found = []
        for count in range(2, min(MERGED, len(better)) + 1):
            made = self.seed_recipe
            for one in reversed(better[:count]):  # where two change the same setting, the better one has its way
                recipe = self.recipes[one.id]
                for name in recipe.differing(self.seed_recipe):
                    made = made.with_from(recipe, name)
            found.append(made)
        return found

    def _propose(self, prompts: int) -> None:
        """Ask the sampler for prompts until so many have been scored, or the time for it has ended."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                multivariate=True, n_startup_trials=DIVERSE + 2, seed=self.kit.seed, constant_liar=False
            )
            study = optuna.create_study(direction="maximize", sampler=sampler)
            space = {
                name: optuna.distributions.CategoricalDistribution(list(choices))
                for name, choices in self.pantry.choices().items()
            }
            for runner in list(self.race.runners.values()):
                settings = {name: getattr(self.recipes[runner.id], name) for name in space}
                if all(value in space[name].choices for name, value in settings.items()):
                    study.add_trial(
                        optuna.trial.create_trial(params=settings, distributions=space, value=self._gain(runner))
                    )
            for _ in range(TRIES * prompts):
                if len(self.race.runners) >= prompts or self.used() > PROPOSING:
                    break
                trial = study.ask(space)
                runner = self._enter(Recipe(**trial.params).canonical())
                if not runner.values:
                    self._tell(len(self.race.runners), prompts)
                    self._judge(runner)
                study.tell(trial, self._gain(runner))

    def _judge(self, one: Runner) -> None:
        """Race a prompt against the best one; it becomes the best when it is ahead on all rows."""
        known = one.id in self.recorded
        self.race.run(one, self.best, lambda: self.used() > PROPOSING)
        if not known:
            self._record(one, self.seed)
        if len(one.values) >= len(self.best.values) and not one.dropped and self._lead(one, self.best) > 0:
            self.best = one

    def _taken_back(self) -> tuple[Edit, ...]:
        """Take each change of the best prompt back by itself; one that bought nothing stays taken back."""
        found: list[Edit] = []
        changed = self.recipes[self.best.id].differing(self.seed_recipe)
        for name in sorted(changed, key=lambda one: WEIGHTY.index(one) if one in WEIGHTY else len(WEIGHTY)):
            best = self.recipes[self.best.id]
            if name not in best.differing(self.seed_recipe):
                continue  # taken back together with another one
            without = self._enter(best.with_from(self.seed_recipe, name))
            if without is self.best:
                continue
            if self.used() > 1 and not without.values:
                found.append(self._edit(best, name, []))
                continue
            self._tell(len(self.race.runners), len(self.race.runners))
            self.race.run(without, None, lambda: self.used() > 1)
            self._record(without, self.best)
            if self._lead(without, self.best) >= 0:
                self.best = without
                continue
            found.append(self._edit(best, name, gaps(self.best, without)))
        return tuple(found)

    def edits_of(self, recipe: Recipe) -> tuple[Edit, ...]:
        """Return what a scored prompt changes of the seed; only where that is one thing, its gain is known."""
        one = self._enter(recipe)
        changed = recipe.differing(self.seed_recipe)
        return tuple(self._edit(recipe, name, gaps(one, self.seed) if len(changed) == 1 else []) for name in changed)

    def _edit(self, best: Recipe, name: str, both: Sequence[float]) -> Edit:
        """Return a change in words, with what taking it back lost; on no rows where there was no time for that."""
        said, after = self.pantry.said(best, name)
        _, before = self.pantry.said(self.seed_recipe, name)
        return Edit(said, before, after, round(sum(both) / max(1, len(both)), 4), len(both))

    def _enter(self, recipe: Recipe) -> Runner:
        draft = self.pantry.draft(recipe)
        version = draft.version()
        runner = self.race.enter(version.id, draft)
        self.recipes.setdefault(version.id, recipe)
        self.lengths.setdefault(version.id, len(version.text))
        return runner

    def _lead(self, one: Runner, other: Runner) -> float:
        """Return how far one is ahead on the rows that both have answered, less what its greater length has to earn."""
        found = gaps(one, other)
        longer = math.log2(max(1, self.lengths[one.id]) / max(1, self.lengths[other.id]))
        return sum(found) / len(found) - LENGTH_PENALTY * longer if found else -math.inf

    def _gain(self, one: Runner) -> float:
        """Return the gain over the seed on the same rows, drawn towards none where rows are few."""
        found = gaps(one, self.seed)
        return sum(found) / (len(found) + SHRINK) if found else 0.0

    def _record(self, one: Runner, parent: Runner | None) -> None:
        self.recorded.add(one.id)
        recipe, version = self.recipes[one.id], one.draft.version()
        against = self.recipes[parent.id] if parent else recipe
        said = [" ".join(self.pantry.said(recipe, name)) for name in recipe.differing(against)]
        self.kit.record(
            PromptVersion(
                version.text,
                version.messages,
                parent.id if parent else "",
                "; ".join(said),
                round(one.mean, 6),
                len(one.values),
                length_of(one.draft.model, version.text),
                replace(one.spend, seconds=round(one.spend.seconds, 3)),
            )
        )

    def _tell(self, done: int, all_: int, what: str = "prompts") -> None:
        self.at = Progress(f"{what} (best {self.best.mean:.3f})", done, max(done, all_))
        self.kit.progress(self.at)

    def _tell_rows(self, one: Runner) -> None:
        """Tell how far a prompt is: long ones take long over a block of rows."""
        if one.values:
            self.kit.progress(replace(self.at, what=f"{self.at.what}, row {len(one.values)} of {len(self.race.rows)}"))
