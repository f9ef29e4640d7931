"""The instruction, rewritten by a model that reads its own mistakes: GEPA (Agrawal et al. 2025), spending by our ledger."""

# gepa keeps its state in a pickle when it is given a folder, so it is given none: every call of an endpoint is found again in
# the ledger by its content, and the same seed replays a killed search up to where it was.

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from whichway.core.model import Request, Scorer, Spend
from whichway.core.strategy import Edit, Kit, Progress
from whichway.core.task import Example, Prediction, Task
from whichway.errors import BudgetReached, ProviderError, WhichwayError
from whichway.registry import register
from whichway.strategies.parts.answering import LikelihoodReader
from whichway.strategies.parts.features import described
from whichway.strategies.parts.prompted import PromptSolution, draft_prompt
from whichway.strategies.parts.racing import Paid, Race, Runner, answered, gaps, row_values
from whichway.strategies.parts.recipe import Pantry
from whichway.strategies.parts.search import Search
from whichway.strategies.parts.searched import SearchedPrompt, clock, load_searched, race_home, ready, rows_to_score
from whichway.strategies.parts.versions import length_of
from whichway.strategies.parts.writing import WrittenSolution

PART = "instruction"
MINIBATCH = 4  # rows whose answers are reflected on at a time
LONGEST = 1024  # tokens of a reflection
HEAT = 1.0
LONGEST_SHOWN = 1500  # characters of a row in a reflection


@register("strategy", "reflect")
@dataclass(frozen=True)
class Reflect:
    """Lets `reflector`, a model able to reflect, rewrite the instruction from answers and their mistakes, for `calls` answers.

    `model` answers; without a `reflector` it reflects on itself. It begins at the best of the diverse prompts of the
    headroom gate, reads rows to learn from alone, and is compared with the few-shot prompt as its seed.
    """

    model: str = "causal"
    reflector: str = ""
    calls: int = 400
    rows: int = 0
    gate: bool = True
    minutes: float = 0.0
    needs: ClassVar[tuple[str, ...]] = ("causal", "embedder")
    trains: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")

    def lacks(self, task: Task) -> str:
        """Return what is missing before anything is spent."""
        able = self.reflector or self.model != "causal"
        return (
            "" if able else "needs a model able to reflect: name an endpoint in strategies.settings.reflect.reflector"
        )

    def asks(self) -> dict[str, bool]:
        """Return the endpoint that reflects, where another model answers: it is not to fine-tune."""
        return {self.reflector: False} if self.reflector not in ("", "causal") else {}

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> SearchedPrompt:
        import gepa

        model, used = kit.models[self.model], clock(kit, self.minutes)
        scored, pool = rows_to_score(task, model, train, dev, self.rows, kit.seed)
        pantry = Pantry(task, model, pool, kit.embedder, kit.seed)
        race = Race(task, scored, race_home(kit, self, task, scored, pool))
        search = Search(pantry, race, kit, used, way="reflect")
        room = search.screen(self.gate)
        recipe = search.recipes[search.best.id]
        adapter = _Adapter(pantry, pantry.draft(recipe), search.best.reader, kit, search.best.id)
        first = "\n\n".join(one for one in (task.instruction.strip(), task.context.strip()) if one)
        found: Any = gepa.optimize(
            seed_candidate={PART: first},
            trainset=list(pool),
            valset=list(scored),
            adapter=adapter,
            reflection_lm=adapter.careful(_Reflector(kit.models[self.reflector or self.model])),
            reflection_minibatch_size=min(MINIBATCH, len(pool)),
            max_metric_calls=self.calls,
            stop_callbacks=lambda _: used() > 1 or bool(adapter.troubles),
            logger=_Silent(),
            display_progress_bar=False,
            seed=kit.seed,
            perfect_score=task.metric.bounds[1],
        )
        if (
            adapter.troubles
        ):  # gepa goes on after an error: a budget that is used up, or an endpoint that is down, ends it
            raise adapter.troubles[0]
        best = adapter.draft_of(found.best_candidate[PART])
        layout = adapter.layout_edits(search, found.best_candidate[PART], used)
        edits = (*layout, *self._edits(found, first, len(scored)))
        seed = ready(pantry.draft(search.seed_recipe), pantry, race, train)
        facts: dict[str, Any] = {"scored": len(found.candidates), "reflections": adapter.reflections}
        facts["headroom"] = dict(zip(("value", "low", "high"), (round(one, 4) for one in room), strict=True))
        return SearchedPrompt(ready(best, pantry, race, train), seed, edits, facts)

    def load(self, task: Task, folder: Path, kit: Kit) -> SearchedPrompt:
        return load_searched(task, folder, kit.models[self.model], kit)

    def _edits(self, found: Any, first: str, rows: int) -> tuple[Edit, ...]:
        text, scores = found.best_candidate[PART], found.val_aggregate_scores
        if text == first:
            return ()
        return (Edit(PART, first, text, round(float(max(scores) - scores[0]), 4), rows),)


class _Adapter:
    """What gepa asks of us: answers of an instruction to rows, and what is told about them to the model that reflects."""

    propose_new_texts = None

    def __init__(
        self,
        pantry: Pantry,
        base: PromptSolution | WrittenSolution,
        reader: LikelihoodReader | None,
        kit: Kit,
        begun_at: str,
    ) -> None:
        self.pantry, self.base, self.reader, self.kit, self.reflections = pantry, base, reader, kit, 0
        self.troubles: list[Exception] = []
        self._spent: dict[str, Spend] = {}  # by instruction
        self._rows: dict[str, int] = {}  # that its recorded score rests on
        self._parents: dict[str, str] = {}
        self._reflected = begun_at  # the prompt that the next new instruction is made from

    def careful(self, function: Any) -> Any:
        """Return a function whose errors are kept, as gepa swallows them."""

        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except WhichwayError as error:
                self.troubles.append(error)
                raise

        return call

    def draft_of(
        self, instruction: str, layout: PromptSolution | WrittenSolution | None = None
    ) -> PromptSolution | WrittenSolution:
        """Return the prompt with another instruction in place of the task's instruction and context; or so in another layout."""
        base, pantry = layout or self.base, self.pantry
        form = replace(base.form, said=instruction, context=False)
        examples = base.near if base.near is not None else base.shown
        return draft_prompt(pantry.task, pantry.model, form, examples, base.shots, pantry.rows)

    def layout_edits(self, search: Search, instruction: str, used: Callable[[], float]) -> tuple[Edit, ...]:
        """Return what the screening changed beside the instruction, each taken back by itself under the one that was found.

        Where time or money end meanwhile, what is left of them is told without what it bought.
        """
        recipe = search.recipes[search.best.id]
        names, edits = recipe.differing(search.seed_recipe), list(search.edits_of(recipe))
        try:
            whole = self._raced(search, self.draft_of(instruction), used, "")
            for at, name in enumerate(names):
                layout = self.pantry.draft(recipe.with_from(search.seed_recipe, name))
                without = self.draft_of(instruction, layout)
                if without.version().id == whole.id:  # the context, say, which the instruction holds or leaves out
                    continue
                both = gaps(whole, self._raced(search, without, used, f"{edits[at].what} taken back", whole.id))
                if both:
                    edits[at] = replace(edits[at], bought=round(sum(both) / len(both), 4), rows=len(both))
        except BudgetReached:
            pass  # the prompt is found
        return tuple(edits)

    def _raced(
        self,
        search: Search,
        draft: PromptSolution | WrittenSolution,
        used: Callable[[], float],
        change: str,
        parent: str = "",
    ) -> Runner:
        """Score a prompt on all rows of a search, and record it where it came of another one."""
        version = draft.version()
        runner = search.race.enter(version.id, draft)
        search.race.run(runner, None, lambda: used() > 1)
        if parent and runner.values:
            length = length_of(self.pantry.model, version.text)
            told = replace(version, parent=parent, change=change, score=round(runner.mean, 6), rows=len(runner.values))
            self.kit.record(replace(told, tokens=length, spend=runner.spend))
        return runner

    def evaluate(self, batch: list[Example], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """Answer rows under an instruction and score each of them."""
        from gepa.core.adapter import EvaluationBatch

        began, text = time.monotonic(), candidate[PART]
        draft = self.draft_of(text)
        paid = Paid(draft.model)
        asked = draft if isinstance(draft.model, Scorer) else replace(draft, model=paid)
        answers = self.careful(answered)(asked, batch, self.reader)
        scores = row_values(self.pantry.task, batch, answers)
        self._spent[text] = self._spent.get(text, Spend()) + replace(paid.spend, seconds=time.monotonic() - began)
        self._record(text, draft, scores)
        self.kit.progress(Progress(f"scored an instruction on {len(batch)} rows: {sum(scores) / len(scores):.3f}"))
        traces = list(zip(batch, answers, scores, strict=True)) if capture_traces else None
        return EvaluationBatch(outputs=answers, scores=scores, trajectories=traces)

    def _record(self, text: str, draft: PromptSolution | WrittenSolution, scores: Sequence[float]) -> None:
        """Keep an instruction when it is first scored, be it on a few rows, and again when it is on more."""
        if len(scores) <= self._rows.get(text, 0):
            return
        self._rows[text] = len(scores)
        version = draft.version()
        parent = self._parents.setdefault(text, self._reflected if self._reflected != version.id else "")
        change = (
            "" if not parent else "the instruction, rewritten" if self.reflections else "context in the instruction"
        )
        score, spend = round(sum(scores) / len(scores), 6), self._spent[text]
        length = length_of(self.pantry.model, version.text)
        self.kit.record(
            replace(version, parent=parent, change=change, score=score, rows=len(scores), tokens=length, spend=spend)
        )

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return rows, answers and what was wrong with them."""
        self.reflections += 1
        self._reflected = self.draft_of(candidate[PART]).version().id
        task = self.pantry.task
        rows = [
            {
                "Inputs": described(task, row.inputs)[:LONGEST_SHOWN],
                "Generated Outputs": task.output.write(answer.value) if answer.parsed else "(no answer could be read)",
                "Feedback": _feedback(task, row, answer, score),
            }
            for row, answer, score in eval_batch.trajectories or ()
        ]
        return {one: rows for one in components_to_update}


def _feedback(task: Task, row: Example, answer: Prediction, score: float) -> str:
    right = task.output.write(row.target)
    if answer.parsed and answer.value == row.target:
        return "This is right."
    return f"The right answer is: {right[:LONGEST_SHOWN]}\n{task.metric.name} of the answer: {score:.2f}"


class _Reflector:
    """A model as gepa asks it: a text in, a text out. Each question is another draw."""

    def __init__(self, model: Any) -> None:
        self.model, self.count = model, 0

    def __call__(self, prompt: Any) -> str:
        self.count += 1
        messages: Any = (
            tuple((one["role"], one["content"]) for one in prompt)
            if isinstance(prompt, list)
            else (("user", str(prompt)),)
        )
        (reply,) = self.model.generate([Request(messages, LONGEST, HEAT, draw=self.count)])
        if reply.finish == "failed":
            fix = "Look at the endpoint, then run the same command again."
            raise ProviderError(f"{self.model.name}: {reply.problem}", fix)
        return str(reply.text)


class _Silent:
    """gepa's log, which goes nowhere: what it did is in the ledger."""

    def log(self, message: str, *_: Any, **__: Any) -> None:
        return
