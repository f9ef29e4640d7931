"""The metric of data-to-text: is each attribute of the row stated, and none that the row has not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from whichway.core.rules import words
from whichway.core.task import Example, Prediction
from whichway.metrics.resampling import once, ratios
from whichway.registry import register

NEGATIONS = frozenset("not no non nor never neither without isnt arent doesnt dont wasnt cannot cant wont".split())
NEGATION_REACH = 3  # words before a phrase among which a negation turns it round: "not a very family friendly"
YES, NO = ("yes", "true"), ("no", "false")
MASK = "\0"
_ARTICLES = ("the", "a", "an")


@register("metric", "slot_coverage")
@dataclass(frozen=True)
class SlotCoverage:
    """1 - slot error rate: attributes stated wrongly, left out or invented, per attribute given (Wen et al. 2015, section 5.1).

    An input field with a value is an attribute, of `fields` or of all. It is stated by its value word for word, or by one of
    `phrases[field][value]`; "not kid friendly" there means that a negation stands up to three words before "kid friendly".
    A yes/no attribute is stated by its name ("familyFriendly": family friendly), negated or not. An attribute that the row has
    not is invented where a phrase of any of its values stands, or, of `values[field]` without phrases, the value itself; one
    that it has is contradicted where the text also says what stands for another value only. An attribute is one error at
    most, and a row has at most as many as attributes. Phrases and values are learned by `learn_phrases` and `known_values`.
    """

    phrases: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fields: Sequence[str] = ()
    name: ClassVar[str] = "slot_coverage"
    is_mean: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)
    uses_target: ClassVar[bool] = False

    def score_example(self, example: Example, prediction: Prediction) -> list[int]:
        """Return attributes that are right, and attributes."""
        given = self._given(example.inputs)
        if not prediction.parsed:
            return [0, len(given)]
        wrong = len(self.errors(example.inputs, str(prediction.value)))
        return [max(0, len(given) - wrong), len(given)]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return ratios(scores, index)

    def errors(self, inputs: Mapping[str, Any], text: str) -> list[str]:
        """Name each slot error of a text: "missing: area = riverside", "invented: area = ...", "contradicted: area = ..."."""
        given, said = self._given(inputs), words(text)
        missing = [name for name, value in given.items() if not self._stated(name, value, said)]
        found = [f"missing: {name} = {given[name]}" for name in missing]
        rest = masked(said, given.values())
        for name in sorted({*self.phrases, *self.values} - set(missing)):
            if not self.fields or name in self.fields:
                found += self._strange(name, given.get(name), rest)
        return found

    def _given(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        return attributes(inputs, self.fields or tuple(inputs))

    def _stated(self, name: str, value: str, said: list[str]) -> bool:
        written = self.phrases.get(name, {}).get(value, ())
        return any(says(said, phrase) for phrase in written) or self._verbatim(name, value, said)

    def _strange(self, name: str, given: str | None, said: list[str]) -> list[str]:
        """Name a value that a text states though the row has another one, or none."""
        phrases = self.phrases.get(name, {})
        own = () if given is None else tuple(phrases.get(given, ()))
        rest = masked(said, [one for one in own if not one.startswith("not ")])
        for value in dict.fromkeys([*phrases, *map(str, self.values.get(name, ()))]):
            written = [one for one in phrases.get(value, ()) if one not in own]
            stated = any(says(rest, one) for one in written)
            if value != given and (stated or (value not in phrases and self._verbatim(name, value, rest))):
                return [f"{'invented' if given is None else 'contradicted'}: {name} = {value}"]
        return []

    @staticmethod
    def _verbatim(name: str, value: str, said: list[str]) -> bool:
        return says(said, yes_no_phrase(name, value)) if is_yes_no(value) else names(said, value)


def attributes(inputs: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the named fields that have a value, as text."""
    return {name: _shown(inputs[name]) for name in names if inputs.get(name) not in (None, "")}


def is_yes_no(value: str) -> bool:
    """Tell whether a value says that an attribute holds or not."""
    return value.casefold() in YES + NO


def yes_no_phrase(name: str, value: str) -> str:
    """Return the name of a yes/no attribute as a phrase: familyFriendly = no is "not family friendly"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name)
    return spaced if value.casefold() in YES else f"not {spaced}"


def says(said: Sequence[str], phrase: str) -> bool:
    """Tell whether a text, as words, holds a phrase unnegated, or negated where the phrase begins with "not"."""
    wanted = _words(phrase)
    negated = len(wanted) > 1 and wanted[0] == "not"
    wanted = wanted[1:] if negated else wanted
    return any(is_negated(said, at) == negated for at in places(said, wanted))


def names(said: Sequence[str], value: str) -> bool:
    """Tell whether a text, as words, holds a value word for word; an article before it may be missing."""
    return bool(places(said, bare_words(value)))


def places(said: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where words stand one after another in a text."""
    size, wanted = len(wanted), list(wanted)
    ends = len(said) - size + 1 if size else 0
    return [at for at in range(ends) if said[at] == wanted[0] and list(said[at : at + size]) == wanted]


def is_negated(said: Sequence[str], at: int) -> bool:
    """Tell whether a negation stands shortly before a place."""
    return not NEGATIONS.isdisjoint(said[max(0, at - NEGATION_REACH) : at])


def bare_words(value: str) -> list[str]:
    """Return the words of a value without a leading article."""
    found = list(_words(value))
    return found[1:] if len(found) > 1 and found[0] in _ARTICLES else found


def masked(said: Sequence[str], values: Iterable[str]) -> list[str]:
    """Blank out values that stand in a text word for word, the longest first, so that no part of them is found."""
    left = list(said)
    for wanted in sorted((bare_words(value) for value in values if not is_yes_no(value)), key=len, reverse=True):
        for at in places(left, wanted):
            left[at : at + len(wanted)] = [MASK] * len(wanted)
    return left


def _shown(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


@lru_cache(maxsize=4096)
def _words(phrase: str) -> tuple[str, ...]:
    return tuple(words(phrase))
