"""Writes src/whichway/study/beliefs.json: what each arm scored on each data set of the matrix, for the race to begin with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from replay import beliefs_without, by_set

OUT = Path(__file__).parents[2] / "src" / "whichway" / "study" / "beliefs.json"


def main() -> None:
    """Write the table; the races of real studies use it whole, replays always without the data set at hand."""
    table, names = beliefs_without(by_set(), "")
    rows = [[None if np.isnan(one) else round(float(one), 4) for one in row] for row in table]
    about = "Mean scores of arms (line, rung: 0 to 3 for n/8, n/4, n/2, n train rows) on labelling tasks; bench/replay/learn.py"
    OUT.write_text(json.dumps({"about": about, "arms": names, "scores": rows}) + "\n", encoding="utf-8")
    print(f"{len(rows)} data sets, {len(names)} arms: {OUT}")


if __name__ == "__main__":
    main()
