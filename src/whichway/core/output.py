"""Shapes of an answer: how to ask for each and how to read it back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Output(Protocol):
    """What every shape of answer can do; strategies look at nothing else of a shape they do not know."""

    shape: str

    def ask(self) -> str:
        """Return the sentence that tells a model which form its answer must have."""

    def write(self, value: Any) -> str:
        """Return the text a perfect model would answer for `value`."""

    def read(self, text: str) -> Any | None:
        """Return the value that `text` states, or None when it states none."""


@dataclass(frozen=True)
class Labels:
    """One label (or, with `multi`, any number) of a closed set.

    A value is a `str`, or with `multi` a sorted `tuple[str, ...]`. `descriptions` maps a label to a sentence for prompts.
    """

    names: tuple[str, ...]
    multi: bool = False
    descriptions: Mapping[str, str] = field(default_factory=dict)
    shape: str = "labels"

    def ask(self) -> str:
        listed = "\n".join(
            f"- {name}: {self.descriptions[name]}" if name in self.descriptions else f"- {name}" for name in self.names
        )
        how = "with every label that fits, separated by ' | ', or 'none'" if self.multi else "with exactly one label"
        return f"Answer {how} from this list:\n{listed}"

    def write(self, value: Any) -> str:
        if not self.multi:
            return str(value)
        return " | ".join(value) if value else "none"

    def read(self, text: str) -> Any | None:
        stated = _stated_answer(text)
        if self.multi:
            return self._read_many(stated)
        return self._read_one(stated if isinstance(stated, str) else "")

    def _read_one(self, text: str) -> str | None:
        folded = {_fold(name): name for name in self.names}
        line = next((part for part in text.strip().splitlines() if part.strip()), "")
        for candidate in (text, line, line.split(":", 1)[-1]):
            if _fold(candidate) in folded:
                return folded[_fold(candidate)]
        # Longest first, so that a label which is part of another one does not win over it.
        rest, found = " " + _fold(line) + " ", []
        for key in sorted(folded, key=len, reverse=True):
            if key and f" {key} " in rest:
                found.append(folded[key])
                rest = rest.replace(f" {key} ", " ")
        return found[0] if len(found) == 1 else None

    def _read_many(self, stated: str | list[str]) -> tuple[str, ...] | None:
        parts = stated if isinstance(stated, list) else re.split(r"[|,;\n]", stated)
        parts = [part for part in parts if part.strip()]
        if [_fold(part) for part in parts] == ["none"] or stated == []:
            return ()
        found = {self._read_one(part) for part in parts}
        return None if None in found or not found else tuple(sorted(str(label) for label in found))


def _stated_answer(text: str) -> str | list[str]:
    """Take the answer out of a JSON object or a code fence if the model wrapped it in one."""
    bare = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip())
    try:
        value = json.loads(bare)
    except (ValueError, RecursionError):
        return bare
    if isinstance(value, Mapping):
        value = next(iter(value.values()), "")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(part) for part in value]
    return str(value)


def _fold(text: str) -> str:
    """Fold case, punctuation and separators, so that 'Card arrival.' reads as 'card_arrival'."""
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())
