"""From an edit of a prompt to its new score: 200 validation rows, embedded model, the whole command timed.

The edit is in the instruction, at the head of the prompt, and each command is a process of its own: nothing that was computed for
the prompt before is of use to the one after. With --end the last examples of the prompt change, within one process, as in a
search for a prompt: what stands before them is not read again, and it is told how many tokens were.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("WHICHWAY_DATA", "../shared/data")).resolve() / "sms_spam"
ROWS = 1000  # of which a fifth is compared on
EDIT = (
    " Offers, prizes, paid numbers and links to click are signs of spam; plain talk between friends, family or colleagues, "
    "however short, odd or full of slang it may be, is ham. If you are in doubt, say ham."
)


def main() -> None:
    """Run a few-shot prompt, edit its instruction by about 48 tokens, run again; print both times and scores."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument(
        "--shots", type=int, default=12, help="examples shown: with them the prompt has about 480 tokens"
    )
    asked.add_argument("--end", action="store_true", help="change the prompt's last 48 tokens within one process")
    said = asked.parse_args()
    if said.end:
        _at_the_end()
        return
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        lines = [line for part in ("train", "test") for line in (DATA / f"{part}.jsonl").read_text().splitlines()]
        (where / "rows.jsonl").write_text("\n".join(lines[:ROWS]) + "\n")
        for name, instruction in (("first", ""), ("edited", EDIT)):
            task = where / "task.yaml"
            task.write_text(_task(instruction, said.shots))
            command = [sys.executable, "-m", "whichway", "run", str(task), "--out", str(where / "run")]
            scored, all_, told = _timed([*command, "--only", "prompt-few"])
            print(f"{name:7} scored after {scored:.1f} s, the command ended after {all_:.1f} s: {told}", flush=True)


def _at_the_end() -> None:
    """Score 200 rows behind about 480 tokens, change the last 48 of them, score again; print seconds and tokens read."""
    from scoring import _task as set_of

    from whichway.models.causal import CausalModel
    from whichway.strategies.parts.answering import continuations
    from whichway.strategies.parts.prompting import PromptFormat

    task, train, rows = set_of("sms_spam", 200)
    model, form = CausalModel(), PromptFormat()
    shown = _of_length(model, form, task, train, 480)
    last = len(shown) - 1
    while _differ(model, form, task, shown, [*shown[:last], *train[-(len(shown) - last) :]]) < 48:
        last -= 1
    edited = [*shown[:last], *train[-(len(shown) - last) :]]
    answers, store = continuations(task, form), model.scorer.prefixes
    model.score([train[-1].inputs["input"]], answers)  # the process' first products
    store.shelf.forget(store.number)
    for name, examples in (("first", shown), ("edited", edited)):
        prompts = [form.prompt(task, row.inputs, examples) for row in rows]
        before, began = store.computed, time.perf_counter()
        table = model.score(prompts, answers, form.beginning(task, examples))
        took = time.perf_counter() - began
        right = sum(task.labels.names[i] == row.target for i, row in zip(table.argmax(1), rows)) / len(rows)
        size = len(model.tokens(form.beginning(task, examples)))
        print(
            f"{name:7} {size} tokens shared, {store.computed - before} of them read, {took:.1f} s, accuracy {right:.3f} raw"
        )


def _of_length(model: Any, form: Any, task: Any, train: list[Any], tokens: int) -> list[Any]:
    """Return as many examples as make a beginning of that many tokens."""
    shown = train[:1]
    while len(model.tokens(form.beginning(task, shown))) < tokens:
        shown = train[: len(shown) + 1]
    return shown


def _differ(model: Any, form: Any, task: Any, before: list[Any], after: list[Any]) -> int:
    """Return how many tokens of the first prompt's beginning come after what both begin with."""
    first, second = (model.tokens(form.beginning(task, one)) for one in (before, after))
    same = next(i for i, (a, b) in enumerate(zip(first, second)) if a != b)
    return len(first) - same


def _timed(command: list[str]) -> tuple[float, float, str]:
    """Return seconds until the score was told, until the command ended, and the line that told it."""
    began, scored, told = time.perf_counter(), float("nan"), ""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        for line in run.stderr or ():
            if line.startswith("prompt-few") and " n = " in line:
                scored, told = time.perf_counter() - began, " ".join(line.split())
    return scored, time.perf_counter() - began, told


def _task(more: str, shots: int) -> str:
    return (
        f"task: edit\ninstruction: {json.dumps('Say whether the text message is spam or ham (a normal message).' + more)}\n"
        "data: {train: rows.jsonl}\nmetric: accuracy\nbudget: {minutes: 10}\n"
        f"strategies: {{settings: {{prompt-few: {{shots: {shots}}}}}}}\n"
    )


if __name__ == "__main__":
    main()
