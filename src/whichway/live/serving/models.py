"""What a server can be asked: solutions of a run by their names, and with training the base model and what came of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.core.model import Reply, Request
from whichway.core.strategy import Solution, Updatable
from whichway.core.task import Inputs, Prediction, Task
from whichway.errors import UsageError
from whichway.live.answer import EVERYTHING, Asked, with_threshold
from whichway.live.bundle import causal_name, load_solution, solution_names
from whichway.live.documents import over_documents
from whichway.live.serving.batches import Answer, Batches
from whichway.live.serving.files import Files
from whichway.live.serving.jobs import Tuning

ALIAS = "whichway"  # the solution that is served, whatever its name


@dataclass(frozen=True)
class Served:
    """A solution ready to answer, with the lock that lets one request in at a time; `asked` says what is withheld."""

    name: str
    task: Task
    solution: Solution
    lock: threading.Lock
    asked: Asked = EVERYTHING

    def answer(self, rows: Sequence[Inputs]) -> list[Prediction]:
        """Answer rows, in order."""
        with self.lock:
            return self.solution.predict(rows)


class Desk:
    """Everything a server serves; things are loaded when they are first asked for, but the winner at once.

    Answers less sure than `asked` wants, by a confidence or by the coverage of each strategy, are marked as withheld. With
    documents, the winner and every other solution that looks something up answers from these.
    """

    def __init__(
        self,
        folder: Path,
        strategy: str | None = None,
        training: bool = False,
        asked: Asked = EVERYTHING,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder, self._asked, self._tell = Path(folder), asked, tell
        self._lock, self._compute = threading.Lock(), threading.Lock()
        self._made: dict[str, Any] = {}
        task, solution, name = load_solution(self.folder, strategy)
        if asked.documents is not None:
            solution = over_documents(solution, name, self.folder, asked.documents, tell)
        self.main = Served(name, task, solution, self._compute, with_threshold(asked, self.folder, name))
        self.files = Files(self.folder / "tuning" / "files") if training else None
        self.tuning = Tuning(self.folder / "tuning", self.files, causal_name(self.folder)) if self.files else None
        self.batches: Batches | None = None

    def take_batches(self, answer: Answer) -> None:
        """Answer batches, too, where files are taken; each body of a chat request by `answer`."""
        if self.files:
            self.batches = Batches(self.folder / "tuning" / "batches", self.files, answer)

    def names(self) -> list[str]:
        """Return what may be named as `model`."""
        tuned = [*self.tuning.base_names(), *self.tuning.tuned()] if self.tuning else []
        return [self.main.name, ALIAS, *(one for one in solution_names(self.folder) if one != self.main.name), *tuned]

    def solution(self, name: str) -> Served | None:
        """Return the solution of this name; None where it is no solution."""
        if name in (ALIAS, self.main.name):
            return self.main
        if name not in solution_names(self.folder):
            return None
        with self._lock:
            if name not in self._made:
                asked = with_threshold(self._asked, self.folder, name)
                task, solution, _ = load_solution(self.folder, name)
                if asked.documents is not None and isinstance(solution, Updatable):
                    solution = over_documents(solution, name, self.folder, asked.documents, self._tell)
                self._made[name] = Served(name, task, solution, self._compute, asked)
            found: Served = self._made[name]
            return found

    def write(self, name: str, requests: Sequence[Request]) -> list[Reply] | None:
        """Let the base model or a fine-tuned one write; None where there is none of this name."""
        model = self._writer(name)
        if model is None:
            return None
        with self._compute:
            replies: list[Reply] = model.generate(requests)
            return replies

    def tell(self, name: str, request: Request, say: Callable[[str], None]) -> Reply:
        """Let such a model write, and say its text in pieces while it does."""
        model = self._writer(name)
        with self._compute:
            reply: Reply = model.tell(request, say)
            return reply

    def _writer(self, name: str) -> Any:
        if self.tuning is None or name not in [*self.tuning.base_names(), *self.tuning.tuned()]:
            return None
        with self._lock:
            if name not in self._made:
                self._made[name] = self.tuning.load(name)
            return self._made[name]

    def count(self, text: str) -> int:
        """Return the tokens of a text, or an estimate where no language model is loaded."""
        for one in self._made.values():
            if hasattr(one, "count"):
                return int(one.count(text))
        return max(1, len(text) // 4)

    def close(self) -> None:
        """End what is under way; a job or a batch goes on when the server is started again."""
        if self.batches:
            self.batches.close()
        if self.tuning:
            self.tuning.close()


def inputs_from(task: Task, said: Any) -> Inputs:
    """Return a row's input fields from {"input": ...}, from named fields, from a text, or from a text that is JSON.

    Raises UsageError naming the field that is missing.
    """
    names = [one.name for one in task.fields]
    if isinstance(said, str):
        if len(names) == 1:
            return {names[0]: said}
        said = _from_text(said, names)
    row = dict(said)
    if "input" in row and "input" not in names:
        inner = row.pop("input")
        row |= dict(inner) if isinstance(inner, Mapping) else {names[0]: inner} if len(names) == 1 else {}
    missing = [name for name in names if name not in row]
    if missing:
        raise UsageError(f"The field {missing[0]!r} is missing.", f"Each row needs: {', '.join(names)}.")
    for name in names:
        if not (row[name] is None or isinstance(row[name], str | int | float | bool)):
            raise UsageError(f"The field {name!r} is no text, number or truth value.", "Give one value per field.")
    return {name: row[name] for name in names}


def _from_text(text: str, names: Sequence[str]) -> Mapping[str, Any]:
    """Read several fields from one message: a JSON object, or lines 'name: value'."""
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if isinstance(said, Mapping):
        return said
    found: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            last = name.strip()
            found[last] = value.strip()
        elif last:
            found[last] += "\n" + line
    return found
