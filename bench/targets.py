"""Run the measured data sets through the program itself and print what it reached against what it must reach."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

DATA = Path(os.environ.get("WHICHWAY_DATA", "../shared/data")).resolve()
SETS = {
    "banking77": {"train": "train_10shot.jsonl", "rows": 0, "minutes": 15, "metric": "accuracy"},
    "sms_spam": {"train": "train.jsonl", "rows": 400, "minutes": 15, "metric": "accuracy"},
    "cuad_clause_type": {"train": "train.jsonl", "rows": 1500, "minutes": 25, "metric": "accuracy"},
}
INSTRUCTIONS = {
    "banking77": "Classify the banking customer's message into exactly one intent.",
    "sms_spam": "Say whether the text message is spam or ham (a normal message).",
    "cuad_clause_type": "Classify the contract clause into exactly one clause type.",
}


def main() -> None:
    """Write a task file per data set into --work, run it, print validation and test scores of each strategy."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", default=list(SETS))
    asked.add_argument("--work", type=Path, default=Path("runs/targets"))
    asked.add_argument("--only", default="")
    asked.add_argument("--minutes", type=float)
    said = asked.parse_args()
    for name in said.names:
        folder = said.work / name
        task = _task(name, folder, said.minutes or SETS[name]["minutes"])
        began = time.time()
        command = [sys.executable, "-m", "whichway", "run", str(task), "--out", str(folder / "run")]
        code = subprocess.run([*command, *(["--only", said.only] if said.only else [])], check=False).returncode
        report = json.loads((folder / "run" / "report.json").read_text())
        print(f"{name}: exit {code}, {time.time() - began:.0f} s, recommends {report['recommendation']['strategy']}")
        for one in report["trials"]:
            scores = [
                f"{part} {one[part]['value']:.4f} (n={one[part]['n']})" for part in ("validation", "test") if one[part]
            ]
            print(f"  {one['strategy']:16} {one['state']:8} {'  '.join(scores)} {one['reason']}")


def _task(name: str, folder: Path, minutes: float) -> Path:
    about = SETS[name]
    folder.mkdir(parents=True, exist_ok=True)
    rows = (DATA / name / about["train"]).read_text(encoding="utf-8").splitlines()
    if about["rows"]:
        rows = random.Random(0).sample(rows, about["rows"])
    (folder / "train.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    said = {
        "task": name,
        "instruction": INSTRUCTIONS[name],
        "data": {"train": "train.jsonl", "test": str(DATA / name / "test.jsonl")},
        "inputs": ["input"],
        "target": "output",
        "metric": about["metric"],
        "budget": {"minutes": minutes, "usd": 0},
    }
    (folder / "task.yaml").write_text(json.dumps(said, indent=1), encoding="utf-8")
    return folder / "task.yaml"


if __name__ == "__main__":
    main()
