"""Rows laid end to end: products read one sequence without padding, attention alone pads, in blocks of rows of like length."""

# Rows of 10 to 100 tokens, each with a trie of labels behind it, make half of a padded batch empty. As in packed.py, but for
# reading behind a shared beginning (attention.py), and with a tree instead of a line behind each row. A wide tree is cut
# into bunches of branches: a node sees its row and its own branch, and is not compared with all the others.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from whichway.models import hardware
from whichway.models.trie import Trie

PADDED = (
    1.2,
    2.0,
)  # times a block's tokens that it may be padded to: on a GPU, which waits for launches, blocks are few
BUNCH = 16  # nodes that are compared with each other, where no branch holds more


@dataclass(frozen=True)
class Block:
    """Tokens `asks` [rows, asking] of a sequence that look at its tokens `sees` [rows, seen].

    `unseen` [rows, asking, seen] tells what each does not see. Padding repeats a token; `kept` are the places in asks, read
    flat, of those that are none.
    """

    asks: Any
    sees: Any
    unseen: Any
    kept: Any


@dataclass(frozen=True)
class Rows:
    """A sequence [1, tokens] of rows, each its own tokens and then a trie's, behind others that all share.

    `ids` and `positions` are [1, tokens]; `places` [tokens] tells where each token comes among what the blocks keep, one after
    the other, and `ends` [rows, 1 + nodes] where each row's last own token and nodes stand.
    """

    blocks: tuple[Block, ...]
    places: Any
    ids: Any
    positions: Any
    ends: Any


def laid(rows: Sequence[Sequence[int]], trie: Trie, before: int, device: Any) -> Rows:
    """Lay rows, sorted by length, end to end; `before` tokens stand before each of them."""
    import torch

    nodes, bunches, tree = len(trie.tokens), _bunches(trie), _tree(trie)
    lengths = torch.tensor([len(row) for row in rows])
    starts = (lengths + nodes).cumsum(0) - lengths - nodes
    blocks = [
        block
        for part in _alike([len(row) for row in rows])
        for block in _looking(starts[part, None], lengths[part, None], bunches, tree)
    ]
    order = torch.cat([block.asks.flatten()[block.kept] for block in blocks])
    ids = [token for row in rows for token in (*row, *trie.tokens)]
    positions = [before + at for row in rows for at in (*range(len(row)), *(len(row) + one for one in trie.depths))]
    return Rows(
        tuple(Block(*(one.to(device) for one in (b.asks, b.sees, b.unseen, b.kept))) for b in blocks),
        order.argsort().to(device),
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        ((starts + lengths)[:, None] + torch.arange(-1, nodes)).to(device),
    )


def _alike(lengths: Sequence[int]) -> Iterator[slice]:
    """Cut rows, sorted by length, where padding them to the longest would cost too much."""
    most, start = hardware.by_device(*PADDED), 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or (end + 1 - start) * lengths[end] > most * sum(lengths[start : end + 1]):
            yield slice(start, end)
            start = end


def _bunches(trie: Trie) -> list[list[int]]:
    """Return the nodes in bunches of whole branches, the last ones of each filled up to the same size by -1."""
    branches: dict[int, list[int]] = {}
    tops: list[int] = []
    for node, parent in enumerate(trie.parents):
        tops.append(node if parent < 0 else tops[parent])
        branches.setdefault(tops[node], []).append(node)
    bunches: list[list[int]] = []
    for branch in branches.values():
        if not bunches or len(bunches[-1]) + len(branch) > BUNCH:
            bunches.append([])
        bunches[-1] += branch
    widest = max(map(len, bunches), default=0)
    return [bunch + [-1] * (widest - len(bunch)) for bunch in bunches]


def _looking(starts: Any, lengths: Any, bunches: list[list[int]], tree: Any) -> Iterator[Block]:
    """Yield who looks at whom among rows of like length, of which `starts` and `lengths` are [rows, 1].

    `tree` is [nodes, nodes], of `_tree`.
    """
    import torch

    rows, longest = len(starts), int(lengths.max())
    line = torch.arange(longest)
    own, real = starts + line.clamp(max=lengths - 1), line < lengths
    after = (line[:, None] < line).expand(rows, -1, -1)
    yield Block(own, own, after, real.flatten().nonzero()[:, 0])
    if not bunches:
        return
    chosen = torch.tensor(bunches)  # [bunches, size]
    nodes, size = chosen.clamp(min=0), chosen.shape[1]
    place = starts[..., None] + lengths[..., None] + nodes  # [rows, bunches, size]
    asks = place.flatten(0, 1)
    sees = torch.cat([own[:, None].expand(-1, len(chosen), -1).flatten(0, 1), asks], 1)
    padding = (~real)[:, None, None].expand(-1, len(chosen), size, -1).flatten(0, 1)
    apart = ~tree[nodes[:, :, None], nodes[:, None]] | (chosen < 0)[:, None]
    unseen = torch.cat([padding, apart.repeat(rows, 1, 1)], 2)
    yield Block(asks, sees, unseen, (chosen >= 0).expand(rows, -1, -1).flatten().nonzero()[:, 0])


def _tree(trie: Trie) -> Any:
    """Return [nodes, nodes]: whether the second stands on the way to the first, or is it."""
    import torch

    tree = torch.eye(len(trie.tokens), dtype=torch.bool)
    for node, parent in enumerate(trie.parents):
        if parent >= 0:
            tree[node] |= tree[parent]
    return tree
