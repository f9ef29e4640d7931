"""New rows in, answers out: what `whichway predict` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whichway.core.task import Prediction, Task
from whichway.core.text import Text
from whichway.errors import UsageError
from whichway.intake.load import load_inputs
from whichway.live.bundle import load_solution, threshold
from whichway.live.documents import over_documents

BLOCK = 256


@dataclass(frozen=True)
class Asked:
    """How rows are answered: by which `strategy` of the run (None: the recommended one), for at most `usd` in all uses.

    Answers less sure than `min_confidence` are marked as withheld. `documents`, a folder or documents.jsonl, take the place
    of those of the run. `usd` None stands for the task's budget. With a `coverage` the least confidence is the one that the
    study chose on validation rows so that this share is answered; the rest is marked as withheld.
    """

    strategy: str | None = None
    usd: float | None = None
    min_confidence: float = 0.0
    documents: Path | None = None
    coverage: float | None = None


EVERYTHING = Asked()  # by the recommended strategy, nothing withheld


def answer_file(
    folder: Path,
    inputs: Path,
    out: Path | None,
    asked: Asked = EVERYTHING,
    say: Callable[[int, int], None] = lambda *_: None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[str, list[dict[str, Any]]]:
    """Answer every row of a file with a solution of a run; return (strategy, rows) and write JSONL to `out`.

    Each row is {"id", "output", "confidence"} and, where there are any, "sources"; one that has no answer also has
    "unknown": true, one whose answer could not be read "parsed": false, and one less sure than wanted "withheld": true:
    pass those to a person (the report says which threshold buys what). The file appears whole or not at all. `say` is told how
    many rows are done, `tell` what changed in the documents.
    """
    if out is not None:  # before anything is paid for
        if out.is_dir():
            raise UsageError(f"{out} is a folder, not a file to write.", f"Name a file: -o {out / 'answers.jsonl'}")
        out.parent.mkdir(parents=True, exist_ok=True)
    task, solution, name = load_solution(folder, asked.strategy, asked.usd)
    asked = with_threshold(asked, folder, name)
    rows, found = load_inputs(inputs, task), []
    if asked.documents is not None:
        solution = over_documents(solution, name, folder, asked.documents, tell)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        answers = solution.predict([row.inputs for row in block])
        found += [answer_row(task, row.id, one, asked) for row, one in zip(block, answers, strict=True)]
        say(len(found), len(rows))
    if out is not None:
        scratch = out.with_name(out.name + ".partial")
        scratch.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found), encoding="utf-8")
        scratch.replace(out)
    return name, found


def with_threshold(asked: Asked, folder: Path, name: str) -> Asked:
    """Return what was asked, with the confidence that the study chose for the wanted coverage of this strategy.

    Raises UsageError where both are given, or where the study chose none.
    """
    if asked.coverage is None:
        return asked
    if asked.min_confidence:
        raise UsageError("--coverage and --min-confidence both say which answers to withhold.", "Give one of them.")
    return replace(asked, min_confidence=threshold(folder, name, asked.coverage))


def answer_row(task: Task, id_: str, one: Prediction, asked: Asked) -> dict[str, Any]:
    """Return an answer as plain data; see answer_file."""
    answer: dict[str, Any] = {"id": id_, "output": _said(task, one.value), "confidence": round(one.confidence, 4)}
    if isinstance(task.output, Text) and one.value == "":
        answer["unknown"] = True
    if one.sources:
        answer["sources"] = list(one.sources)
    if one.confidence < asked.min_confidence:
        answer["withheld"] = True
    return answer if one.parsed else {**answer, "parsed": False}


def _said(task: Task, value: Any) -> Any:
    """Return a value as it is written to a file: 'I do not know' in the task's own words."""
    if isinstance(task.output, Text):
        return task.output.write(value)
    return list(value) if isinstance(value, tuple) else value
