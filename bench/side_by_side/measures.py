"""What is compared with what: the measures, their sides, and the inputs that all sides of one are given."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from side_by_side.machine import Failed, gpu, number_format

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = Path(os.environ.get("WHICHWAY_DATA", ROOT.parent / "shared" / "data"))
PEERS = ROOT / ".bench"


Side = tuple[str, str, str, dict[str, str]]


@dataclass(frozen=True)
class Measure:
    """One comparison: `sides` are (name shown, script, side, environment variables), ours first.

    Of the sides with a BATCH in their environment each has one turn, and the fastest all turns.
    """

    name: str
    inputs: Callable[[], dict[str, Any]]
    sides: tuple[Side, ...]
    needs: tuple[str, ...] = ()
    same_work: bool = True  # whether the sides' qualities may be compared


def measures(scale: float) -> list[Measure]:
    """Return all comparisons, with their inputs made when they are run."""
    ours = ("whichway", "score.py", "whichway", {})
    answer, every = ("whichway", "score.py", "whichway_answer", {}), ("whichway, all likelihoods", *ours[1:])
    peer, side, sizes, needs = "lm-eval", "lm_eval", {"prefix": (1, 4, 8, 16), "77": (4, 16)}, ("lm_eval",)
    if gpu():  # the harness brings dozens of packages; transformers alone, at three batch sizes, stands for it
        peer, side, sizes, needs = "transformers", "plain", dict.fromkeys(sizes, (16, 64, 256)), ()

    def batches(what: str) -> list[Side]:
        return [(f"{peer}, batch {n}", "score.py", side, {"BATCH": str(n)}) for n in sizes[what]]

    return [
        Measure("score-prefix", lambda: _prefix_inputs(1, int(200 * scale)), (ours, *batches("prefix")), needs),
        Measure("score-77", lambda: _many_labels(int(100 * scale)), (answer, every, *batches("77")), needs),
        Measure(
            "candidates",
            lambda: _prefix_inputs(30, int(200 * scale)),
            (ours, ("transformers, prefix copied per batch", "score.py", "copied_prefix", {})),
        ),
        Measure(
            "lora",
            lambda: _training(int(200 * scale)),
            (
                ("whichway", "train.py", "whichway", {}),
                ("trl as it comes", "train.py", "trl_defaults", {}),
                ("trl, best settings", "train.py", "trl_best", {}),
            ),
        ),
        Measure(
            "lora-step",
            lambda: _training(int(200 * scale)),
            (("whichway", "step.py", "whichway", {}), ("PEFT, head at answers only", "step.py", "peft", {})),
        ),
        Measure(
            "lora-arms",  # what training arms of one base side by side could gain at most: their rows in one pass
            lambda: _training(int(200 * scale)),
            (
                ("rows of three arms at once", "step.py", "whichway", {"ROWS": "24"}),
                ("one arm after the other", "step.py", "whichway", {"ROWS": "8"}),
            ),
            same_work=False,  # after as many steps one has learned from three times the rows
        ),
        *_all_weights(scale),
        Measure(
            "generate",
            lambda: _writing(int(64 * scale)),
            (
                ("whichway", "generate.py", "whichway", {}),
                ("transformers, batches of 16", "generate.py", "transformers", {}),
            ),
        ),
        *_beside_openvino(scale),
        Measure(
            "embed",
            lambda: _texts(int(2000 * scale)),
            (
                ("whichway", "embed.py", "whichway", {}),
                ("whichway, second time", "embed.py", "whichway_again", {}),
                ("sentence-transformers as it comes", "embed.py", "sentence_transformers", {}),
            ),
        ),
    ]


def _all_weights(scale: float) -> list[Measure]:
    """Return full fine-tuning with products in bf16 and in fp32, where a processor has both."""
    if number_format() == "fp32":
        return []
    sides = (
        ("whichway, bf16 products", "train.py", "full", {}),
        ("whichway, fp32", "train.py", "full", {"WHICHWAY_DTYPE": "fp32"}),
    )
    return [Measure("full", lambda: _training(int(200 * scale)), sides)]


def _beside_openvino(scale: float) -> list[Measure]:
    """Return comparisons with OpenVINO GenAI, which computes on processors alone (and on Intel's GPUs)."""
    if gpu():
        return []
    needs = ("openvino",)
    kept = {"IR": str(PEERS / "ir-bf16")}  # the converted model: made by the first side that finds none
    peer, own = "OpenVINO GenAI, bf16", "with_openvino.py"

    def beside(name: str, inputs: Any, script: str, sides: tuple[str, str]) -> Measure:
        both = (("whichway", script, sides[0], {}), (peer, own, sides[1], kept))
        return Measure(f"openvino-{name}", inputs, both, needs=needs)

    return [
        beside("write", lambda: _writing(int(64 * scale)), "generate.py", ("whichway", "write")),
        beside("single", lambda: _writing(int(8 * scale)), "generate.py", ("whichway_single", "write_single")),
        beside("score", lambda: _prefix_inputs(1, int(200 * scale)), "score.py", ("whichway", "score")),
    ]


def _prefix_inputs(candidates: int, rows: int) -> dict[str, Any]:
    """Prompts of about 480 shared tokens: sms_spam's messages behind shown examples, other ones for each candidate."""
    train, test = _rows("sms_spam", "train"), _rows("sms_spam", "test")[:rows]
    shown, groups = random.Random(1), []
    for _ in range(candidates):
        start = "Say whether the text message is spam or ham (a normal message).\n\n"
        while len(start) < 1500:
            one = shown.choice(train)
            start += f"Message: {one['input']}\nAnswer: {one['output']}\n\n"
        groups.append([f"{start}Message: {one['input']}\nAnswer:" for one in test])
    labels = [" ham", " spam"]
    targets = [labels.index(" " + one["output"]) for one in test]
    return {"model": _causal(), "groups": groups, "labels": labels, "targets": targets}


def _many_labels(rows: int) -> dict[str, Any]:
    """banking77's messages behind a short instruction, 77 labels of several tokens."""
    test = random.Random(2).sample(_rows("banking77", "test"), rows)
    names = sorted({one["output"] for one in _rows("banking77", "test")})
    prompts = [f"The customer writes: {one['input']}\nIntent:" for one in test]
    labels = [" " + name.replace("_", " ") for name in names]
    return {
        "model": _causal(),
        "groups": [prompts],
        "labels": labels,
        "targets": [names.index(one["output"]) for one in test],
    }


def _training(rows: int) -> dict[str, Any]:
    """Pairs of sms_spam for training and 200 others to look at the result."""
    train, held = random.Random(3).sample(_rows("sms_spam", "train"), rows), _rows("sms_spam", "test")[:200]
    form = "Message: {input}\nAnswer:"
    return {
        "model": _causal(),
        "prompts": [form.format(**one) for one in train],
        "completions": [" " + one["output"] for one in train],
        "held_prompts": [form.format(**one) for one in held],
        "held_completions": [" " + one["output"] for one in held],
        "labels": [" ham", " spam"],
    }


def _writing(rows: int) -> dict[str, Any]:
    """Messages behind an instruction of about 200 tokens, to be continued by 40."""
    start = "Here are messages of customers, each with a polite answer of one sentence.\n\n"
    for one in _rows("sms_spam", "train")[:6]:
        start += f"Message: {one['input'][:100]}\nAnswer: Thank you for your message, we are looking into it.\n\n"
    some = _rows("sms_spam", "test")[:rows]
    return {"model": _causal(), "new": 40, "prompts": [f"{start}Message: {one['input']}\nAnswer:" for one in some]}


def _texts(rows: int) -> dict[str, Any]:
    from whichway.models.embedded import encoder_folder

    some = random.Random(4).sample(_rows("banking77", "test"), rows)
    return {
        "model": str(encoder_folder()),
        "texts": [one["input"] for one in some],
        "targets": [one["output"] for one in some],
    }


def _rows(name: str, part: str) -> list[dict[str, str]]:
    path = DATA / name / f"{part}.jsonl"
    if not path.exists():
        raise Failed(f"{path} is missing: set WHICHWAY_DATA to the folder of measuring data")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _causal() -> str:
    from whichway.models.embedded import causal_folder

    return str(causal_folder())
