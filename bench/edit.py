"""From an edit of a prompt to its new score: 200 validation rows, embedded model, the whole command timed."""

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
            began = time.perf_counter()
            command = [
                sys.executable,
                "-m",
                "whichway",
                "run",
                str(task),
                "--out",
                str(where / "run"),
                "--only",
                "prompt-few",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - began
            (trial,) = json.loads((where / "run" / "report.json").read_text())["trials"]
            score = trial["validation"]
            print(
                f"{name:7} exit {done.returncode}, {seconds:.1f} s in all, {score['value']:.3f} on {score['n']} rows",
                flush=True,
            )
            for line in done.stderr.splitlines():
                if "(" in line and "s)" in line:
                    print("   ", line)


def _task(more: str, shots: int) -> str:
    return (
        f"task: edit\ninstruction: {json.dumps('Say whether the text message is spam or ham (a normal message).' + more)}\n"
        "data: {train: rows.jsonl}\nmetric: accuracy\nbudget: {minutes: 10}\n"
        f"strategies: {{settings: {{prompt-few: {{shots: {shots}}}}}}}\n"
    )


if __name__ == "__main__":
    main()
