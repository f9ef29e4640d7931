"""Studies on labels that have nothing to do with the rows: how often is any way above majority called decided?"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import beta

from whichway import Options, Watcher, load_task, run_study
from whichway.study import pursuit

WORDS = "parcel late refund login invoice broken screen courier charge locked return email order number plan".split()
LABELS = ("delivery", "money", "account")


def main() -> None:
    """Run --studies studies of majority, classic and probe; print the share decided for a way that learnt nothing."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--studies", type=int, default=100)
    asked.add_argument("--ways", default="majority,classic,probe")
    asked.add_argument("--raced", action="store_true", help="race the ways, however short the study is")
    said = asked.parse_args()
    ways = tuple(said.ways.split(","))
    if said.raced:
        pursuit.RACE_FROM_S = 0.0
    wrong, chosen = 0, []
    for seed in range(said.studies):
        with tempfile.TemporaryDirectory() as folder:
            report = run_study(
                load_task(_task(Path(folder), seed, ways)),
                Path(folder) / "run",
                Options(exhaustive=not said.raced),
                Watcher(),
            )
        verdict = report["recommendation"]
        chosen.append((verdict["strategy"], verdict["level"]))
        above = _value(report, verdict["strategy"]) > _value(report, "majority")
        wrong += verdict["level"] == "decided" and verdict["strategy"] != "majority" and above
        dropped = [one["strategy"] for one in report["trials"] if one["state"] == "dropped"]
        print(f"{seed + 1}: {chosen[-1]}, dropped {dropped}, wrong so far {wrong}", flush=True)
    n = said.studies
    low, high = beta.ppf(0.025, max(wrong, 1e-9), n - wrong + 1), beta.ppf(0.975, wrong + 1, n - wrong)
    print(f"a way above majority was called decided in {wrong} of {n} (95 % {low:.3f} to {high:.3f})")


def _value(report: dict[str, object], name: str) -> float:
    for one in report["trials"]:  # type: ignore[attr-defined]
        if one["strategy"] == name and (found := one["test"] or one["validation"]):
            return float(found["value"])
    return 0.0


def _task(folder: Path, seed: int, ways: Sequence[str]) -> Path:
    rng = random.Random(seed)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["message", "label"])
        for i in range(400):
            table.writerow([" ".join(rng.choice(WORDS) for _ in range(8)) + f" {i}", rng.choice(LABELS)])
    task = folder / "task.yaml"
    task.write_text(
        "task: shuffled\ninstruction: Sort.\ndata: {train: rows.csv}\ninputs: {message: text}\ntarget: label\n"
        f"metric: accuracy\nbudget: {{minutes: 5, usd: 0}}\nseed: {seed}\n"
        f"strategies: {{only: [{', '.join(ways)}]}}\n",
        encoding="utf-8",
    )
    return task


if __name__ == "__main__":
    main()
