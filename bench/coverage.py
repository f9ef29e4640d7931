"""Interval honesty: over 200 resplits of banking77 predictions, how often the interval covers the score on unused rows."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from whichway.core.output import Labels
from whichway.core.strategy import Kit
from whichway.core.task import Example, Field, Task
from whichway.models.encoder import SentenceEncoder
from whichway.registry import get
from whichway.study.evidence import score_interval

DATA = Path(os.environ.get("WHICHWAY_DATA", "../shared/data"))


def main() -> None:
    """Fit probe on train_10shot, predict the test file, and resplit the predictions."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--resplits", type=int, default=200)
    asked.add_argument("--rows", type=int, default=300, help="rows of each resplit's test part")
    said = asked.parse_args()
    train, test = (_rows(f"banking77/{name}.jsonl") for name in ("train_10shot", "test"))
    labels = Labels(tuple(sorted({row.target for row in train})))
    rng = np.random.default_rng(0)
    for metric_name in ("accuracy", "macro_f1"):
        metric = get("metric", metric_name)()
        task = Task("banking77", "", (Field("input"),), labels, metric)
        solution = get("strategy", "probe")().fit(task, train, [], Kit({}, SentenceEncoder(), Path(".")))
        answers = solution.predict([row.inputs for row in test])
        scores = [metric.score_example(row, one) for row, one in zip(test, answers)]
        covered = 0
        for number in range(said.resplits):
            order = rng.permutation(len(scores))
            used, unused = order[: said.rows], order[said.rows :]
            interval = score_interval(metric, [scores[i] for i in used], seed=number)
            covered += interval.low <= metric.aggregate([scores[i] for i in unused]) <= interval.high
        share = covered / said.resplits
        print(
            f"{metric_name}: {100 * share:.1f} % of {said.resplits} intervals (n = {said.rows}) cover the unused rows' score"
        )


def _rows(name: str) -> list[Example]:
    with (DATA / name).open(encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    return [Example(row["id"], {"input": row["input"]}, row["output"]) for row in found]


if __name__ == "__main__":
    main()
