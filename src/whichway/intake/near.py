"""Rows that say the same: equal, equal but for spelling, or nearly equal."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from whichway.core.task import Example, Inputs

NEAR = 0.8

_WORD = re.compile(r"[^\W_]+")
_FEWEST_WORDS = 5


def fold(text: str) -> str:
    """Return the words of a text in lower case: no punctuation, spaces, zero-width signs or compatibility forms."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", plain)))


def exact_key(inputs: Inputs) -> tuple[tuple[str, str], ...]:
    """Return what is the same for rows with equal inputs."""
    return tuple(sorted((name, repr(value)) for name, value in inputs.items()))


def folded_key(inputs: Inputs) -> str:
    """Return what is the same for rows equal but for case, spaces, punctuation and Unicode form.

    Inputs without a word (only signs or emoji) keep their signs, so that '!' and '?' stay different.
    """
    told = ((name, str(value)) for name, value in sorted(inputs.items()) if value is not None)
    return "\n".join(f"{name}={fold(text) or text.strip()}" for name, text in told)


def near_pairs(left: Sequence[Example], right: Sequence[Example]) -> Iterator[tuple[int, int]]:
    """Yield (i, j) for each left row that is nearly a right row: Jaccard of words and word pairs >= 0.8; one j per i.

    Exact set-similarity join by prefix filtering (Bayardo et al. 2007): two sets that similar must share one of their
    rarest tokens, so few pairs are compared. Texts of fewer than five words are left to the exact checks.
    """
    right_sets = [_tokens(one) for one in right]
    # Any total order of the tokens will do; that of the right side lets the left side pass one row at a time.
    counts = Counter(token for tokens in right_sets for token in tokens)
    index: dict[str, list[int]] = defaultdict(list)
    for j, tokens in enumerate(right_sets):
        for token in _rarest(tokens, counts):
            index[token].append(j)
    for i, tokens in enumerate(map(_tokens, left)):
        seen = {j for token in _rarest(tokens, counts) for j in index.get(token, ())}
        found = next((j for j in sorted(seen) if _jaccard(tokens, right_sets[j]) >= NEAR), None)
        if found is not None:
            yield i, found


def _tokens(example: Example) -> frozenset[str]:
    words = _WORD.findall(fold(" ".join(str(value) for value in example.inputs.values() if value is not None)))
    if len(words) < _FEWEST_WORDS:
        return frozenset()
    return frozenset(words) | frozenset(f"{one} {two}" for one, two in pairwise(words))


def _rarest(tokens: frozenset[str], counts: Counter[str]) -> list[str]:
    """Return the prefix of the set, ordered by rarity, that a set with Jaccard >= NEAR must touch."""
    length = len(tokens) - math.ceil(NEAR * len(tokens)) + 1 if tokens else 0
    return sorted(tokens, key=lambda token: (counts[token], token))[:length]


def _jaccard(one: frozenset[str], two: frozenset[str]) -> float:
    if min(len(one), len(two)) < NEAR * max(len(one), len(two)):
        return 0.0
    common = len(one & two)
    return common / (len(one) + len(two) - common)
