"""Attributes and the words that state them: what a text says of a row's fields, word for word, negated or not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from whichway.core.rules import words

NEGATIONS = frozenset("not no non nor never neither without isnt arent doesnt dont wasnt cannot cant wont".split())
NEGATION_REACH = 3  # words before a phrase among which a negation turns it round: "not a very family friendly"
YES, NO = ("yes", "true"), ("no", "false")
MASK = "\0"
_ARTICLES = ("the", "a", "an")


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
