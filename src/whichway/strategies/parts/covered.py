"""How much of the answers stands in the passages found: tells ways of retrieving apart where no row names documents."""

# An answer's words stand in many passages by chance, and the more there is shown the more of them do. What counts is what
# the passages of a row hold of its own answer beyond what they hold of other rows' answers: that falls again with too much.

from __future__ import annotations

from collections.abc import Sequence

from whichway.strategies.parts.lexical import tokens

OTHERS = 4  # other rows whose answers tell what chance would hold


def surplus(answers: Sequence[str], shown: Sequence[Sequence[str]], most: int) -> tuple[float, ...]:
    """Return, for the first 1 .. `most` passages, the mean share of an answer's words in them beyond chance.

    `shown` are the passages of each answer's row, the best first.
    """
    wanted = [frozenset(tokens(one)) for one in answers]
    totals = [0.0] * most
    for i, passages in enumerate(shown):
        others = [one for one in _after(wanted, i) if one != wanted[i]][:OTHERS]
        held: set[str] = set()
        for k in range(most):
            held |= set(tokens(passages[k])) if k < len(passages) else set()
            chance = sum(_share(one, held) for one in others) / max(1, len(others))
            totals[k] += _share(wanted[i], held) - chance
    return tuple(round(one / max(1, len(wanted)), 6) for one in totals)


def _after(wanted: Sequence[frozenset[str]], i: int) -> list[frozenset[str]]:
    """Return the words of the answers that come after one, round the end."""
    return [wanted[(i + step) % len(wanted)] for step in range(1, min(len(wanted), 4 * OTHERS))]


def _share(words: frozenset[str], held: set[str]) -> float:
    return len(words & held) / len(words) if words else 0.0
