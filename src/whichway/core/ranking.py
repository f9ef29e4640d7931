"""How good a ranking of documents is: hit at k, reciprocal rank, nDCG of one question."""

# Everywhere `gold` are the ids of the documents that hold the answer and `ranked` are document ids, best first. A document
# that is found through several of its passages counts once, at its best rank. Without gold there is nothing to find, and
# the mean over questions must leave such a question out: these functions refuse it.

from __future__ import annotations

import math
from collections.abc import Collection, Sequence


def hit_at(gold: Collection[str], ranked: Sequence[str], k: int) -> float:
    """Return 1 if one of the gold documents is among the first k documents, else 0."""
    return float(any(one in _asked(gold) for one in _first(ranked, k)))


def reciprocal_rank(gold: Collection[str], ranked: Sequence[str]) -> float:
    """Return 1 / rank of the first gold document, 0 if there is none in the ranking.

    Voorhees 1999, The TREC-8 Question Answering Track Report, section 3; its mean over questions is the MRR.
    """
    wanted = _asked(gold)
    places = (place for place, one in enumerate(dict.fromkeys(ranked), start=1) if one in wanted)
    return 1.0 / next(places, math.inf)


def ndcg(gold: Collection[str], ranked: Sequence[str], k: int) -> float:
    """Return the discounted gain of the first k documents over the best one possible; a document is gold or is not.

    Järvelin and Kekäläinen 2002, Cumulated Gain-Based Evaluation of IR Techniques, section 2, with the discount
    1 / log2(1 + rank) of Burges et al. 2005, Learning to Rank using Gradient Descent, section 6.
    """
    wanted = _asked(gold)
    gain = sum(_discount(place) for place, one in enumerate(_first(ranked, k), start=1) if one in wanted)
    return gain / sum(_discount(place) for place in range(1, min(k, len(wanted)) + 1))


def _asked(gold: Collection[str]) -> set[str]:
    if not gold:
        raise ValueError("A question without gold documents has no rank; leave it out.")
    return set(gold)


def _first(ranked: Sequence[str], k: int) -> list[str]:
    """Return the first k different documents."""
    if k < 1:
        raise ValueError("k counts from 1.")
    return list(dict.fromkeys(ranked))[:k]


def _discount(place: int) -> float:
    return 1.0 / math.log2(1 + place)
