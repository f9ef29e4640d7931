"""Label scoring behind a shared prefix against recomputing it: rows per second in one run, and how often they agree."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from whichway.core.output import Labels
from whichway.core.task import Example, Field, Task
from whichway.intake.tables import read_table
from whichway.models.causal import CausalModel, load_network
from whichway.models.scoring import PrefixScorer
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
    asked.add_argument("--exact-rows", type=int, default=16, help="rows that are computed in fp32, too")
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
    seconds, tables, reach = {}, {}, model.scorer.reach
    for name, shared in (("shared", reach), ("recomputed", 0)):
        model.scorer.reach = shared
        began = time.perf_counter()
        tables[name] = model.score(prompts, answers, start)
        seconds[name] = time.perf_counter() - began
        print(f"{name:11} {len(rows) / seconds[name]:7.1f} rows/s")
    model.scorer.reach = reach
    reader = fit_reader(task, tables["shared"][:48], [row.target for row in rows[:48]])
    said_by = {name: [one.value for one in reader.read(table)] for name, table in tables.items()}
    same = np.mean([a == b for a, b in zip(*said_by.values())])
    raw = (tables["shared"].argmax(1) == tables["recomputed"].argmax(1)).mean()
    right = np.mean([one == row.target for one, row in zip(said_by["shared"], rows)])
    ratio = seconds["recomputed"] / seconds["shared"]
    print(f"ratio {ratio:.1f}; same answer {100 * same:.1f} % (uncalibrated {100 * raw:.1f} %); accuracy {right:.3f}")
    _differences(model, prompts[: said.exact_rows], answers, start, tables)


def _differences(model: Any, prompts: list[str], answers: list[str], start: str, tables: dict[str, Any]) -> None:
    """Print how far log-likelihoods behind a shared prefix are from recomputed ones, in fp32 and in the usual format."""
    exact = PrefixScorer(load_network(model.where, exact=True)[0])
    read = [model.tokens(one) for one in prompts], [model.tokens(one) for one in answers], model.tokens(start)
    shared, exact.reach = exact.score(*read), 0
    wide = exact.score(*read)
    usual = {name: table[: len(prompts)] for name, table in tables.items()}
    kind = str(model.network.dtype).removeprefix("torch.")
    pairs = {
        f"fp32, {len(prompts)} rows, wanted 1e-4": shared - wide,
        f"{kind}, all rows, wanted .05": tables["shared"] - tables["recomputed"],
        f"{kind} shared against fp32": usual["shared"] - wide,
        f"{kind} recomputed against fp32": usual["recomputed"] - wide,
    }
    for name, gap in pairs.items():
        print(f"difference of log-likelihoods, {name}: largest {np.abs(gap).max():.2g}, mean {np.abs(gap).mean():.2g}")


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
