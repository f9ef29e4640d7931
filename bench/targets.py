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
from typing import Any

DATA = Path(os.environ.get("WHICHWAY_DATA", "../shared/data")).resolve()
SETS: dict[str, dict[str, Any]] = {
    "banking77": {"train": "train_10shot.jsonl", "minutes": 15},
    "sms_spam": {"rows": 400, "minutes": 15},
    "cuad_clause_type": {"rows": 1500, "minutes": 25},
    "stackfaq": {"minutes": 25, "metric": "token_f1", "output": {"shape": "text"}, "documents": True},
    "pubmedqa": {"minutes": 40, "documents": True, "inputs": ["question"]},
    "pubmedqa_gold": {"of": "pubmedqa", "minutes": 40, "gold": True, "inputs": ["question", "abstract"]},
    "cuad_contract_qa": {"minutes": 40, "metric": "token_f1", "output": {"shape": "text"}, "documents": True},
    "sec_loan_ner": {"minutes": 40, "metric": "entity_f1", "output": {"shape": "fields"}},
    "e2e_nlg_cleaned": {
        "rows": 400,
        "test_rows": 300,
        "minutes": 40,
        "metric": "chrf",
        "further": ["slot_coverage", "rouge_l"],
        "output": {"shape": "text"},
        "inputs": ["name", "eatType", "food", "priceRange", "customer rating", "area", "familyFriendly", "near"],
    },
    "meqsum": {"minutes": 40, "metric": "rouge_l", "output": {"shape": "text"}, "further": ["token_f1"]},
}
INSTRUCTIONS = {
    "banking77": "Classify the banking customer's message into exactly one intent.",
    "sms_spam": "Say whether the text message is spam or ham (a normal message).",
    "cuad_clause_type": "Classify the contract clause into exactly one clause type.",
    "stackfaq": "Answer the user's question from the FAQ.",
    "pubmedqa_gold": "Answer the research question with yes, no or maybe, based on the abstract.",
    "pubmedqa": "Answer the research question with yes, no or maybe.",
    "cuad_contract_qa": "Answer the question about the named contract. Give the short answer only.",
    "sec_loan_ner": "List the people and parties, organisations, locations and other names in the sentence, as written.",
    "e2e_nlg_cleaned": "Describe the restaurant in one or two sentences that state every attribute and nothing else.",
    "meqsum": "Summarise the patient's message as one short question.",
}


def main() -> None:
    """Write a task file per data set into --work, run it, print validation and test scores of each strategy."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", default=list(SETS))
    asked.add_argument("--work", type=Path, default=Path("runs/targets"))
    asked.add_argument("--only", default="")
    asked.add_argument("--minutes", type=float)
    asked.add_argument("--all", action="store_true", help="search for prompts, too")
    said = asked.parse_args()
    for name in said.names:
        folder = said.work / name
        task = _task(name, folder, said.minutes or SETS[name]["minutes"], [] if said.all else ["optimise"])
        began = time.time()
        command = [sys.executable, "-m", "whichway", "run", str(task), "--out", str(folder / "run")]
        code = subprocess.run([*command, *(["--only", said.only] if said.only else [])], check=False).returncode
        report = json.loads((folder / "run" / "report.json").read_text())
        print(f"{name}: exit {code}, {time.time() - began:.0f} s, recommends {report['recommendation']['strategy']}")
        for one in report["trials"]:
            scores = [
                f"{part} {one[part]['value']:.4f} (n={one[part]['n']})" for part in ("validation", "test") if one[part]
            ]
            found = [f"{key} {value:.3f}" for key, value in (one["retrieval"] or {}).items() if key.startswith("hit")]
            apart = one["familiarity"]
            found += [f"{key} {apart[key]['value']:.3f} (n={apart[key]['n']})" for key in ("seen", "unseen") if apart]
            more = [f"{key} {(had['test'] or had['validation'])['value']:.4f}" for key, had in one["further"].items()]
            print(f"  {one['strategy']:16} {one['state']:8} {'  '.join([*scores, *found, *more])} {one['reason']}")


def _task(name: str, folder: Path, minutes: float, skip: list[str]) -> Path:
    about = SETS[name]
    folder.mkdir(parents=True, exist_ok=True)
    home = DATA / about.get("of", name)
    _copy(home / about.get("train", "train.jsonl"), folder / "train.jsonl", about.get("rows", 0), about.get("gold"))
    _copy(home / "test.jsonl", folder / "test.jsonl", about.get("test_rows", 0), about.get("gold"))
    said = {
        "task": name,
        "instruction": INSTRUCTIONS[name],
        "data": {"train": "train.jsonl", "test": "test.jsonl"},
        "inputs": about.get("inputs") or _inputs(folder / "train.jsonl"),
        "target": "output",
        "output": about.get("output", {"shape": "labels"}),
        "metric": about.get("metric", "accuracy"),
        "further": about.get("further", []),
        "budget": {"minutes": minutes, "usd": 0},
        "strategies": {"skip": skip},  # of searches for prompts see bench/optimise.py
    }
    if about.get("documents"):
        said["documents"] = str(DATA / name / "documents.jsonl")
    (folder / "task.yaml").write_text(json.dumps(said, indent=1), encoding="utf-8")
    return folder / "task.yaml"


def _copy(source: Path, to: Path, rows: int, gold: bool | None = False) -> None:
    """Copy rows, or a fixed random choice of them; with `gold`, the text of their gold document as a field `abstract`."""
    lines = _lines(source)
    if gold:
        texts = {one["id"]: one["text"] for one in map(json.loads, _lines(source.parent / "documents.jsonl"))}
        every = [json.loads(one) for one in lines]
        for row in every:
            row["input"]["abstract"] = "\n".join(texts[one] for one in row.pop("gold_doc_ids"))
        lines = [json.dumps(row) for row in every]
    to.write_text("\n".join(random.Random(0).sample(lines, rows) if rows else lines) + "\n", encoding="utf-8")


def _lines(file: Path) -> list[str]:
    return [one for one in file.read_text(encoding="utf-8").split("\n") if one]


def _inputs(file: Path) -> list[str]:
    first = json.loads(file.read_text(encoding="utf-8").splitlines()[0])["input"]
    return list(first) if isinstance(first, dict) else ["input"]


if __name__ == "__main__":
    main()
