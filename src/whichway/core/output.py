"""Shapes of an answer: how to ask for each and how to read it back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

_DECORATION = " \t\"'`*.,;:()[]"  # what models put around a label


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
        spelled = self._spelled(text)  # a label may itself look like JSON: 1.50, null, "quoted"
        return spelled if spelled is not None else self._read_one(stated if isinstance(stated, str) else "")

    def _read_one(self, text: str) -> str | None:
        line = next((part for part in text.strip().splitlines() if part.strip()), "")
        for candidate in (text, line, line.split(":", 1)[-1]):
            found = self._match(candidate)
            if found is not None:
                return found
        return self._mentioned(line)

    def _match(self, text: str) -> str | None:
        """Return the label that the whole text is: as spelled, or when punctuation and separators are folded away."""
        spelled, key = self._spelled(text), _fold(text)
        if spelled is not None or not key:
            return spelled
        return _only([name for name in self.names if _fold(name) == key])

    def _spelled(self, text: str) -> str | None:
        """Return the label of this very spelling; else in another case; else inside quotes, emphasis or before a stop."""
        for candidate in (text.strip(), text.strip().strip(_DECORATION)):
            if candidate in self.names:
                return candidate
            same = [name for name in self.names if name.strip() == candidate]
            same = same or [name for name in self.names if name.strip().casefold() == candidate.casefold()]
            if candidate and same:
                return _only(same)
        return None

    def _mentioned(self, line: str) -> str | None:
        """Return the only label that a sentence holds."""
        folded: dict[str, list[str]] = {}
        for name in self.names:
            folded.setdefault(_fold(name), []).append(name)
        rest, found = " " + _fold(line) + " ", []
        # Longest first, so that a label which is part of another one does not win over it.
        for key in sorted(folded, key=len, reverse=True):
            if key and f" {key} " in rest:
                found.append(folded[key])
                rest = rest.replace(f" {key} ", " ")
        if len(found) != 1:
            return None
        if len(found[0]) == 1:
            return found[0][0]
        # Several labels fold to the same words ('C', 'C++'): the one that stands there in its own spelling.
        words = [word.strip(_DECORATION).casefold() for word in line.split()]
        said = f" {' '.join(words)} "
        return _only([name for name in found[0] if f" {' '.join(name.casefold().split())} " in said])

    def _read_many(self, stated: str | list[str]) -> tuple[str, ...] | None:
        parts = stated if isinstance(stated, list) else re.split(r"[|\n]", stated)
        parts = [part for part in parts if part.strip()]
        if [_fold(part) for part in parts] == ["none"] or stated == []:
            return ()
        found = {label for part in parts for label in self._read_part(part)}
        return None if None in found or not found else tuple(sorted(str(label) for label in found))

    def _read_part(self, text: str) -> list[str | None]:
        """Read labels between commas or semicolons, the longest first: labels may hold these characters themselves."""
        pieces = re.split(r"([,;])", text)
        most = 1 + 2 * max(len(re.findall("[,;]", name)) for name in self.names)
        found: list[str | None] = []
        at = 0
        while at < len(pieces):
            runs = range(min(most, len(pieces) - at), 1, -2)
            held = ((size, self._spelled("".join(pieces[at : at + size]))) for size in runs)
            size, label = next(((size, label) for size, label in held if label is not None), (1, None))
            if label is not None or pieces[at].strip():
                found.append(self._read_one(pieces[at]) if label is None else label)
            at += size + 1
        whole = self._match(text) if None in found else None
        return found if whole is None else [whole]


def _only(found: Sequence[str]) -> str | None:
    """Return the one thing there is; None where there are several, as any choice would be a guess."""
    return found[0] if len(found) == 1 else None


def as_labels(value: Any) -> tuple[str, ...]:
    """Return a value as its labels: one, several, or none."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def _stated_answer(text: str) -> str | list[str]:
    """Take the answer out of a JSON object or a code fence if the model wrapped it in one."""
    bare = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip())
    try:
        value = json.loads(bare, parse_float=str, parse_int=str, parse_constant=str)  # '1.50' stays as spelled
    except (ValueError, RecursionError):
        return bare
    if isinstance(value, Mapping):
        value = next(iter(value.values()), "")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(part) for part in value]
    return bare if value is None else str(value)


def _fold(text: str) -> str:
    """Fold case, punctuation and separators, so that 'Card arrival.' reads as 'card_arrival'."""
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())
