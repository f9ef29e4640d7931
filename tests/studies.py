"""Small studies for the end-to-end tests: rows, commands, reports without their times, what a ledger holds."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

WORDS = {
    "refund": "money back charge return paid",
    "delivery": "parcel courier late tracking box",
    "account": "login password email profile locked",
}
ONLY = ("--only", "majority,classic")
COMMON = "the my please when order it".split()
TIMED_KEYS = {
    "timing",
    "spent",
    "break_even",
    "cost",
    "flips",
    "seconds",
    "usd",
    "usd_per_1000",
    "p50_ms",
    "p95_ms",
    "rows_per_s",
    "compute_usd",
    "command",
}
TIMED_SENTENCES = re.compile(
    r"^If (an answer must come|an hour of|tokens of|a machine by|1,000 answers)|^(From|Up to) about .* requests a month"
    r"|^95 of 100 single answers|^No volume"
)
MONEY = re.compile(r"\$[\d.,]+")


def write_rows(path: Path, n: int = 150, seed: int = 1, shuffled: bool = False) -> None:
    """Write a CSV of three labels with a text and a number; `shuffled` labels have nothing to do with them."""
    rng, names = random.Random(seed), list(WORDS)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "message", "amount", "label"])
        for i in range(n):
            label = names[i % 3]
            text = " ".join(rng.choice(WORDS[label].split() if rng.random() < 0.4 else COMMON) for _ in range(8))
            said = rng.choice(names) if shuffled else label
            table.writerow([f"r{i}", f"{text} {i}", round(rng.random() * 100, 2), said])


def make_task(folder: Path, n: int = 150, more: str = "", **how: Any) -> Path:
    """Write rows.csv and task.yaml into a folder; return the task file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.csv", n, **how)
    task = folder / "task.yaml"
    task.write_text(
        "task: desk\ninstruction: Sort the message.\ndata: {train: rows.csv}\n"
        "inputs: {message: text, amount: number}\ntarget: label\nid: id\nmetric: accuracy\n"
        "budget: {minutes: 10, usd: 0}\n" + more,
        encoding="utf-8",
    )
    return task


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a command: no terminal's width, one thread, no colours."""
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR")}
    return {**kept, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **more}


def command(*words: Any) -> list[str]:
    """Return the words that start whichway in a process of its own."""
    return [sys.executable, "-m", "whichway", *map(str, words)]


def whichway(*words: Any, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end without a terminal."""
    return subprocess.run(
        command(*words),
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def report_of(folder: Path) -> dict[str, Any]:
    """Read report.json."""
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def strip_timing(part: Any) -> Any:
    """Return a report without times, costs and what follows from them."""
    if isinstance(part, dict):
        return {key: strip_timing(value) for key, value in part.items() if key not in TIMED_KEYS}
    if isinstance(part, list):
        return [strip_timing(one) for one in part if not (isinstance(one, str) and TIMED_SENTENCES.match(one))]
    return MONEY.sub("$", part) if isinstance(part, str) else part


def settled(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return key -> settled units with their results, read as a user would; measured times are left out."""
    book = sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True)
    try:
        found: dict[str, list[tuple[Any, ...]]] = {}
        for key, *unit in book.execute(
            "SELECT key, id, trial, phase, seconds FROM units WHERE state = 'settled' ORDER BY id"
        ):
            found.setdefault(key, []).append(tuple(unit))
        return found
    finally:
        book.close()


def answers(folder: Path) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """Return (trial, part, example) -> what was predicted and how it scored."""
    book = sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True)
    try:
        rows = book.execute("SELECT trial, part, example, value, scores, score, confidence, parsed FROM predictions")
        return {row[:3]: row[3:] for row in rows}
    finally:
        book.close()


def write_plug_in(folder: Path, name: str, code: str) -> Path:
    """Lay a package with one strategy into a folder, as pip would; return the folder for PYTHONPATH."""
    about = folder / f"{name}_way-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / f"{name}_way.py").write_text(code, encoding="utf-8")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-way\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[whichway.strategy]\n{name} = {name}_way:Way\n")
    return folder
