"""When two values of a JSON answer are the same: numbers and dates by value, other strings by their characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

_CURRENCIES = {"$": "usd", "£": "gbp", "€": "eur", "¥": "jpy"}
_UNIT = r"(?:[$£€¥%]|usd|gbp|eur|jpy|chf|cad|aud|inr)"
_NUMBER = re.compile(rf"([+-]?)\s*({_UNIT}?)\s*([+-]?)([\d.,]*\d)\s*({_UNIT}?)", re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*\.?"
_YEAR_FIRST = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ]00:00(?::00(?:\.0+)?)?Z?)?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})")
_MONTH_FIRST = re.compile(rf"{_MONTH} +(\d{{1,2}})(?:st|nd|rd|th)?,? +(\d{{4}})", re.IGNORECASE)
_DAY_FIRST = re.compile(rf"(\d{{1,2}})(?:st|nd|rd|th)?(?: of)?[ -]{_MONTH},?[ -](\d{{4}})", re.IGNORECASE)


@dataclass(frozen=True)
class Sameness:
    """How values are compared.

    Strings: after Unicode NFKC and white space, their case counting unless `case_sensitive` is off. Where one side is a number,
    a string that reads as one is compared by value; where both are strings, only what reads as a number but cannot be an id,
    so that "007" is not "7" and yet "1,200.50" is "1200.5". Two different units never agree: "$5" is not "5%".
    Dates that leave open which number is the month are read month first, or day first where `day_first` is set (with dots:
    always day first), and never both ways. Lists are compared without their order; None, "" and empty things state nothing.
    """

    case_sensitive: bool = True
    day_first: bool = False

    def same(self, one: Any, other: Any) -> bool:
        """Tell whether two values state the same."""
        if isinstance(one, Mapping) or isinstance(other, Mapping):
            return isinstance(one, Mapping) and isinstance(other, Mapping) and self._same_objects(one, other)
        if is_list(one) or is_list(other):
            return is_list(one) and is_list(other) and self._same_lists(_stated(one), _stated(other))
        if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
            return type(one) is type(other) and bool(one == other)
        return self._same_scalars(one, other)

    def shared(self, wanted: Sequence[Any], said: Sequence[Any]) -> int:
        """Return how many of two lists of values can be paired, each used once; equal spellings are paired first."""
        left, count = list(said), 0
        open_ones = []
        for value in wanted:
            at = next((at for at, one in enumerate(left) if type(one) is type(value) and one == value), None)
            if at is None:
                open_ones.append(value)
            else:
                del left[at]
                count += 1
        for value in open_ones:
            at = next((at for at, one in enumerate(left) if self.same(value, one)), None)
            if at is not None:
                del left[at]
                count += 1
        return count

    def _same_objects(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        ours, theirs = ({name: value for name, value in each.items() if states(value)} for each in (one, other))
        return ours.keys() == theirs.keys() and all(self.same(ours[name], theirs[name]) for name in ours)

    def _same_lists(self, one: list[Any], other: list[Any]) -> bool:
        return len(one) == len(other) == self.shared(one, other)

    def _same_scalars(self, one: Any, other: Any) -> bool:
        if isinstance(one, str) and isinstance(other, str):
            ours, theirs = self._plain(one), self._plain(other)
            return ours == theirs or self._same_written(ours, theirs)
        first, second = (as_number(_nfkc(value) if isinstance(value, str) else value) for value in (one, other))
        return _same_numbers(first, second)

    def _same_written(self, one: str, other: str) -> bool:
        if not (any(map(str.isdigit, one)) and any(map(str.isdigit, other))):
            return False
        day = as_date(one, self.day_first)
        if day is not None and day == as_date(other, self.day_first):
            return True
        return not (_like_id(one) or _like_id(other)) and _same_numbers(as_number(one), as_number(other))

    def _plain(self, text: str) -> str:
        plain = _nfkc(text)
        return plain if self.case_sensitive else plain.casefold()


def is_list(value: Any) -> bool:
    """Tell whether a value is a list in JSON's sense."""
    return isinstance(value, list | tuple)


def states(value: Any) -> bool:
    """Tell whether a value states anything: None, blank text and empty lists and objects do not."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, Mapping):
        return any(states(one) for one in value.values())
    return any(states(one) for one in value) if is_list(value) else value is not None


@lru_cache(maxsize=65536)
def as_number(value: Any) -> tuple[Decimal, str] | None:
    """Return what a number or the text of one is worth, and its unit; None for anything else.

    "1.200,50" and "12,5" are read with a decimal comma, "1,200" with a comma of thousands.
    """
    if not isinstance(value, str):
        number = Decimal(str(value))
        return (number, "") if number.is_finite() else None
    found = _NUMBER.fullmatch(value.strip())
    if found is None or (found[2] and found[5]) or (found[1] and found[3]):
        return None
    digits = _digits(found[4])
    if digits is None:
        return None
    unit = (found[2] or found[5]).lower()
    return Decimal(("-" if "-" in found[1] + found[3] else "") + digits), _CURRENCIES.get(unit, unit)


@lru_cache(maxsize=65536)
def as_date(text: str, day_first: bool = False) -> date | None:
    """Return the day that a text is, or None; two digits of a year are 1969 to 2068, as in POSIX."""
    text = text.strip()
    if found := _YEAR_FIRST.fullmatch(text):
        return _day(found[1], found[2], found[3])
    if found := _MONTH_FIRST.fullmatch(text):
        return _day(found[3], _month(found[1]), found[2])
    if found := _DAY_FIRST.fullmatch(text):
        return _day(found[3], _month(found[2]), found[1])
    if found := _YEAR_LAST.fullmatch(text):
        year = found[4] if len(found[4]) == 4 else str(int(found[4]) + (1900 if int(found[4]) > 68 else 2000))
        first, second = (found[3], found[1]) if found[2] == "." or day_first else (found[1], found[3])
        return _day(year, first, second) or _day(year, second, first)
    return None


def _stated(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if states(value)]


def _nfkc(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _same_numbers(one: tuple[Decimal, str] | None, other: tuple[Decimal, str] | None) -> bool:
    if one is None or other is None or (one[1] and other[1] and one[1] != other[1]):
        return False
    return abs(one[0] - other[0]) <= Decimal("1e-9") * max(abs(one[0]), abs(other[0]))


def _like_id(text: str) -> bool:
    """Tell whether digits may be a name rather than an amount: leading zeros, or ten digits and more in one run."""
    return bool(re.match(r"\D*0\d", text)) or bool(re.search(r"\d{10,}", text))


def _digits(text: str) -> str | None:
    """Return digits with separators as Python spells them; None where separators stand oddly, as in a version."""
    if re.fullmatch(r"\d*\.?\d+", text):
        return text
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        return text.replace(",", "")
    if re.fullmatch(r"\d{1,3}(\.\d{3})+,\d+|\d{1,3}(\.\d{3}){2,}|\d+,\d{1,2}", text):
        return text.replace(".", "").replace(",", ".")
    return None


def _month(name: str) -> str:
    return str(_MONTHS.index(name[:3].lower()) + 1)


def _day(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
