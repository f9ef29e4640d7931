"""Sure answers among 77 labels: all likelihoods read, against those alone that matter to the reader, in turns."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from targets import _task

from whichway import load_task
from whichway.core.strategy import Kit
from whichway.registry import get
from whichway.strategies.parts.tuned import confident, load_tuned
from whichway.strategies.prompt import Prompt

FORMS = ("zero", "few", "nearest")
SHOWN, CALIBRATED = 400, 100  # train rows that examples are taken from, and that a prompt is calibrated on
CHECKED = 64  # test rows, not among those asked, that fit the confidence of weights


def main() -> None:
    """Print seconds of both, how many labels are the same, and how far confidences moved, per prompt."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=96)
    asked.add_argument("--weights", type=Path, help="a fit of finetune on banking77: RUN/trials/finetune/fold-0")
    said = asked.parse_args()
    loaded = load_task(_task("banking77", Path(tempfile.mkdtemp()), 10, []))
    causal, encoder = get("model", "causal")("embedded"), get("model", "encoder")("embedded")
    train, test = list(loaded.examples), list(loaded.test or ())
    made: dict[str, Any] = {}
    for form in FORMS:
        kit = Kit({"causal": causal}, encoder, Path(tempfile.mkdtemp()), 0)
        rows = train[:SHOWN], train[SHOWN : SHOWN + CALIBRATED]
        made[f"prompt-{form}"] = Prompt(form=form).fit(loaded.task, *rows, kit)
    if said.weights:
        weights = load_tuned(loaded.task, said.weights, causal, SimpleNamespace(embedder=None)).inner
        made["finetune"] = confident(weights, test[said.rows : said.rows + CHECKED], 0)
    inputs = [row.inputs for row in test[: said.rows]]
    for name, one in made.items():
        _compare(name, one, inputs)


def _compare(name: str, one: Any, inputs: list[Any]) -> None:
    whole = replace(one, reader=replace(one.reader, sparing=None))
    times: dict[str, list[float]] = {"whole": [], "spared": []}
    answers: dict[str, Any] = {}
    for _ in range(2):
        for kind, prompt in (("whole", whole), ("spared", one)):
            began = time.perf_counter()
            answers[kind] = prompt.predict(inputs)
            times[kind].append(time.perf_counter() - began)
    both = list(zip(answers["whole"], answers["spared"], strict=True))
    moved = [abs(a.confidence - b.confidence) for a, b in both]
    same = sum(a.value == b.value for a, b in both)
    close = one.reader.sparing.close if one.reader.sparing else None
    print(
        f"{name:15} {min(times['whole']):6.1f} s whole, {min(times['spared']):6.1f} s spared, "
        f"{min(times['whole']) / min(times['spared']):.1f} x, {close} heats, same label {same} of {len(both)}, "
        f"confidence moved by {sum(moved) / len(moved):.4f}, {max(moved):.3f} at most",
        flush=True,
    )


if __name__ == "__main__":
    main()
