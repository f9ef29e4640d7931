"""Label scoring behind a shared prefix against recomputing it: rows per second in one run, and how often they agree."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from whichway.core.output import Labels
from whichway.core.task import Example, Field, Task
from whichway.intake.tables import read_table
from whichway.models.causal import CausalModel
from whichway.registry import get
from whichway.strategies.parts.answering import continuations, fit_reader
from whichway.strategies.parts.prompting import PromptFormat
from whichway.strategies.prompt import pick_shots

DATA = Path(os.environ.get("WHICHWAY_DATA", "../shared/data"))


def main() -> None:
    """Print both speeds, their ratio and the share of equal answers, raw and calibrated."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=200)
    asked.add_argument("--prefix", type=int, default=480, help="tokens of the shared prefix")
    said = asked.parse_args()
    task, train, rows = _task("sms_spam", said.rows)
    model, form = CausalModel(), PromptFormat()
    shots = 1
    while len(model.tokens(form.beginning(task, pick_shots(task, train, shots, 0)))) < said.prefix:
        shots += 1
    shown = pick_shots(task, train, shots, 0)
    start = form.beginning(task, shown)
    prompts = [form.prompt(task, row.inputs, shown) for row in rows]
    answers = continuations(task, form)
    print(
        f"{len(rows)} rows, prefix of {len(model.tokens(start))} tokens, {len(answers)} labels, {model.network.dtype}"
    )
    model.score(prompts[:16], answers, start)
    seconds, tables = {}, {}
    for name, shares in (("shared", True), ("recomputed", False)):
        model.scorer.shares = shares
        began = time.perf_counter()
        tables[name] = model.score(prompts, answers, start)
        seconds[name] = time.perf_counter() - began
        print(f"{name:11} {len(rows) / seconds[name]:7.1f} rows/s")
    model.scorer.shares = True
    reader = fit_reader(task, tables["shared"][:48], [row.target for row in rows[:48]])
    said_by = {name: [one.value for one in reader.read(table)] for name, table in tables.items()}
    same = np.mean([a == b for a, b in zip(*said_by.values())])
    raw = (tables["shared"].argmax(1) == tables["recomputed"].argmax(1)).mean()
    right = np.mean([one == row.target for one, row in zip(said_by["shared"], rows)])
    ratio, gap = seconds["recomputed"] / seconds["shared"], np.abs(tables["shared"] - tables["recomputed"]).max()
    print(f"ratio {ratio:.1f}; same answer {100 * same:.1f} % (uncalibrated {100 * raw:.1f} %)")
    print(f"largest difference of a log-likelihood {gap:.4f}; accuracy {right:.3f}")


def _task(name: str, count: int) -> tuple[Task, list[Example], list[Example]]:
    parts = []
    for part in ("train", "test"):
        table = read_table(DATA / name / f"{part}.jsonl")
        parts.append([Example(row["id"], {"input": row["input"]}, row["output"]) for row in table.rows])
    labels = Labels(tuple(sorted({row.target for row in parts[0]})))
    metric = get("metric", "accuracy")()
    task = Task(
        name, "Say whether the text message is spam or ham (a normal message).", (Field("input"),), labels, metric
    )
    return task, parts[0][:400], parts[1][:count]


if __name__ == "__main__":
    main()
