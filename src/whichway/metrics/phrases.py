"""Which phrases stand for which value of an attribute, learned from rows and their texts by association."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from whichway.core.rules import words
from whichway.core.task import Example
from whichway.metrics.slots import MASK, attributes, bare_words, is_negated, masked
from whichway.metrics.text import right_answers

LONGEST = 5  # words of a phrase
LEAST_VALUE_TEXTS = 20  # with a value, below which nothing can be said about it
WRITTEN_OUT = 0.97  # share of a value's texts that hold it word for word, from which on it needs no other phrases
LEAST_GAIN, LEAST_SHARE = 3, 0.005  # texts that a further phrase must explain, and share of the value's texts
TELLING = 5.0  # how many times as often a value written out stands beside itself as where the attribute is absent
PENALTY = 5.0  # texts that a phrase must explain to make up for one in which it would mislead

Slot = tuple[str, str]


@dataclass(frozen=True)
class _Texts:
    """Numbers of the texts in which a slot (field, value) is given, a field is given, a phrase stands; how many texts."""

    slots: Mapping[Slot, set[int]]
    fields: Mapping[str, set[int]]
    phrases: Mapping[str, set[int]]
    count: int


def learn_phrases(examples: Sequence[Example], fields: Sequence[str] = ()) -> dict[str, dict[str, list[str]]]:
    """Return {field: {value: [phrases]}} for metric slot_coverage, from rows of train and all their right answers.

    A phrase belongs to the field that it goes with most (phi coefficient). It stands for a value where it is far more frequent
    in texts of rows with that value than in texts of rows without the attribute, and than with the median other value. Phrases
    are taken one after another, each for the texts that it explains and those before it do not. Left out are values in fewer
    than 20 texts, and fields whose values are always written word for word, such as names.
    """
    texts = _read(examples, fields)
    owners = {phrase: _owner(texts, phrase) for phrase in texts.phrases}
    found: dict[str, dict[str, list[str]]] = {}
    for name in texts.fields:
        own = [phrase for phrase, owner in owners.items() if owner == name]
        values = [value for field, value in texts.slots if field == name]
        values = [value for value in values if len(texts.slots[name, value]) >= LEAST_VALUE_TEXTS]
        learned = {value: _learned(texts, (name, value), values, own) for value in values}
        if any(phrases != [_verbatim(value)] for value, phrases in learned.items()):
            found[name] = learned
    return found


def known_values(examples: Sequence[Example], fields: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the values that each attribute has in rows, the most frequent first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in examples:
        for name, value in attributes(row.inputs, fields or tuple(row.inputs)).items():
            counts[name][value] += 1
    return {name: [value for value, _ in values.most_common()] for name, values in counts.items()}


def _read(examples: Sequence[Example], fields: Sequence[str]) -> _Texts:
    """Read all texts; a row's values that only one attribute can have count as a phrase as a whole, not by their words."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, values in known_values(examples, fields).items():
        for value in values:
            owners[value].add(name)
    slots, named, phrases = defaultdict(set), defaultdict(set), defaultdict(set)
    count = 0
    for row in examples:
        given = attributes(row.inputs, fields or tuple(row.inputs))
        clear = [value for value in given.values() if len(owners[value]) == 1]
        for text in dict.fromkeys(right_answers(row)):
            for name, value in given.items():
                slots[name, value].add(count)
                named[name].add(count)
            for phrase in _phrases(words(text), clear):
                phrases[phrase].add(count)
            count += 1
    common = {phrase: where for phrase, where in phrases.items() if len(where) >= LEAST_GAIN}
    return _Texts(slots, named, common, count)


def _phrases(said: Sequence[str], values: Sequence[str]) -> Iterator[str]:
    rest = masked(said, values)
    for value in values:
        if masked(said, [value]) != list(said):
            yield _verbatim(value)
    for at in range(len(rest)):
        polarity = "not " if is_negated(rest, at) else ""
        for size in range(1, LONGEST + 1):
            if at + size > len(rest) or rest[at + size - 1] == MASK:
                break
            yield polarity + " ".join(rest[at : at + size])


def _verbatim(value: str) -> str:
    return " ".join(bare_words(value))


def _owner(texts: _Texts, phrase: str) -> str:
    """Return the field whose values a phrase goes with most."""
    where, best, owner = texts.phrases[phrase], 0.0, ""
    for (name, _), given in texts.slots.items():
        both, size, n = len(where & given), len(given), texts.count
        spread = sqrt(len(where) * (n - len(where)) * size * (n - size))
        phi = (both * n - len(where) * size) / spread if spread else 0.0
        if phi > best:
            best, owner = phi, name
    return owner


def _learned(texts: _Texts, slot: Slot, values: Sequence[str], candidates: Sequence[str]) -> list[str]:
    """Take phrases for one value, the one that explains most texts first."""
    given = texts.slots[slot]
    others = [texts.slots[slot[0], value] for value in values if value != slot[1]]
    absent = set(range(texts.count)) - texts.fields[slot[0]]
    written = texts.phrases.get(_verbatim(slot[1]), set())
    if len(written & given) >= WRITTEN_OUT * len(given):
        telling_absent = len(written & given) / len(given) >= TELLING * _false_share(written, (), absent)
        return [_verbatim(slot[1])] if telling_absent else []
    false = {one: _false_share(texts.phrases[one], others, absent) for one in candidates}
    telling = [one for one in candidates if texts.phrases[one] & given]
    left, found = set(given), []
    least = max(LEAST_GAIN, LEAST_SHARE * len(given))
    while telling:
        worth = {one: len(left & texts.phrases[one]) - PENALTY * false[one] * len(given) for one in telling}
        best = max((worth[one], len(texts.phrases[one]), one) for one in telling)[-1]
        if worth[best] < least:
            break
        left -= texts.phrases[best]
        found.append(best)
    return found


def _false_share(where: set[int], others: Sequence[set[int]], absent: set[int]) -> float:
    """Return in which share of texts a phrase misleads: without the attribute, or with the median other value."""
    without = (len(where & absent) + 0.5) / (len(absent) + 1) if absent else 0.0
    return max(without, median([len(where & one) / len(one) for one in others]) if others else 0.0)
