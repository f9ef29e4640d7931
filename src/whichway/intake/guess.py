"""What columns and answers look like, judged from their values alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

Kind = Literal["text", "number", "category"]
Shape = Literal["labels", "multi", "fields", "text"]

MAX_CLASSES = 1_000

_MISSING = ("", "na", "n/a", "nan", "null", "none")


def guess_kind(values: Sequence[Any]) -> Kind:
    """Return how a column reads: numbers, one of a few categories, or text."""
    filled = [value for value in values if not is_missing(value)]
    if not filled:
        return "text"
    if all(to_number(value) is not None for value in filled):
        return "number"
    texts = [str(value).strip() for value in filled]
    distinct = len(set(texts))
    is_short = sum(len(text) for text in texts) <= 40 * len(texts)
    return "category" if is_short and distinct <= min(100, 0.2 * len(texts)) else "text"


def guess_shape(values: Sequence[Any]) -> Shape:
    """Return the shape of the answers: labels, several labels each, objects (fields), or free text."""
    filled = [value for value in values if not is_missing(value)]
    if any(isinstance(value, dict) for value in filled):
        return "fields"
    if any(isinstance(value, list) for value in filled):
        parts = [part for value in filled if isinstance(value, list) for part in value]
        if any(isinstance(part, dict | list) for part in parts):
            return "fields"
        return "text" if _is_free_text([str(part) for part in parts]) else "multi"
    texts = [str(value).strip() for value in filled]
    if not _is_free_text(texts):
        return "multi" if separator_of(texts) else "labels"
    separator = separator_of(texts)
    return "multi" if separator and not _is_free_text(_parts(texts, separator)) else "text"


def separator_of(texts: Sequence[str]) -> str:
    """Return the sign that joins several labels in one cell (`a|b`, `a;b`), or an empty string when there is none."""
    whole = set(texts)
    for sign in "|;":
        joined = [text for text in texts if sign in text]
        parts = set(_parts(texts, sign))
        # Real sets of labels recombine few parts; and at least some cells hold a part alone or in another company.
        if len(joined) >= 0.02 * len(texts) and joined and len(parts) < len(whole) and len(parts) <= MAX_CLASSES:
            return sign
    return ""


def is_missing(value: Any) -> bool:
    """Tell whether a cell says nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def to_number(value: Any) -> float | None:
    """Return a finite number, or None for what is none; a truth value is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def is_missing_number(value: Any) -> bool:
    """Tell whether a cell of a number column says that there is none: empty, NA, null."""
    return value is None or (isinstance(value, str) and value.strip().casefold() in _MISSING)


def _parts(texts: Sequence[str], sign: str) -> list[str]:
    return [part.strip() for text in texts for part in text.split(sign) if part.strip()]


def _is_free_text(texts: Sequence[str]) -> bool:
    """Free text repeats little: many different answers, long ones, or mostly such that occur once."""
    if not texts:
        return False
    counts = Counter(texts)
    alone = sum(1 for count in counts.values() if count == 1)
    average = sum(len(text) for text in texts) / len(texts)
    if len(counts) > MAX_CLASSES or average > 100:
        return True
    if len(counts) > 0.5 * len(texts) and len(texts) >= 20:
        return True
    return len(counts) > 30 and alone > 0.3 * len(counts)
