"""Several rankings of the same passages made one: reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONSTANT = 60.0  # of the paper; how little the first ranks stand out


def ranks(scores: Any) -> Any:
    """Return the rank of each score in its row, counted from 1; equal scores share the best of their ranks."""
    import numpy as np

    order = np.argsort(-scores, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=1)
    place = np.broadcast_to(np.arange(1, scores.shape[1] + 1), scores.shape)
    first = np.concatenate([np.ones((len(scores), 1), dtype=bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    shared = np.maximum.accumulate(np.where(first, place, 0), axis=1)
    found = np.empty(scores.shape, dtype=np.int64)
    np.put_along_axis(found, order, shared, axis=1)
    return found


def fuse(scores: Sequence[Any]) -> Any:
    """Return the sum of 1 / (60 + rank) over several tables of scores [queries, passages].

    Cormack, Clarke and Büttcher 2009, Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods.
    """
    return sum(1.0 / (CONSTANT + ranks(one)) for one in scores)


def best(scores: Any, k: int) -> Any:
    """Return the numbers of the k best of each row, best first; of equals the first one comes first."""
    import numpy as np

    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
