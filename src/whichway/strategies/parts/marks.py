"""How rows of a prompt are marked: a grammar of formats that keep its meaning, each with a number."""

# Formats alone can move a model's accuracy by tens of points (Sclar et al. 2024, "Quantifying language models' sensitivity
# to spurious features in prompt design"), hence a grammar to search in and to sample from. Numbers below WRITTEN are
# hand-made; the others are all combinations of the parts below.

from __future__ import annotations

import random
from dataclasses import dataclass

NAMES = (
    ("Input", "Answer"),
    ("Text", "Label"),
    ("Message", "Category"),
    ("Question", "Answer"),
    ("Case", "Decision"),
    ("Q", "A"),
)
SEPARATORS = (": ", " - ", ":\n", " => ")
CASES = ("as is", "upper", "lower")
GAPS = ("\n\n", "\n", "\n---\n")
BULLETS = ("- ", "* ")
PARTS = (NAMES, SEPARATORS, CASES, GAPS, BULLETS)


@dataclass(frozen=True)
class Marks:
    """What stands before a row's input and before its answer, between blocks, and before each label of a list."""

    asks: str
    answers: str
    gap: str = "\n\n"
    bullet: str = "- "
    turned: bool = False  # labels are listed from the last to the first


BY_HAND = (
    Marks("Input: ", "Answer: "),
    Marks("Text: ", "Label: "),
    Marks("INPUT: ", "ANSWER: ", "\n", "* "),
    Marks("Message - ", "Category - "),
    Marks("Input:\n", "Answer:\n", bullet="* ", turned=True),
    Marks("### Input: ", "### Answer: "),
)
WRITTEN = len(BY_HAND)


def count() -> int:
    """Return how many formats there are."""
    total = 1
    for part in PARTS:
        total *= len(part)
    return WRITTEN + total


def marks(number: int) -> Marks:
    """Return format `number`; from WRITTEN on, its digits choose one of each part of the grammar."""
    if number < WRITTEN:
        return BY_HAND[number]
    rest = number - WRITTEN
    chosen = []
    for part in PARTS:
        rest, digit = divmod(rest, len(part))
        chosen.append(digit)
    names, between = NAMES[chosen[0]], SEPARATORS[chosen[1]]
    asks, answers = (_cased(name, CASES[chosen[2]]) + between for name in names)
    return Marks(asks, answers, GAPS[chosen[3]], BULLETS[chosen[4]])


def sample(size: int, seed: int) -> list[int]:
    """Return numbers of different formats: those by hand first, then a random choice of the grammar's."""
    others = random.Random(f"formats {seed}").sample(range(WRITTEN, count()), max(0, size - WRITTEN))
    return [*range(min(size, WRITTEN)), *others]


def others(own: int, size: int) -> list[int]:
    """Return numbers of formats other than `own`, by hand and from the grammar in turns."""
    by_hand, made = range(WRITTEN), sample(WRITTEN + size, 1)[WRITTEN:]
    turns = (one for pair in zip(by_hand, made, strict=False) for one in pair)
    return [one for one in (*turns, *by_hand, *made) if one != own][:size]


def _cased(name: str, case: str) -> str:
    return name.upper() if case == "upper" else name.lower() if case == "lower" else name
