"""What preference tuning buys on product copy: plain fine-tuning, then with rejected drafts, or with a checker for a judge."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from whichway.core.strategy import Kit
from whichway.core.task import Example, Prediction, Task
from whichway.intake.load import load_task
from whichway.registry import get
from whichway.study.run import taught
from whichway.study.split import make_split

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "product_copy"
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"preference": 0.0},
    "rejected": {},
    "judge": {"preferences": "judge"},
    "tries": {"preference": 0.0, "tries": 5},
}


class Checker:
    """A judge of facts: the draft that states more of the row's attributes, in their own words, is better."""

    def better(self, rows: Sequence[Example], ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> list[Any]:
        """Return 'a', 'b' or 'tie' per row."""
        pairs = [(stated(row, a), stated(row, b)) for row, a, b in zip(rows, ours, theirs, strict=True)]
        return ["tie" if a == b else "a" if a > b else "b" for a, b in pairs]


def stated(row: Example, answer: Prediction) -> int:
    """Count the attributes that a text states."""
    return sum(str(value).lower() in str(answer.value).lower() for value in row.inputs.values() if value)


def main() -> None:
    """Fit one way on --train rows, answer --test others, and print scores beside those of the plain way."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("way", choices=tuple(SETTINGS))
    asked.add_argument("--work", type=Path, default=Path("runs/preferences"))
    asked.add_argument("--train", type=int, default=120)
    asked.add_argument("--dev", type=int, default=30)
    asked.add_argument("--test", type=int, default=80)
    asked.add_argument("--settings", type=json.loads, default={"epochs": 2})
    said = asked.parse_args()
    loaded = load_task(EXAMPLE / "task.yaml")
    task = taught(loaded.task, {row.id: row for row in loaded.examples}, make_split(loaded.examples, None, 0))
    rows = random.Random(0).sample(loaded.examples, len(loaded.examples))
    train, rest = rows[: said.train], rows[said.train :]
    dev, test = rest[: said.dev], rest[said.dev : said.dev + said.test]
    folder = said.work / said.way
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    causal = get("model", "causal")(loaded.settings.models.causal)
    kit = Kit(
        {"causal": causal},
        None,
        folder,
        judge=Checker(),
        progress=lambda one: told(began, f"{one.what} {one.done:g} of {one.total:g}"),
    )
    if said.way == "rejected":
        train, dev = (rejecting(task, part, folder.parent, kit) for part in (train, dev))
    settings = {"drafts": 0, **said.settings, **SETTINGS[said.way]}
    strategy: Any = get("strategy", "finetune")(**settings)
    if not (folder / "done").exists():  # an answer cut off is not worth another training
        strategy.fit(task, train, dev, kit).save(folder)
        (folder / "done").touch()
    solution = strategy.load(task, folder, kit)
    built = time.monotonic() - began
    answers = solution.predict([row.inputs for row in test])
    scored(task, test, answers, folder)
    for name in ("preferences.json", "settings.json"):
        if (folder / "weights" / name).exists():
            print(name, (folder / "weights" / name).read_text())
    took = time.monotonic() - began
    print(
        f"{said.way}: {json.dumps(settings)}, {len(train)} + {len(dev)} rows, {built:.0f} s to build, {took:.0f} s in all"
    )


def told(began: float, what: str) -> None:
    """Print a line of progress."""
    print(f"  {time.monotonic() - began:5.0f} s  {what}", flush=True)


def rejecting(task: Task, rows: Sequence[Example], folder: Path, kit: Kit) -> list[Example]:
    """Return rows with what the untrained model writes by the instruction alone as rejected answers."""
    file = folder / "drafts.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    missing = [row for row in rows if row.id not in known]
    if missing:
        prompt: Any = get("strategy", "prompt")(form="zero")
        solution = prompt.fit(task, rows[:8], rows[:4], kit)
        known |= {
            row.id: str(one.value)
            for row, one in zip(missing, solution.predict([r.inputs for r in missing]), strict=True)
        }
        file.write_text(json.dumps(known, ensure_ascii=False))
    return [replace(row, rejected=(known[row.id],)) if known[row.id] else row for row in rows]


def scored(task: Task, rows: Sequence[Example], answers: Sequence[Prediction], folder: Path) -> None:
    """Print the mean of each metric, and its paired difference to the plain way where that was run."""
    found: dict[str, list[float]] = {}
    for metric in (task.metric, *task.further):
        scores = [metric.score_example(row, one) for row, one in zip(rows, answers, strict=True)]
        found[metric.name] = [float(metric.aggregate([one])) for one in scores]
    (folder / "scores.json").write_text(json.dumps(found))
    (folder / "texts.json").write_text(json.dumps([one.value for one in answers], ensure_ascii=False, indent=0))
    plain = folder.parent / "plain" / "scores.json"
    before = json.loads(plain.read_text()) if plain.exists() and folder.name != "plain" else {}
    for name, values in found.items():
        line = f"{name}: {sum(values) / len(values):.4f} (n={len(values)})"
        if name in before:
            gap = _gap(values, before[name])
            line += f", plain {sum(before[name]) / len(values):.4f}, difference {gap}"
        print(line)


def _gap(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the mean difference and its 95 % interval by the paired bootstrap."""
    rng, gaps = random.Random(0), [a - b for a, b in zip(ours, theirs, strict=True)]
    means = sorted(sum(rng.choices(gaps, k=len(gaps))) / len(gaps) for _ in range(4000))
    return f"{sum(gaps) / len(gaps):+.4f} ({means[100]:+.4f} to {means[3900]:+.4f})"


if __name__ == "__main__":
    main()
