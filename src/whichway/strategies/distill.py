"""Distillation: teachers answer rows that nobody has labelled, and a cheaper student learns from what they agree on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from whichway.core.output import Labels, as_labels
from whichway.core.strategy import Kit, Progress, Prompted, PromptVersion, Rewritable, Solution
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable
from whichway.registry import get, register
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.synthetic import unwritable, write_examples

BLOCK = 256
CHEAP = ("probe", "classic")  # teachers whose fit takes seconds
MANY_ROUNDS, FIRST = 8, 0.2
ALIGNED = 10  # times that probabilities are brought to the shares of labels: once is not enough where they are sharp
LABELLED = 3  # times that a row labelled by people is learned from beside those that teachers labelled
FIXED = {
    "probe": {"strengths": (10.0,)},
    "classic": {"strengths": (30.0,)},
}  # cross-validation would trust the teachers
NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"prompt-{form}": ("prompt", {"form": form}) for form in ("zero", "few", "nearest")},
    "rag-classic": ("rag", {"then": "classic", "passages": 1}),
    "rag-finetune": ("raft", {"trained": "bare"}),
}  # names in a study that are not those of a strategy


@dataclass(frozen=True)
class Guess:
    """What the teachers say of an unlabelled row: an answer, and how sure they are."""

    value: Any
    confidence: float


@register("strategy", "distill")
@dataclass(frozen=True)
class Distill:
    """Teaches `student` on the labelled rows and on those of `data.unlabelled` that all `teachers` answer alike.

    A teacher is a strategy by its name (`probe`, `encoder`, `finetune`) or a prompt of an endpoint (`prompt-few@NAME`); what
    it costs is part of the cost to build. Teachers that give probabilities are first brought to the shares of labels among
    people's rows (distribution alignment, Berthelot et al. 2020). Of each answer the surest are learned from: in each of
    `rounds` teachers learn again with what was kept before, a share that grows from a fifth to `keep`; 0 stands for eight
    rounds of teachers that cost seconds, and one of others. People's rows count as often as LABELLED says.

    `synthetic` > 0 lets the model `writer` write so many further inputs for labels that have fewer; they are kept where
    teachers agree on the label, marked as written, and never compared or tested on. Where nothing can be written (several
    fields, answers that are no labels), the rows without labels are learned from all the same, and the report says so.
    """

    teachers: tuple[str, ...] = ("probe",)
    student: str = "probe"
    keep: float = 0.9
    rounds: int = 0
    most: int = 2000  # unlabelled rows that are answered
    synthetic: int = 0
    writer: str = "causal"
    needs: ClassVar[tuple[str, ...]] = ("embedder",)
    trains: ClassVar[bool] = True
    shapes: ClassVar[tuple[str, ...]] = ("labels", "fields", "text")
    reads_instruction: ClassVar[bool] = True

    def lacks(self, task: Task) -> str:
        """Return what is missing before anything is spent."""
        for name in self.within():
            served = getattr(self.made(name), "shapes", ("labels",))
            if task.output.shape not in served:
                what = f"its {'student' if name == self.student else 'teacher'} {name} answers {' and '.join(served)} alone"
                return f"{what}; name others in strategies.settings.distill (`teachers`, `student`)"
        why = self.unwritten(task)
        if task.unlabelled or (self.synthetic and not why):
            return ""
        none = "learns from rows without labels, and the task names none (`data.unlabelled`)"
        return f"{none}; none are written: {why}" if why else none

    def unwritten(self, task: Task) -> str:
        """Say why a model writes nothing though `synthetic` asks for it; '' where it does, or nothing is asked for."""
        return unwritable(task) if self.synthetic else ""

    def asks(self) -> dict[str, bool]:
        """Return endpoints that teach, learn or write, and whether they are to fine-tune."""
        within = [one.partition("@") for one in (*self.teachers, self.student) if "@" in one]
        found = {model: any(way == "finetune" for way, _, its in within if its == model) for _, _, model in within}
        return {**({self.writer: False} if self.synthetic and self.writer != "causal" else {}), **found}

    @property
    def model(self) -> str:
        """What answers in use: the student's model."""
        student = self.learner()
        return "embedder" if getattr(student, "then", "prompt") != "prompt" else getattr(student, "model", "embedder")

    def learner(self) -> Any:
        """Return the student, whose solution answers in use."""
        return self.made(self.student)

    def within(self) -> tuple[str, ...]:
        """Return the strategies that it is made of, by their names."""
        return (*self.teachers, self.student)

    def turns(self) -> int:
        """Return how many rounds there will be."""
        return self.rounds or (MANY_ROUNDS if set(self.teachers) <= set(CHEAP) else 1)

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> Distilled:
        pool = list(task.unlabelled)
        random.Random(f"distill {kit.seed}").shuffle(pool)
        why = self.unwritten(task)
        written = self.written(task, train, kit) if self.synthetic and not why else []
        pool = [*pool[: self.most], *(row.inputs for row in written)]
        if not pool:
            also = f", and none are written: {why}" if why else ", and the model wrote none" if self.synthetic else ""
            raise NotApplicable(
                f"There are no rows without labels to learn from{also}.", "Name a file: data: {unlabelled: ...}"
            )
        kept: list[Example] = []
        rounds = self.turns()
        for number in range(rounds):
            share = self.keep if rounds == 1 else FIRST + (self.keep - FIRST) * number / (rounds - 1)
            said = self._answered(task, _beside(train, kept), dev, pool, kit, number)
            guesses = agreed(said, _shares(task, [*train, *dev]))
            kept = self._kept(task, pool, guesses, [row.target for row in written], share)
        facts: dict[str, Any] = {"unlabelled": len(pool) - len(written), "written": len(written), "kept": len(kept)}
        facts["kept_written"] = sum(row.id.startswith("synthetic") for row in kept)
        facts |= {"not_written": why} if why else {}
        if not kept:
            raise NotApplicable("The teachers agree on no row, so there is nothing to learn from them.", "Take others.")
        solution = self.learner().fit(task, _beside(train, kept), dev, replace(kit, folder=_folder(kit, "student")))
        return Distilled(solution, kept, facts)

    def load(self, task: Task, folder: Path, kit: Kit) -> Distilled:
        inner = self.learner().load(task, folder / "student", replace(kit, folder=folder / "student"))
        known = folder / "learned.json"
        return Distilled(inner, (), load_json(known)["facts"] if known.exists() else {})

    def _answered(
        self,
        task: Task,
        train: Sequence[Example],
        dev: Sequence[Example],
        pool: Sequence[Inputs],
        kit: Kit,
        number: int,
    ) -> list[list[Prediction]]:
        """Return what each teacher says of each row."""
        said: list[list[Prediction]] = []
        for name in self.teachers:
            kit.progress(Progress(f"teacher {name}"))
            own = replace(kit, folder=_folder(kit, f"teacher-{number}-{name.replace('@', '-at-')}"))
            teacher = self.made(name).fit(task, train, dev, own)
            answers: list[Prediction] = []
            for start in range(0, len(pool), BLOCK):
                answers += teacher.predict(pool[start : start + BLOCK])
                kit.progress(Progress(f"teacher {name} answers", len(answers), len(pool)))
            said.append(answers)
        return said

    def _kept(
        self, task: Task, pool: Sequence[Inputs], guesses: Sequence[Guess | None], wanted: Sequence[Any], share: float
    ) -> list[Example]:
        """Return the surest rows of each answer; a written one only where it is what it was written for."""
        first = len(pool) - len(wanted)
        found: dict[Any, list[tuple[float, Example]]] = {}
        for i, (inputs, guess) in enumerate(zip(pool, guesses, strict=True)):
            if guess is None or (i >= first and guess.value != wanted[i - first]):
                continue
            id_ = f"synthetic-{i - first}" if i >= first else f"unlabelled-{i}"
            key = task.output.write(guess.value) if isinstance(task.output, Labels) else ""
            found.setdefault(key, []).append((guess.confidence, Example(id_, inputs, guess.value)))
        kept = []
        for rows in found.values():
            rows.sort(key=lambda one: (-one[0], one[1].id))
            kept += [one for _, one in rows[: max(1, round(share * len(rows)))]]
        return kept

    def written(self, task: Task, train: Sequence[Example], kit: Kit) -> list[Example]:
        """Return inputs that a model writes for labels with fewer than `synthetic` rows."""
        counts = Counter(name for row in train for name in as_labels(row.target))
        thin = {name: self.synthetic - counts[name] for name in task.labels.names if counts[name] < self.synthetic}
        kit.progress(Progress("writing examples for thin labels"))
        return write_examples(task, train, thin, kit.models[self.writer], kit.seed)

    def made(self, name: str) -> Any:
        """Return a strategy by its name in a study: 'encoder', 'prompt-few', 'rag-classic', 'prompt-few@mini'."""
        way, _, model = name.partition("@")
        way, said = NAMED.get(way, (way, FIXED.get(way, {})))
        made: Any = get("strategy", way)(**said, **({"model": model} if model else {}))
        return made


@dataclass(frozen=True)
class Distilled:
    """The student; what it learned from besides people's labels lies beside it, each row marked as such."""

    student: Solution
    learned: Sequence[Example]
    facts: Mapping[str, Any]

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.student.predict(inputs)

    def learned_from(self) -> Mapping[str, Any]:
        """Return how many rows were answered, written and kept."""
        return self.facts

    def version(self) -> PromptVersion | None:
        """Return the student's prompt, if it has one."""
        return self.student.version() if isinstance(self.student, Prompted) else None

    def rewritten(self, kind: str, number: int) -> Distilled | None:
        other = self.student.rewritten(kind, number) if isinstance(self.student, Rewritable) else None
        return replace(self, student=other) if other else None

    def save(self, folder: Path) -> None:
        (folder / "student").mkdir(parents=True, exist_ok=True)
        self.student.save(folder / "student")
        rows = [
            {"id": one.id, "inputs": dict(one.inputs), "target": one.target, "labelled_by": "teachers"}
            | ({"written_by": "model"} if one.id.startswith("synthetic") else {})
            for one in self.learned
        ]
        save_json(folder / "learned.json", {"facts": dict(self.facts), "rows": rows})


def _beside(train: Sequence[Example], kept: Sequence[Example]) -> list[Example]:
    """Return people's rows, repeated where there are others, and those that teachers labelled."""
    again = [replace(row, id=f"{row.id}#{turn}") for turn in range(1, LABELLED) for row in train] if kept else []
    return [*train, *again, *kept]


def agreed(said: Sequence[Sequence[Prediction]], shares: Mapping[str, float] | None) -> list[Guess | None]:
    """Return per row what all teachers say; None where they differ or say nothing that can be read.

    With the `shares` that labels have, probabilities are brought to them, and the confidence is how far the first label
    is ahead of the second; without, it is the lowest confidence of all teachers.
    """
    has_scores = all(one.scores is not None for answers in said for one in answers)
    if shares is None or not has_scores:
        return [_plainly(row) for row in zip(*said, strict=True)]
    import numpy as np

    names = list(shares)
    tables = [np.array([[(one.scores or {}).get(n, 0.0) for n in names] for one in answers]) for answers in said]
    aligned = [_aligned(table, np.array([shares[name] for name in names])) for table in tables]
    found: list[Guess | None] = []
    for rows in zip(*aligned, strict=True):
        best = {int(row.argmax()) for row in rows}
        order = np.sort(sum(rows) / len(rows))
        lead = float(order[-1] - order[-2]) if len(order) > 1 else 1.0
        found.append(Guess(names[best.pop()], lead) if len(best) == 1 else None)
    return found


def _aligned(table: Any, shares: Any) -> Any:
    """Return probabilities [rows, labels] whose mean is near the shares that labels have (Sinkhorn's iteration)."""
    table = table.clip(1e-6)
    for _ in range(ALIGNED):
        table = table * shares / table.mean(axis=0)
        table = table / table.sum(axis=1, keepdims=True)
    return table


def _shares(task: Task, rows: Sequence[Example]) -> dict[str, float] | None:
    """Return the share of each label among people's rows, one row each added; None where a row has several or none."""
    if not isinstance(task.output, Labels) or task.labels.multi:
        return None
    counts = Counter(str(row.target) for row in rows)
    whole = len(rows) + len(task.labels.names)
    return {name: (counts[name] + 1) / whole for name in task.labels.names}


def _plainly(answers: Sequence[Prediction]) -> Guess | None:
    first = answers[0]
    if any(not one.parsed or one.value != first.value for one in answers):
        return None
    return Guess(first.value, min(one.confidence for one in answers))


def _folder(kit: Kit, name: str) -> Path:
    path = kit.folder / name
    path.mkdir(parents=True, exist_ok=True)
    return path
