"""One tree over the prompts of many rows and many candidate prompts: what they share is computed once and kept."""

# As in SGLang's radix cache (Zheng et al. 2024), but planned: all prompts of a call are known, so that it can be said
# beforehand which beginnings are worth a node. Kept nodes are found by their longest common beginning, also by later calls.

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import finalize

from whichway.models import attention
from whichway.models.shelf import SHELF, Shelf, States, Tokens, new_number

NODE_COST = 48  # tokens that a further group must save: what its own batches and a call lose
DEEPEST = 64
PIECE = 128
KEPT_WHOLE = 4


@dataclass(frozen=True)
class Group:
    """Rows that are read behind the same `size` first tokens."""

    size: int
    rows: tuple[int, ...]


def plan(rows: Sequence[Sequence[int]], shared: Sequence[int] = (), cost: int = NODE_COST) -> list[Group]:
    """Group rows by what they share so that the fewest tokens are computed; every row keeps one token of its own.

    `shared` is what rows are expected to begin with, also in calls to come: worth a node even for a single row.
    `cost` is how many tokens a further group must save.
    """
    order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
    if not rows:
        return []
    alike = [_common(rows[a], rows[b]) for a, b in zip(order, order[1:], strict=False)]
    known = min(min(_common(row, shared), len(row) - 1) for row in rows) if shared else 0
    return _Tree(rows, cost).split(order, alike, known)[1]


class _Tree:
    """The tree over rows, cut where a further group saves more than `price` tokens."""

    def __init__(self, rows: Sequence[Sequence[int]], price: int) -> None:
        self.rows, self.price = rows, price

    def split(self, order: list[int], alike: list[int], above: int, depth: int = 0) -> tuple[int, list[Group]]:
        """Return tokens to compute after the first `above` ones, and the groups.

        `order` are row numbers, sorted by tokens; `alike[i]` is how many tokens order[i] and order[i + 1] share.
        """
        size = min([*alike, *(len(self.rows[i]) - 1 for i in order)])
        if len(order) == 1 or size <= above:
            size = above
        loose: list[int] = []
        groups: list[Group] = []
        cost, start = size - above, 0
        for end in [i + 1 for i, one in enumerate(alike) if one <= size] + [len(order)]:
            part = order[start:end]
            flat = sum(len(self.rows[i]) - size for i in part)
            deeper = 1 < len(part) < len(order) and depth < DEEPEST
            inner = self.split(part, alike[start : end - 1], size, depth + 1) if deeper else None
            if inner and inner[0] + self.price < flat:
                cost, groups = cost + inner[0] + self.price, groups + inner[1]
            else:
                cost, loose = cost + flat, loose + part
            start = end
        return cost, groups + ([Group(size, tuple(sorted(loose)))] if loose else [])


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two rows share at their beginning."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


class PrefixStore:
    """Keys and values of a network's beginnings, kept on a shelf whose bound holds for all stores together.

    A beginning is computed in pieces that end at multiples of PIECE tokens, each behind those before it, so that its
    numbers are the same whatever was asked before, and an edit near its end costs its last pieces only.
    """

    def __init__(self, network: Any, shelf: Shelf = SHELF) -> None:
        self.network, self.shelf, self.number = network, shelf, new_number()
        self.computed = 0  # tokens, over all calls
        self._whole: OrderedDict[Tokens, None] = OrderedDict()  # those laid end to end of several pieces: copies
        finalize(self, shelf.forget, self.number)

    def get(self, prefix: Tokens) -> States | None:
        """Return per layer keys and values [1, heads, tokens, width] of a beginning; None for an empty one."""
        if len(prefix) <= PIECE:
            return self._piece([], prefix) if prefix else None
        key = (self.number, True, prefix)
        whole = self.shelf.find(key)
        if whole is None:
            chain: list[States] = []
            for start in range(0, len(prefix), PIECE):
                chain.append(self._piece(chain, prefix[: start + PIECE]))
            whole = _joined(chain)
            self.shelf.keep(key, whole)
        self._whole[prefix] = None
        self._whole.move_to_end(prefix)
        while len(self._whole) > KEPT_WHOLE:
            self.shelf.drop((self.number, True, self._whole.popitem(last=False)[0]))
        return whole

    def _piece(self, before: list[States], tokens: Tokens) -> States:
        """Return the states of the last piece of some tokens, behind those of the pieces before it."""
        key = (self.number, False, tokens)
        states = self.shelf.find(key)
        if states is None:
            own = tokens[len(before) * PIECE :]
            states = attention.states_after(self.network, _joined(before), own)
            self.computed += len(own)
            self.shelf.keep(key, states)
        return states


def _joined(chain: list[States]) -> States:
    """Return the states of pieces laid end to end; of one piece, itself."""
    import torch

    if len(chain) < 2:
        return chain[0] if chain else []
    layers = zip(*chain, strict=True)
    return [(torch.cat([k for k, _ in one], dim=2), torch.cat([v for _, v in one], dim=2)) for one in layers]
