"""What preference tuning buys: product copy fine-tuned plainly, with rejected drafts, or with a judge's verdicts."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "models"))

from fault_server import Fault, FaultServer, Seen, answer, to_probe

from whichway.core.strategy import Kit
from whichway.intake.load import load_task
from whichway.registry import get
from whichway.study.run import Options, Watcher, run_study

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "product_copy"
PORT = 8917  # of the judge: a run that goes on finds it there
WAYS = ("plain", "rejected", "judge")


def main() -> None:
    """Run one way in --work (again: it goes on there) and print scores, losses and seconds."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("way", choices=WAYS)
    asked.add_argument("--work", type=Path, default=Path("runs/preferences"))
    asked.add_argument("--minutes", type=float, default=14.0)
    asked.add_argument("--tries", type=int, default=0)
    said = asked.parse_args()
    folder = said.work / f"{said.way}-{said.tries}"
    folder.mkdir(parents=True, exist_ok=True)
    with FaultServer(referee, PORT) as server:
        loaded = load_task(prepared(said.way, folder, said.tries, server.base_url))
        began = time.monotonic()
        told = Watcher(progress=lambda name, one: print(f"  {time.monotonic() - began:5.0f} s  {one.what}", flush=True))
        report = run_study(loaded, folder / "run", Options(only=("finetune",), minutes=said.minutes), told)
    (trial,) = report["trials"]
    keys = ("state", "reason", "validation", "test", "further", "build")
    print(json.dumps({key: trial.get(key) for key in keys}, indent=1))
    for file in sorted((folder / "run").rglob("weights/*.json")):
        if file.name in ("preferences.json", "settings.json"):
            print(file.relative_to(folder / "run"), file.read_text())
    print(
        f"{said.way}: {report['state']}, {time.monotonic() - began:.0f} s of this session, ${report['spent']['usd']:.4f}"
    )


def prepared(way: str, folder: Path, tries: int, url: str) -> Path:
    """Write the task of a way: the example's, with its rows, and drafts of the untrained model as rejected answers."""
    file = folder / "task.yaml"
    said = yaml.safe_load((EXAMPLE / "task.yaml").read_text(encoding="utf-8"))
    settings = {"drafts": 0, "tries": tries, "preference": 0.0 if way == "plain" else 0.1}
    settings |= {"preferences": "judge", "judged": 96} if way == "judge" else {}
    said["strategies"] = {"settings": {"finetune": settings}}
    if way == "judge":
        at = {"base_url": url, "model": "small", "price": {"input": 1.0, "output": 2.0}}
        said |= {"judge": {"model": "checker"}, "models": {"endpoints": {"checker": at}}}
        said["budget"] = {"minutes": 14, "usd": 1}
    rows = [json.loads(line) for line in (EXAMPLE / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    if not (folder / "rows.jsonl").exists():
        if way == "rejected":
            rows = [row | {"rejected": one} for row, one in zip(rows, drafts(folder), strict=True)]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    file.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    return file


def drafts(folder: Path) -> list[str]:
    """Return what the model writes by the instruction alone."""
    loaded = load_task(EXAMPLE / "task.yaml")
    kit = Kit({"causal": get("model", "causal")(loaded.settings.models.causal)}, None, folder)
    strategy: Any = get("strategy", "prompt")(form="zero")
    began = time.monotonic()
    solution = strategy.fit(loaded.task, loaded.examples[:40], loaded.examples[40:48], kit)
    found = [str(one.value) for one in solution.predict([row.inputs for row in loaded.examples])]
    print(f"  {time.monotonic() - began:.0f} s for {len(found)} drafts of the untrained model, such as {found[0]!r}")
    return found


def referee(seen: Seen) -> Fault:
    """Judge as a checker of facts: the text that states more of the attributes wins, by their own words; else it is a tie."""
    asked = seen.body["messages"][-1]["content"]
    if "Answer 1:" not in asked:
        return to_probe(seen) or Fault(body=answer("Grade: 3"))
    values = [
        one.split(": ", 1)[1].lower() for one in _part(asked, "Input:", "A right answer:").splitlines() if ": " in one
    ]
    texts = _part(asked, "Answer 1:", "Answer 2:"), _part(asked, "Answer 2:", "Give a reason")
    first, second = (sum(value in text.lower() for value in values) for text in texts)
    verdict = "tie" if first == second else "1" if first > second else "2"
    return Fault(body=answer(f"{first} and {second} of {len(values)}.\nVerdict: {verdict}"))


def _part(text: str, begin: str, end: str) -> str:
    found = re.search(rf"{re.escape(begin)}\n(.*?)(?:{re.escape(end)}|$)", text, re.DOTALL)
    return found[1] if found else ""


if __name__ == "__main__":
    main()
