"""Packs what collect.py wrote into bench/replay/matrix.npz: outcomes as bytes, and a table of arms with labels and costs."""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


KEPT = ("set", "seed", "line", "labels", "fit_s", "row_s", "validation", "test")


def main() -> None:
    """Pack every arm found in the JSON Lines files named; an arm given twice counts once, the last one."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("files", type=Path, nargs="+")
    asked.add_argument(
        "--renew",
        action="store_true",
        help="begin with the matrix that there is: arms given replace its outcomes, costs stay those of its machine",
    )
    said = asked.parse_args()
    arms, outcomes = _packed() if said.renew else ({}, {})
    for path in said.files:
        for line in path.read_text().splitlines():
            one = json.loads(line)
            if "_scores" in one:
                key = f"{one['set']}|{one['seed']}|{one['line']}|{one['labels']}"
                outcomes[key] = np.frombuffer(base64.b64decode(one["_scores"]), dtype=np.uint8)
                arms[key] = arms.get(key) or {name: one[name] for name in KEPT}
    order = sorted(arms)
    table = json.dumps([arms[key] for key in order])
    sizes = np.array([len(outcomes[key]) for key in order], dtype=np.int32)
    joined = np.concatenate([outcomes[key] for key in order])
    np.savez_compressed(HERE / "matrix.npz", arms=np.array(table), sizes=sizes, outcomes=joined)
    size, sets = (HERE / "matrix.npz").stat().st_size, {one["set"] for one in arms.values()}
    print(f"{len(order)} arms of {len(sets)} data sets, {size} bytes")


def _packed() -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(HERE / "matrix.npz", allow_pickle=False) as kept:
        arms, parts = json.loads(str(kept["arms"])), np.split(kept["outcomes"], np.cumsum(kept["sizes"])[:-1])
    keys = [f"{one['set']}|{one['seed']}|{one['line']}|{one['labels']}" for one in arms]
    return dict(zip(keys, arms, strict=True)), dict(zip(keys, parts, strict=True))


if __name__ == "__main__":
    main()
