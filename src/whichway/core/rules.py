"""House rules of a text: what it must mention, what it must not say, how long and how hard to read it may be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from whichway.errors import UsageError

_PLACE = re.compile(r"\{([^{}]+)\}")
_TUPLES = ("must_mention", "must_not_say")
_LIMITS = ("max_words", "min_words", "max_sentences", "max_reading_grade")


@dataclass(frozen=True)
class Rules:
    """What a house demands of a text; 0 and empty mean: no such rule.

    `must_mention` may hold '{field}', which stands for the value of that input field; where the row has none, the rule
    does not apply. `tone` maps a tone's name to words that are foreign to it: {"formal": ["hey", "awesome"]}; a tone without
    words is asked for in the prompt and not checked. Words are found whole, whatever their case and accents.
    `max_reading_grade` is a school grade by Flesch and Kincaid, see `reading_grade`.
    """

    must_mention: tuple[str, ...] = ()
    must_not_say: tuple[str, ...] = ()
    tone: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    max_words: int = 0
    min_words: int = 0
    max_sentences: int = 0
    max_reading_grade: float = 0.0

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Rules:
        """Make rules of a mapping of their names, as a task file holds it; raises UsageError for a name that is no rule."""
        known = [one.name for one in fields(cls)]
        wrong = sorted(set(said) - set(known))
        if wrong:
            raise UsageError(f"There is no rule called {wrong[0]!r}.", f"Known: {', '.join(known)}.")
        for name in _LIMITS:
            limit = said.get(name, 0)
            whole = isinstance(limit, int) or (name == "max_reading_grade" and isinstance(limit, float))
            if isinstance(limit, bool) or not whole or limit < 0:
                raise UsageError(f"The rule {name} cannot be {limit!r}.", "Give a number, e.g. 40; 0 means: no limit.")
        made: dict[str, Any] = {name: _phrases(value) if name in _TUPLES else value for name, value in said.items()}
        if "tone" in made:
            made["tone"] = {name: _phrases(one or ()) for name, one in made["tone"].items()}
        return cls(**made)

    def places(self) -> list[str]:
        """Return the names of input fields that must be mentioned."""
        return [name for one in self.must_mention for name in _PLACE.findall(one)]

    def broken(self, text: str, inputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Name each rule that a text breaks, in words."""
        return tuple(rule for rule, kept in self.checked(text, inputs) if not kept)

    def checked(self, text: str, inputs: Mapping[str, Any]) -> list[tuple[str, bool]]:
        """Return each rule that applies to this row, in words, and whether the text keeps it."""
        return [*self._phrases_checked(text, inputs), *self._sizes_checked(text)]

    def describe(self) -> str:
        """Return the rules as sentences for a prompt."""
        said = ["Mention " + _PLACE.sub(r"the \1", one) + "." for one in self.must_mention]
        if self.must_not_say:
            said.append(f"Never say {_listed(self.must_not_say)}.")
        for name, foreign in self.tone.items():
            said.append(f"Keep the tone {name}" + (f": do not write {_listed(foreign)}." if foreign else "."))
        limits = (
            (self.min_words, f"Write at least {self.min_words} words."),
            (self.max_words, f"Write at most {self.max_words} words."),
            (self.max_sentences, f"Write at most {self.max_sentences} sentence{'s' * (self.max_sentences != 1)}."),
            (self.max_reading_grade, f"Write so that school grade {self.max_reading_grade:g} can read it."),
        )
        return " ".join([*said, *(sentence for limit, sentence in limits if limit)])

    def _phrases_checked(self, text: str, inputs: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
        said = words(text)
        for wanted in self.must_mention:
            filled = _filled(wanted, inputs)
            if filled is not None:
                yield f"must mention {filled!r}", holds(said, words(filled))
        for banned in self.must_not_say:
            yield f"must not say {banned!r}", not holds(said, words(banned))
        for name, foreign in self.tone.items():
            found = [one for one in foreign if holds(said, words(one))]
            if foreign:
                yield f"must keep the tone {name}" + (f", without {_listed(found)}" if found else ""), not found

    def _sizes_checked(self, text: str) -> Iterator[tuple[str, bool]]:
        count, parts = len(text.split()), len(sentences(text))
        if self.min_words:
            yield f"must have at least {self.min_words} words, not {count}", count >= self.min_words
        if self.max_words:
            yield f"must have at most {self.max_words} words, not {count}", count <= self.max_words
        if self.max_sentences:
            yield f"must have at most {self.max_sentences} sentences, not {parts}", parts <= self.max_sentences
        if self.max_reading_grade:
            grade = reading_grade(text)
            rule = f"must read at grade {self.max_reading_grade:g} or easier, not {grade:.1f}"
            yield rule, grade <= self.max_reading_grade


def words(text: str) -> list[str]:
    """Return the words of a text, comparable: no case, accents, possessive 's, hyphens or commas inside numbers.

    Signs of money and % are words of their own.
    """
    plain = "".join(one for one in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(one))
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)|['\u2019]s\b|['\u2019]", "", plain)
    return re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\W_]+|[$£€¥%]", plain)


def holds(said: Sequence[str], phrase: Sequence[str]) -> bool:
    """Tell whether words stand in a list of words one after another; no words stand nowhere."""
    size = len(phrase)
    return size > 0 and any(list(said[at : at + size]) == list(phrase) for at in range(len(said) - size + 1))


def sentences(text: str) -> list[str]:
    """Split a text at the ends of sentences and at line breaks; titles and initials do not end a sentence."""
    guarded = re.sub(r"\b(Mr|Mrs|Ms|Dr|Prof|St|No|vs|approx|e\.g|i\.e|[A-Z])\.(?=\s)", "\\1\0", text)
    parts = re.split(r"(?<=[.!?])[\"'\u201d\u2019)\]]*\s+|\s*\n+\s*", guarded)
    return [part.replace("\0", ".").strip() for part in parts if re.search(r"\w", part)]


def reading_grade(text: str) -> float:
    """Return the school grade of an English text: 0.39 words/sentence + 11.8 syllables/word - 15.59.

    Kincaid, Fishburne, Rogers and Chissom 1975 (Navy Research Branch report 8-75). Syllables are counted by groups of vowels,
    which is right for about nine words of ten; never below 0.
    """
    parts, found = sentences(text), re.findall(r"[A-Za-z]+(?:'[a-z]+)?", text)
    if not parts or not found:
        return 0.0
    syllables = sum(_syllables(word) for word in found)
    return max(0.0, 0.39 * len(found) / len(parts) + 11.8 * syllables / len(found) - 15.59)


def _syllables(word: str) -> int:
    """Count groups of vowels, a vowel before -ing as its own; an e, es or ed at the end is mostly silent."""
    low = word.lower().split("'")[0]
    count = len(re.findall(r"[aeiouy]+", low)) + bool(re.search(r"[aeiouy]ing$", low))
    silent = re.search(r"[^aeiouyl]e$|[aeiouy]le$|[^aeiouytd]ed$|[^aeiouysxzcgh]es$", low)
    return max(1, count - bool(silent))


def _filled(wanted: str, inputs: Mapping[str, Any]) -> str | None:
    """Put the row's values in the places of a phrase; None where the row has no value for one of them."""
    names = _PLACE.findall(wanted)
    if any(inputs.get(name) in (None, "") for name in names):
        return None
    return _PLACE.sub(lambda found: _shown(inputs[found.group(1)]), wanted)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)


def _phrases(said: Any) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(str(one) for one in said)


def _listed(said: Sequence[str]) -> str:
    return ", ".join(repr(one) for one in said)
