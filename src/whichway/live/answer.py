"""New rows in, answers out: what `whichway predict` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whichway.core.task import Task
from whichway.core.text import Text
from whichway.errors import UsageError
from whichway.intake.load import load_inputs
from whichway.live.bundle import load_solution

BLOCK = 256


def answer_file(
    folder: Path,
    inputs: Path,
    out: Path | None,
    strategy: str | None = None,
    say: Callable[[int, int], None] = lambda *_: None,
    usd: float | None = None,
    min_confidence: float = 0.0,
) -> tuple[str, list[dict[str, Any]]]:
    """Answer every row of a file with the winner of a run; return (strategy, rows) and write JSONL to `out`.

    Each row is {"id", "output", "confidence"} and, where there are any, "sources"; one that has no answer also has
    "unknown": true, one whose answer could not be read "parsed": false, and one less sure than `min_confidence`
    "withheld": true: pass those to a person (the report says which threshold buys what). The file
    appears whole or not at all. `usd` caps what endpoints may cost in all uses of this folder; None: the task's budget.
    """
    if out is not None:  # before anything is paid for
        if out.is_dir():
            raise UsageError(f"{out} is a folder, not a file to write.", f"Name a file: -o {out / 'answers.jsonl'}")
        out.parent.mkdir(parents=True, exist_ok=True)
    task, solution, name = load_solution(folder, strategy, usd)
    rows, found = load_inputs(inputs, task), []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        for row, one in zip(block, solution.predict([row.inputs for row in block]), strict=True):
            answer = {"id": row.id, "output": _said(task, one.value), "confidence": round(one.confidence, 4)}
            if isinstance(task.output, Text) and one.value == "":
                answer["unknown"] = True
            if one.sources:
                answer["sources"] = list(one.sources)
            if one.confidence < min_confidence:
                answer["withheld"] = True
            found.append(answer if one.parsed else {**answer, "parsed": False})
        say(len(found), len(rows))
    if out is not None:
        scratch = out.with_name(out.name + ".partial")
        scratch.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found), encoding="utf-8")
        scratch.replace(out)
    return name, found


def _said(task: Task, value: Any) -> Any:
    """Return a value as it is written to a file: 'I do not know' in the task's own words."""
    if isinstance(task.output, Text):
        return task.output.write(value)
    return list(value) if isinstance(value, tuple) else value
