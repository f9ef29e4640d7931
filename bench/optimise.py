"""What the search for a prompt buys on the sealed test part, over the few-shot prompt, and what it costs."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from whichway.study.ledger import read_prompts

HERE = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("WHICHWAY_DATA", "../shared/data")).resolve()
SETS = ("sms_spam", "support_triage", "banking10")
TEST_ROWS = 500
PROMPTS = 30


def main() -> None:
    """Run the ways on each set, certify them on the test part, and print paired differences and what each step bought."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument(
        "names", nargs="*", default=list(SETS), help="also banking2 ... banking77, or an example of examples/"
    )
    asked.add_argument("--work", type=Path, default=Path("runs/optimise"))
    asked.add_argument("--minutes", type=float, default=20)
    asked.add_argument("--no-gate", action="store_true", help="search even where there is no headroom")
    asked.add_argument("--only", default="prompt-few,optimise", help="ways to compare; hybrid is told step by step")
    asked.add_argument("--metric", default="", help="instead of the one that the task file names")
    asked.add_argument("--settings", type=json.loads, default={}, help="JSON: settings of ways, as in a task file")
    said = asked.parse_args()
    for name in said.names:
        folder = said.work / (name + ("-no-gate" if said.no_gate else ""))
        task = _task(name, folder, said.minutes, {"optimise": {"gate": not said.no_gate}, **said.settings}, said.metric)
        command = [sys.executable, "-m", "whichway", "run", str(task), "--out", str(folder / "run")]
        done = subprocess.run([*command, "--only", said.only], check=False, stdout=subprocess.DEVNULL)
        if done.returncode in (0, 4, 6):  # else it stopped before it compared anything, and said why
            _tell(name, folder / "run")


def _tell(name: str, run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    for one in report["trials"]:
        scores = [f"{p} {one[p]['value']:.4f} (n={one[p]['n']})" for p in ("validation", "test") if one[p]]
        print(f"{name}: {one['strategy']:11} {one['state']:8} {'  '.join(scores)} {one['reason']}")
    for gap in (one for one in report["differences"] if one["part"] == "test"):
        print(f"  {gap['a']} minus {gap['b']} on test: {gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})")
    for way in report["steps"]:
        for one in way["steps"]:
            score, gain = ((one[key] or {"value": float("nan"), "low": 0, "high": 0}) for key in ("score", "gain"))
            print(f"  {way['strategy']}, {one['name']}: {score['value']:.4f}, {gain['value']:+.4f} "
                  f"({gain['low']:+.4f} to {gain['high']:+.4f}) {one['said']}")  # fmt: skip
    for one in report["searches"]:
        scored = [p for p in read_prompts(run) if p["part"] == "train"]
        whole = scored[0]["seconds"]
        spent = sum(p["seconds"] for p in {p["id"]: p for p in scored}.values())
        print(f"  {one['scored']} prompts scored in {spent:.1f} s; {PROMPTS} prompts on all rows {PROMPTS * whole:.1f} s: "
              f"{spent / (PROMPTS * whole):.2f} x")  # fmt: skip
        print(f"  over its own seed on validation {one['gain']['value']:+.4f}")
        if one["test"]:
            seed, gap = one["test"]["seed_score"], one["test"]["gain"]
            print(f"  its own seed on the same test rows {seed['value']:.4f}: "
                  f"gain {gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f}, n={gap['n']})")  # fmt: skip
        for edit in one["edits"]:
            print(f"    {edit['what']}: {edit['before']!r} -> {edit['after']!r}: {edit['bought']:+.4f}")


def _task(name: str, folder: Path, minutes: float, settings: dict[str, Any], metric: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if (HERE / "examples" / name).exists():
        said = yaml.safe_load((HERE / "examples" / name / "task.yaml").read_text(encoding="utf-8"))
        said["data"] = str(HERE / "examples" / name / "rows.jsonl")
    else:
        said = _spam(folder) if name == "sms_spam" else _banking(folder, int(name.removeprefix("banking")))
    said |= {"budget": {"minutes": minutes, "usd": 0}}
    said["strategies"] = {"settings": settings}
    said |= {"metric": metric} if metric else {}
    (folder / "task.yaml").write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    return folder / "task.yaml"


def _spam(folder: Path) -> dict[str, Any]:
    _write(folder, _rows("sms_spam", "train"), _rows("sms_spam", "test"), 400)
    return _said("sms_spam", "Say whether the text message is spam or ham (a normal message).")


def _banking(folder: Path, intents: int) -> dict[str, Any]:
    """Some intents of banking77, a fixed choice."""
    train, test = _rows("banking77", "train"), _rows("banking77", "test")
    names = random.Random(0).sample(sorted({one["output"] for one in train}), intents)
    _write(folder, *([one for one in rows if one["output"] in names] for rows in (train, test)), 400)
    return _said(f"banking{intents}", "Classify the banking customer's message into exactly one intent.")


def _said(name: str, instruction: str) -> dict[str, Any]:
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    return {"task": name, "instruction": instruction, "data": files, "inputs": ["input"], "target": "output"}


def _rows(name: str, part: str) -> list[dict[str, Any]]:
    lines = (DATA / name / f"{part}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(one) for one in lines if one]


def _write(folder: Path, train: list[Any], test: list[Any], count: int) -> None:
    rng = random.Random(0)
    for part, rows, most in (("train", train, count), ("test", test, TEST_ROWS)):
        chosen = rng.sample(rows, min(most, len(rows)))
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in chosen), encoding="utf-8")


if __name__ == "__main__":
    main()
