"""New rows in, answers out: what `whichway predict` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
) -> tuple[str, list[dict[str, Any]]]:
    """Answer every row of a file with the winner of a run; return (strategy, rows) and write JSONL to `out`.

    Each row is {"id", "output", "confidence"}; an answer that could not be read also has "parsed": false. The file
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
            value = list(one.value) if isinstance(one.value, tuple) else one.value
            answer = {"id": row.id, "output": value, "confidence": round(one.confidence, 4)}
            if one.sources:
                answer["sources"] = list(one.sources)
            found.append(answer if one.parsed else {**answer, "parsed": False})
        say(len(found), len(rows))
    if out is not None:
        scratch = out.with_name(out.name + ".partial")
        scratch.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found), encoding="utf-8")
        scratch.replace(out)
    return name, found
