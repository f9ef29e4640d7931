"""From an edit of a prompt to its new score: 200 validation rows, embedded model, the whole command timed.

The edit is in the instruction, at the head of the prompt, and each command is a process of its own: nothing that was computed for
the prompt before is of use to the one after.
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
    said = asked.parse_args()
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
