"""Packs what collect.py wrote into bench/replay/matrix.npz: outcomes as bytes, and a table of arms with labels and costs."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def main() -> None:
    """Pack every arm found in the JSON Lines files named; an arm given twice counts once, the last one."""
    arms, outcomes = {}, {}
    for path in map(Path, sys.argv[1:]):
        for line in path.read_text().splitlines():
            one = json.loads(line)
            if "_scores" in one:
                key = f"{one['set']}|{one['seed']}|{one['line']}|{one['labels']}"
                outcomes[key] = np.frombuffer(base64.b64decode(one["_scores"]), dtype=np.uint8)
                kept = ("set", "seed", "line", "labels", "fit_s", "row_s", "validation", "test")
                arms[key] = {name: one[name] for name in kept}
    order = sorted(arms)
    table = json.dumps([arms[key] for key in order])
    sizes = np.array([len(outcomes[key]) for key in order], dtype=np.int32)
    joined = np.concatenate([outcomes[key] for key in order])
    np.savez_compressed(HERE / "matrix.npz", arms=np.array(table), sizes=sizes, outcomes=joined)
    size, sets = (HERE / "matrix.npz").stat().st_size, {one["set"] for one in arms.values()}
    print(f"{len(order)} arms of {len(sets)} data sets, {size} bytes")


if __name__ == "__main__":
    main()
