"""Labels that are probably the same one, spelled in two ways."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from whichway.core.output import Labels
from whichway.intake.finding import Finding, show
from whichway.intake.near import fold

_SEPARATORS = re.compile(r"[|\n]")  # a comma is told apart: see Labels.read


def label_findings(output: Labels, counts: Counter[str]) -> list[Finding]:
    """Return what is doubtful about the names of the labels; `counts` are rows per label."""
    names = sorted({*output.names, *counts})
    found = []
    hidden = [name for name in names if any(unicodedata.category(char) in ("Cf", "Cc") for char in name)]
    if hidden:
        message = f"Labels with invisible characters: {_listed(hidden)}. Remove them, or they stay labels of their own."
        found.append(Finding("label-invisible", "warning", message))
    for one, two in _same_folded(names):
        message = f"The labels {show(one)} and {show(two)} differ only in case, spaces, punctuation or Unicode form."
        found.append(Finding("label-variants", "warning", message))
    for one, two in _typos(names, counts):
        message = f"The label {show(one)} ({counts[one]} rows) may be a typo of {show(two)} ({counts[two]} rows)."
        found.append(Finding("label-typo", "warning", message))
    joined = [name for name in names if _SEPARATORS.search(name)]
    if output.multi and joined:
        message = f"Labels with a separator (| or a line break) cannot be told apart in an answer: {_listed(joined)}."
        found.append(Finding("label-with-separator", "warning", message))
    return found[:50]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(show(name, 30) for name in list(names)[:5])


def _same_folded(names: list[str]) -> list[tuple[str, str]]:
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        key = fold(name).replace(" ", "") or name
        if key in first:
            pairs.append((first[key], name))
        first.setdefault(key, name)
    return pairs


def _typos(names: list[str], counts: Counter[str]) -> list[tuple[str, str]]:
    """Pairs one edit apart of which one is rare; names that differ in a digit are meant to ('level 1', 'level 2')."""
    folded = {name: fold(name) for name in names}
    by_key: dict[str, list[str]] = defaultdict(list)
    for name, text in folded.items():
        for key in {text, *(text[:i] + text[i + 1 :] for i in range(min(len(text), 200)))}:
            by_key[key].append(name)
    close = {(one, two) for same in by_key.values() for one in same for two in same if one < two}
    pairs = []
    for one, two in sorted(close):
        rare, common = sorted((one, two), key=lambda name: counts[name])
        if counts[rare] <= 0.2 * counts[common] and _is_one_edit(folded[rare], folded[common]):
            pairs.append((rare, common))
    return pairs


def _is_one_edit(one: str, two: str) -> bool:
    """Tell whether one insertion, deletion, substitution or swap of neighbours of letters makes the other."""
    if one == two or min(len(one), len(two)) < 4:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    rest_one, rest_two = one[start:], two[start:]
    if (rest_one[:1] + rest_two[:1]).strip("0123456789") != rest_one[:1] + rest_two[:1]:
        return False
    swapped = rest_one[:2] == rest_two[:2][::-1] and rest_one[2:] == rest_two[2:]
    return swapped or rest_one[1:] == rest_two[1:] or rest_one[1:] == rest_two or rest_one == rest_two[1:]
