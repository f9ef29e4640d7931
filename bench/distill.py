"""What unlabelled rows add: a student on 50 labels of ten banking77 intents, alone and with rows that teachers label."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("WHICHWAY_DATA", "../shared/data")).resolve()
PER_INTENT, INTENTS, UNLABELLED = 5, 10, 2000
FILES = {"train": "train.jsonl", "test": "test.jsonl", "unlabelled": "unlabelled.jsonl"}


def main() -> None:
    """Write a task per seed, run the student alone and distilled, print both on the test rows."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--work", type=Path, default=Path("runs/distill"))
    asked.add_argument("--seeds", type=int, default=4)
    asked.add_argument("--student", default="probe")
    asked.add_argument("--settings", default="{}", help="further settings of distill, as JSON")
    said = asked.parse_args()
    gains = []
    for seed in range(said.seeds):
        folder = said.work / f"{said.student}-{seed}"
        task = _task(folder, seed, {"student": said.student, **json.loads(said.settings)})
        command = [sys.executable, "-m", "whichway", "run", str(task), "--out", str(folder / "run")]
        only = f"{said.student},distill"
        subprocess.run([*command, "--only", only], check=False, stdout=subprocess.DEVNULL)
        found = {one["strategy"]: one for one in json.loads((folder / "run" / "report.json").read_text())["trials"]}
        scores = {name: (one["test"] or one["validation"])["value"] for name, one in found.items()}
        gains.append(scores["distill"] - scores[said.student])
        print(f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()), flush=True)
    print(f"gain {sum(gains) / len(gains):+.4f} over {len(gains)} seeds: {[round(one, 4) for one in gains]}")


def _task(folder: Path, seed: int, settings: dict[str, Any]) -> Path:
    """Fifty labelled rows, the rest of train without labels, and all test rows of ten intents."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    train, test = (_rows(part) for part in ("train", "test_full"))
    counts = Counter(one["output"] for one in train)
    names = [name for name, _ in counts.most_common(INTENTS)]
    pools = {name: [one for one in train if one["output"] == name] for name in names}
    for pool in pools.values():
        rng.shuffle(pool)
    few = [one for pool in pools.values() for one in pool[:PER_INTENT]]
    # The ten most frequent intents have 1,719 further rows: there are no 2,000 of any ten.
    rest = [one for pool in pools.values() for one in pool[PER_INTENT:]]
    bare = [{"id": one["id"], "input": one["input"]} for one in rest[:UNLABELLED]]
    rng.shuffle(bare)
    parts = {"train": few, "unlabelled": bare, "test": [one for one in test if one["output"] in names]}
    for part, rows in parts.items():
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    said = {"task": "banking10", "instruction": "Classify the message into one intent.", "data": FILES}
    said |= {"inputs": ["input"], "target": "output", "budget": {"minutes": 10, "usd": 0}}
    said["strategies"] = {"settings": {"distill": settings}}
    (folder / "task.yaml").write_text(json.dumps(said, indent=1), encoding="utf-8")
    return folder / "task.yaml"


def _rows(part: str) -> list[dict[str, Any]]:
    lines = (DATA / "banking77" / f"{part}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(one) for one in lines if one]


if __name__ == "__main__":
    main()
