"""Writing JSON held to a schema beside writing freely: how many answers are valid, and what holding costs."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from whichway import load_task
from whichway.core.fields import Fields
from whichway.core.model import Request
from whichway.models.causal import CausalModel

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "invoice_fields" / "task.yaml"
ROUNDS = 3
TIMED = 64
SHOWN = 160  # characters of an invoice: the form is measured here, not the extraction
LINE = {"description": "string", "quantity": "integer", "unit_price": "number", "delivered_on": ["string", "null"]}
LISTS = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": kind} for name, kind in LINE.items()},
                "required": list(LINE),
                "additionalProperties": False,
            },
        },
        "paid": {"type": "boolean"},
    },
    "required": ["number", "lines", "paid"],
    "additionalProperties": False,
}


def main() -> None:
    """Answer the rows of the invoice example, again and again at other temperatures; time both ways in turns."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--answers", type=int, default=2000)
    asked.add_argument("--most", type=int, default=60)
    asked.add_argument(
        "--lists", action="store_true", help="objects with a list of objects, with room for 40 to 100 tokens"
    )
    said = asked.parse_args()
    loaded, model = load_task(EXAMPLE), CausalModel()
    output = Fields(LISTS) if said.lists else loaded.task.output
    texts = [f"{output.ask()}\n\n{str(row.inputs['input'])[:SHOWN]}" for row in loaded.examples]

    def requests(count: int, held: bool) -> list[Request]:
        schema = output.schema if held else None
        heats = [0.0 if i < len(texts) else 0.4 + (i // len(texts)) % 6 * 0.3 for i in range(count)]
        rooms = [40 + i * 7 % 61 if said.lists else said.most for i in range(count)]
        return [
            Request((("user", texts[i % len(texts)]),), room, heat, None, schema)
            for i, (heat, room) in enumerate(zip(heats, rooms, strict=True))
        ]

    model.generate(requests(8, True))
    model.generate(requests(8, False))
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for held in (True, False):
            began = time.perf_counter()
            replies = model.generate(requests(TIMED, held))
            speeds[held].append(sum(one.spend.tokens_out for one in replies) / (time.perf_counter() - began))
    free, kept = statistics.median(speeds[False]), statistics.median(speeds[True])
    cost = f"{free / kept - 1:+.1%} (median of {ROUNDS}, {TIMED} rows)"
    print(f"free {free:.0f} tokens/s, held to the schema {kept:.0f} tokens/s: {cost}")
    replies = model.generate(requests(said.answers, True))
    bad = [one.text for one in replies if not _is_valid(output, one.text)]
    cut = sum(one.finish == "length" for one in replies)
    print(f"{len(replies)} answers, {len(bad)} invalid, {cut} brought to their end early")
    for text in bad[:5]:
        print(f"  {text!r}")


def _is_valid(output: object, text: str) -> bool:
    try:
        return bool(output.accepts(json.loads(text)))  # type: ignore[attr-defined]
    except ValueError:
        return False


if __name__ == "__main__":
    main()
