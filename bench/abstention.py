"""Half of banking77's intents are hidden from training: does confidence tell inputs of unknown intents from known ones?"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from whichway import registry
from whichway.core.output import Labels
from whichway.core.strategy import Kit
from whichway.core.task import Example, Field, Task
from whichway.study.answers import threshold_for

DATA = Path(os.environ.get("WHICHWAY_DATA", "../shared/data")).resolve() / "banking77"
PROMISED = (0.95, 0.9, 0.8)
DEV = 0.3  # about 1,400 rows: a coverage of 80 % is then known to 1.1 points (one standard error)


def main() -> None:
    """Fit on known intents, choose thresholds on dev, measure AUROC and the coverage of known test rows."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", default=["classic", "probe"])
    asked.add_argument("--seeds", type=int, default=3)
    said = asked.parse_args()
    embedder = registry.get("model", "encoder")("embedded")
    for name in said.names:
        found = [_measured(name, embedder, seed) for seed in range(said.seeds)]
        print(f"{name}: AUROC {' '.join(f'{one[0]:.3f}' for one in found)} (seeds 0 to {said.seeds - 1})")
        for at, promised in enumerate(PROMISED):
            print(
                f"  promised {promised:.2f}: {' '.join(f'{one[1][at]:.3f}' for one in found)} of known test rows answered"
            )


def _measured(name: str, embedder: Any, seed: int) -> tuple[float, list[float]]:
    rng = random.Random(seed)
    labels = sorted({row.target for row in _rows("test.jsonl")})
    known = set(rng.sample(labels, len(labels) // 2))
    rows = [row for row in _rows("train.jsonl") if row.target in known]
    rng.shuffle(rows)
    held = round(DEV * len(rows))
    dev, train = rows[:held], rows[held:]
    task = Task("intents", "", (Field("input"),), Labels(tuple(sorted(known))), registry.get("metric", "accuracy")())
    with tempfile.TemporaryDirectory() as folder:
        kit = Kit({}, embedder, Path(folder), seed)
        # dev is kept from the fit: the head would learn from it, and its confidences would promise too much
        solution = registry.get("strategy", name)().fit(task, train, [], kit)
    test = _rows("test.jsonl")
    sure = np.array([one.confidence for one in solution.predict([row.inputs for row in test])])
    is_known = np.array([row.target in known for row in test])
    on_dev = [one.confidence for one in solution.predict([row.inputs for row in dev])]
    coverages = [float((sure[is_known] >= threshold_for(on_dev, promised)).mean()) for promised in PROMISED]
    return float(roc_auc_score(is_known, sure)), coverages


def _rows(name: str) -> list[Example]:
    lines = (json.loads(line) for line in (DATA / name).open(encoding="utf-8"))
    return [Example(one["id"], {"input": one["input"]}, one["output"]) for one in lines]


if __name__ == "__main__":
    main()
