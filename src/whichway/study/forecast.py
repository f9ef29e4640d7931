"""What endpoints will cost: every strategy is rehearsed with its own prompts on the study's rows, and nothing is sent."""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whichway.core.strategy import REWRITES, Budget, Improved, Kit, Rewritable
from whichway.core.task import Example, Prediction, Task
from whichway.errors import NotApplicable
from whichway.metrics import judge as judging
from whichway.models.endpoint_probe import CALLS as PROBED
from whichway.models.rehearsal import Bill, Rehearsal
from whichway.strategies.parts.features import described
from whichway.strategies.parts.preferring import HELD_SHARE
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.parts.searched import PAID_ROWS as SCORED_ROWS
from whichway.strategies.parts.searched import TIME_SHARE
from whichway.study.lines import Line, asked_endpoints
from whichway.study.measuring import PAID_ROWS
from whichway.study.split import Split

REHEARSED = ("prompt", "rag", "optimise", "reflect", "finetune", "distill")
MOST_ROWS = 100  # rows of a part that are rehearsed; of more, the cost of the others is taken from theirs
LOOKED_THROUGH = 400  # documents up to which a retrieval is chosen as in the study, and not by words alone
READ_THROUGH = 100_000  # words of them: some seconds of the encoder's, which the study then finds done
SEARCH_S = 20.0  # a rehearsed search ends by then: it is an estimate, and a plan should not keep one waiting
FURTHER_PROMPTS = 22  # a search scores beside those it is asked for: diverse ones, merged ones, changes taken back
TAKEN_BACK = (
    4  # prompts by which a reflection learns what each change of layout bought: the whole one, and one for each
)
SURE = 1.25  # by how much calls may be dearer than rehearsed: tokenizers differ
WIDTH = 256  # of a stand-in's vectors
FINALISTS = 2.5  # the two best are always certified, a third one where it may be as good
# What practice expects in front, for the finalists' test; expectation, and the study is what decides.
STRENGTH = {"majority": 0, "prompt-zero": 1, "optimise": 5, "reflect": 5, "finetune": 5, "rag": 4}


@dataclass(frozen=True)
class Course:
    """What one line costs: to compare, to certify as a finalist on top, and at most to compare."""

    compare: Bill
    test: Bill
    most: Bill


class StandIn:
    """An embedder that costs nothing: words in, hashed counts out. What it finds is alike in words, hence in length."""

    name = "stand-in"

    def embed(self, texts: Sequence[str]) -> Any:
        """Return float32 [len(texts), width] of unit length."""
        import numpy as np

        found = np.zeros((len(texts), WIDTH), dtype=np.float32)
        for i, text in enumerate(texts):
            for word in text.lower().split()[:400]:
                found[i, zlib.crc32(word.encode("utf-8", "surrogatepass")) % WIDTH] += 1.0
        return found / np.maximum(1e-6, np.linalg.norm(found, axis=1, keepdims=True))


def is_looked_through(task: Task) -> bool:
    """Tell whether a plan has the time to choose a retrieval as the study will."""
    words = sum(len(one.text.split()) for one in task.documents[: LOOKED_THROUGH + 1])
    return 0 < len(task.documents) <= LOOKED_THROUGH and words <= READ_THROUGH


def make_cast(task: Task, rows: Mapping[str, Example], split: Split, settings: Any) -> dict[str, Rehearsal]:
    """Return a stand-in for every endpoint, which knows the answers of the rows outside the test part."""
    answers = _answers(task, [rows[id_] for id_ in split.learning])
    return {name: Rehearsal(name, one, answers) for name, one in settings.models.endpoints.items()}


def _answers(task: Task, rows: Sequence[Example]) -> list[tuple[str, str]]:
    form = PromptFormat()
    return [(described(task, row.inputs), form.answer_text(task, row.target)) for row in rows]


class _Here(Rehearsal):
    """Stands in for the language model on this machine, where a way asks it and an endpoint: it is on no bill."""

    is_local = True

    def __init__(self, answers: Sequence[tuple[str, str]]) -> None:
        here = SimpleNamespace(base_url="http://127.0.0.1/v1", model="causal", price=None)
        super().__init__("causal", here, answers)


def rehearse(
    task: Task,
    rows: Mapping[str, Example],
    split: Split,
    line: Line,
    cast: Mapping[str, Rehearsal],
    embedder: Any = None,
) -> Course | None:
    """Return what a line will cost, by fitting and measuring it with stand-ins; None where that cannot be done.

    Which passages a retrieval shows, and so how long its prompts are, hangs on meaning: `embedder` is asked where given.
    Training at an endpoint counts the tokens of its rows, epoch by epoch. Lines are to be rehearsed in the order of the
    study: what an earlier one has asked is not paid again.
    """
    if line.way not in REHEARSED:
        return None
    with tempfile.TemporaryDirectory(prefix="whichway-plan-") as folder:
        kind = _Lesson if line.way == "distill" else _Judged if line.judge else _Run
        run = kind(task, rows, split, line, cast, Path(folder), embedder or StandIn())
        before = run.bill()
        try:
            return run.course()
        except NotApplicable:  # it would be skipped, after what it has asked by then
            spent = run.bill() - before
            return Course(spent, Bill(), run.searched() or spent * SURE)
        except (
            Exception
        ):  # a strategy that fails here will fail in its trial, and say why there: a plan never stops a study
            return None


def judging_bill(task: Task, rows: Sequence[Example], settings: Any, cast: Mapping[str, Rehearsal]) -> Bill:
    """Return what a judge of the finalists' texts will cost, where it is an endpoint."""
    judge = settings.judge
    if judge is None or judge.model not in cast or len(rows) < 2:
        return Bill()
    model, some = cast[judge.model], list(rows)[: judge.rows]
    own = [Prediction(row.target, 1.0) for row in some]
    before = model.bill
    with model.afresh():
        judging.judge_pairs(model, some, own, [*own[1:], own[0]], judge.criteria or judging.CRITERIA, False)
    pairs, before = model.bill - before, model.bill
    with model.afresh():
        judging.judge_by_rubric(model, some, own, judge.rubric or judging.RUBRIC, False)
    return pairs * 2 + (model.bill - before) * 5


def finalists_bill(lines: Sequence[tuple[Line, Bill]]) -> tuple[Bill, Bill]:
    """Return what the finalists' test will cost with those that practice expects in front, and at most."""
    expected = sorted(lines, key=lambda one: -_strength(one[0]))
    middle, left = Bill(), FINALISTS
    for _, bill in expected:
        share = max(0.0, min(1.0, left))
        middle, left = middle + bill * share, left - share
    dearest = sorted((bill for _, bill in lines), key=lambda one: -one.usd)[:3]
    return middle, sum(dearest, Bill()) * SURE


def _strength(line: Line) -> float:
    known = STRENGTH.get(line.name.split("@")[0], STRENGTH.get(line.way, 2))
    return known + (0.0 if line.is_local else 2.0)


class _Run:
    """One line's way through a study: fits, comparison, other forms of its prompt, certification."""

    def __init__(self, task: Task, rows: Any, split: Split, line: Line, cast: Any, folder: Path, embedder: Any) -> None:
        self.task, self.rows, self.split, self.line, self.cast, self.folder = task, rows, split, line, cast, folder
        self.embedder = embedder
        self.strategy = line.strategy
        if line.way == "rag" and line.strategy.mode == "auto" and not is_looked_through(task):
            self.strategy = replace(line.strategy, mode="lexical")

    def course(self) -> Course:
        """Return what all of it costs."""
        compare = most = self._probed()
        for number, fold in enumerate(self.split.folds):
            rows = [self.rows[id_] for id_ in fold.validation]
            fitted, solution = self._fit(self._rows(fold.train), self._rows(fold.dev))
            measured = self._predicted(solution, rows)
            if isinstance(solution, Improved):
                measured += self._predicted(solution.seed(), rows)
            if number == 0:
                measured += self._reworded(solution, rows[:PAID_ROWS])
            compare += fitted + measured
            most += (self.searched() or fitted * SURE) + measured * SURE
        return Course(compare, self._tested(), most)

    def _probed(self) -> Bill:
        """Return what it costs to find out what the endpoints offer; a fine-tuned model is asked when it is there."""
        before = self.bill()
        trained = self.line.model if self.line.way == "finetune" else ""
        for name in (one for one in asked_endpoints(self.line, self.cast) if one != trained):
            for one in PROBED:
                self.cast[name].generate([one])
        return self.bill() - before

    def _fit(self, train: Sequence[Example], dev: Sequence[Example]) -> tuple[Bill, Any]:
        before = self.bill()
        solution = self.strategy.fit(self.task, train, dev, self._kit())
        return self.bill() - before, solution

    def _predicted(self, solution: Any, rows: Sequence[Example]) -> Bill:
        """Return what answers to rows cost, of many from the first ones."""
        before, some = self.bill(), [row.inputs for row in rows[:MOST_ROWS]]
        solution.predict(some)
        return (self.bill() - before) * (len(rows) / max(1, len(some)))

    def _reworded(self, solution: Any, rows: Sequence[Example]) -> Bill:
        before = self.bill()
        for kind, most in REWRITES.items() if isinstance(solution, Rewritable) else ():
            for number in range(most):
                other = solution.rewritten(kind, number)
                if other is not None:
                    other.predict([row.inputs for row in rows])
        return self.bill() - before

    def _tested(self) -> Bill:
        """Return what it costs to refit a finalist on all labels outside the test part, and to answer that part."""
        dev_ids = set(self.split.folds[0].dev)
        if not self.split.test:
            return Bill()
        train = [id_ for id_ in self.split.learning if id_ not in dev_ids]
        refitted, solution = self._fit(self._rows(train), self._rows(sorted(dev_ids)))
        like = self._rows(
            self.split.validation[:MOST_ROWS]
        )  # the test part stays sealed; its rows are as long as these
        with ExitStack() as asked:
            for name in asked_endpoints(self.line, self.cast):
                asked.enter_context(self.cast[name].afresh())
            answers = self._predicted(solution, like)
            if isinstance(solution, Improved):
                answers += self._predicted(solution.seed(), like)
            return refitted + answers * (len(self.split.test) / max(1, len(like)))

    def searched(self) -> Bill | None:
        """Return the most that a search may ask: every prompt on every row; None where nothing is searched for."""
        if self.line.way not in ("optimise", "reflect"):
            return None
        rows = getattr(self.strategy, "rows", 0) or SCORED_ROWS
        own = self.cast.get(self.line.model)  # none: the answers are given on this machine
        answer = SURE * own.dear[0] if own else 0.0
        if self.line.way == "optimise":
            calls = (self.strategy.prompts + FURTHER_PROMPTS) * rows
            return Bill(calls, calls * answer)
        calls = self.strategy.calls + (FURTHER_PROMPTS + TAKEN_BACK) * rows if own else 0
        texts = self.strategy.calls / 4 if (self.strategy.reflector or self.line.model) in self.cast else 0
        text = max(SURE * one.dear[1] for one in self.cast.values())
        return Bill(calls + texts, calls * answer + texts * text)

    def _rows(self, ids: Sequence[str]) -> list[Example]:
        return [self.rows[id_] for id_ in ids]

    def _kit(self) -> Kit:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        budget = Budget(time.monotonic() + SEARCH_S / TIME_SHARE)
        here = _Here(_answers(self.task, self._rows(self.split.learning)))
        return Kit({**self.cast, "causal": here}, self.embedder, folder, self.split.seed, budget)

    def bill(self) -> Bill:
        return sum((one.bill for one in self.cast.values()), Bill())


class _Silent(_Run):
    """A way whose own model is on this machine, and asks endpoints while it is fitted alone: no solution to be asked is None."""

    def _predicted(self, solution: Any, rows: Sequence[Example]) -> Bill:
        return super()._predicted(solution, rows) if solution is not None else Bill()


class _Judged(_Silent):
    """Training here on verdicts of a judge there: two calls for each row of which drafts are compared."""

    def _fit(self, train: Sequence[Example], dev: Sequence[Example]) -> tuple[Bill, Any]:
        before, count = self.bill(), self.strategy.judged
        rows = [*train[:count], *dev[: count // HELD_SHARE]]
        one, other = (
            [Prediction(f"{row.target}{end}", 1.0) for row in rows] for end in ("", ".")
        )  # they always differ
        model = self.cast[self.line.judge]
        with model.afresh():  # the drafts of other weights are other questions
            judging.judge_pairs(model, rows, one, other)
        return self.bill() - before, None


class _Lesson(_Silent):
    """Distillation: what endpoints answer is rehearsed; teachers, writer and student on this machine ask for nothing."""

    def _fit(self, train: Sequence[Example], dev: Sequence[Example]) -> tuple[Bill, Any]:
        """Let teachers label the first rows of the pool; the student that is returned is None where it is on this machine."""
        before, distill = self.bill(), self.strategy
        pool = [Example(f"pool-{i}", row, None) for i, row in enumerate(self.task.unlabelled[: distill.most])]
        if distill.writer in self.cast:
            pool += distill.written(self.task, train, self._kit())
        spent, student = self.bill() - before, None
        for name in (one for one in distill.teachers if "@" in one):
            before, teacher = self.bill(), distill.made(name)
            solution = teacher.fit(self.task, train, dev, self._kit())
            taught = self.bill() - before + self._predicted(solution, pool)
            # Asked without examples, a teacher answers a row once; else each round shows it other ones.
            spent += taught * (1 if getattr(teacher, "form", "") == "zero" else distill.turns())
        if "@" in distill.student:
            before = self.bill()
            learned = [replace(row, target=train[i % len(train)].target) for i, row in enumerate(pool)]
            student = distill.made(distill.student).fit(self.task, [*train, *learned], dev, self._kit())
            spent += self.bill() - before
        return spent, student
