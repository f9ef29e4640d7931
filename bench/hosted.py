"""Fine-tuning behind an endpoint and here: `finetune@mine` at our own `whichway serve --training` against `finetune`."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import yaml
from optimise import _task

MODEL = "smollm2-135m-instruct"
WHICHWAY = [sys.executable, "-m", "whichway"]


def main() -> None:
    """Serve a run of the same task, fine-tune there and here, and print both on test, with their paired difference."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("name", nargs="?", default="banking10", help="a set of bench/optimise.py")
    asked.add_argument("--work", type=Path, default=Path("runs/hosted"))
    asked.add_argument("--minutes", type=float, default=15)
    said = asked.parse_args()
    task = _task(said.name, said.work / said.name, said.minutes, {})
    base = task.parent / "base"
    if not (base / "report.json").exists():
        subprocess.run([*WHICHWAY, "run", task, "--out", base, "--only", "majority"], check=True)
    server = subprocess.Popen(
        [*WHICHWAY, "serve", base, "--port", "0", "--training"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+/v1", server.stdout.readline())
        assert found
        told = yaml.safe_load(task.read_text(encoding="utf-8"))
        price = {"input": 0.0, "output": 0.0, "training": 0.0}
        mine = {"base_url": found[0], "model": MODEL, "price": price, "fine_tuning": True}
        told["models"] = {"endpoints": {"mine": mine}}
        task.write_text(yaml.safe_dump(told, sort_keys=False), encoding="utf-8")
        command = [*WHICHWAY, "run", task, "--out", task.parent / "run", "--only", "finetune"]
        subprocess.run(command, check=False)
    finally:
        server.terminate()
    report = json.loads((task.parent / "run" / "report.json").read_text())
    for one in report["trials"]:
        scores = [
            f"{part} {one[part]['value']:.4f} (n={one[part]['n']})" for part in ("validation", "test") if one[part]
        ]
        print(f"{one['strategy']:14} {one['state']:8} {'  '.join(scores)} {one['reason']}")
    for gap in (one for one in report["differences"] if one["part"] == "test"):
        print(f"  {gap['a']} minus {gap['b']} on test: {gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})")


if __name__ == "__main__":
    main()
