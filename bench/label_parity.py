"""Labels that are written: OpenVINO GenAI beside our own engine on 200 prompts, how many agree, how fast each is, in turns."""

# Needs the extra [openvino] and a converted folder of the embedded model: python bench/label_parity.py FOLDER

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from side_by_side.measures import measures

from whichway.models.causal import CausalModel
from whichway.models.decoding import Ask, write
from whichway.models.openvino_check import measure

NEW = 3  # tokens, of which the label is the first


def main() -> None:
    """Print agreement and accuracy, seconds of both, and what the check finds on this machine."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--rows", type=int, default=200)
    said = asked.parse_args()
    model: Any = CausalModel("embedded", openvino=str(said.folder))
    engine = model.quick.engine()
    found = next(one for one in measures(said.rows / 200) if one.name == "score-prefix").inputs()
    asks = [Ask(tuple(model.tokens(one)), NEW) for one in found["groups"][0]]
    sides = {
        "whichway": lambda part: write(model.network, model.scorer.prefixes, part, frozenset()),
        "OpenVINO GenAI": lambda part: engine.write(part, frozenset()),
    }
    for one in sides.values():
        one(asks[:4])  # what all begin with is known to both
    seconds, labels = dict.fromkeys(sides, 0.0), {name: list[str]() for name in sides}
    half = len(asks) // 2
    for part in (asks[:half], asks[half:]):
        for name, one in sides.items():
            began = time.perf_counter()
            written = one(part)
            seconds[name] += time.perf_counter() - began
            labels[name] += [model.tokenizer.decode(each.tokens).split("\n")[0].strip() for each in written]
    right = [found["labels"][one].strip() for one in found["targets"]]
    for name, own in labels.items():
        accuracy = sum(a == b for a, b in zip(own, right, strict=True)) / len(right)
        print(f"{name:16} {seconds[name]:6.2f} s, accuracy {accuracy:.3f}")
    same = sum(a == b for a, b in zip(*labels.values(), strict=True))
    print(f"the same label on {same} of {len(right)} prompts ({same / len(right):.1%})")
    began = time.perf_counter()
    verdict = measure(model, engine)
    print(f"the check, {time.perf_counter() - began:.1f} s: {verdict}\n{verdict.refusal() or 'OpenVINO GenAI writes'}")


if __name__ == "__main__":
    main()
