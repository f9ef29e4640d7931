"""Rows laid end to end: products read one sequence without padding, attention alone pads, in blocks of rows of like length."""

# Rows of 10 to 100 tokens, each with a trie of labels behind it, make half of a padded batch empty. As in packed.py, but for
# reading behind a shared beginning (attention.py), and with a tree instead of a line behind each row. A wide tree is cut
# into bunches of branches: a node sees its row and its own branch, and is not compared with all the others.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
    kept: Kept | None = None


@dataclass(frozen=True)
class Kept:
    """Keys and values [heads, tokens, width] per layer of all sequences that were read one after the other."""

    layers: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    def grown(self, layer: int, keys: Any, values: Any) -> tuple[Any, Any]:
        """Keep those of one more sequence; return all of this layer."""
        import torch

        if layer in self.layers:
            keys, values = (torch.cat(both, 1) for both in zip(self.layers[layer], (keys, values), strict=True))
        self.layers[layer] = keys, values
        return keys, values


class Layout:
    """Where the nodes of a trie stand that were read behind rows, of which `ends` are the places of their last tokens.

    `places` [rows, nodes] counts through all sequences; -1: not read.
    """

    def __init__(self, ends: Any, lengths: Any, before: int, nodes: int) -> None:
        self.starts, self.lengths, self.before = ends + 1 - lengths, lengths, before
        self.places = ends.new_full((len(ends), nodes), -1)
        self.size = int(lengths.sum())


def laid(rows: Sequence[Sequence[int]], trie: Trie, before: int, device: Any, kept: Kept | None = None) -> Rows:
    """Lay rows, sorted by length, end to end; `before` tokens stand before each of them. `kept` is for what comes after."""
    import torch

    nodes, bunches, tree = len(trie.tokens), _bunches(trie), tree_of(trie)
    lengths = torch.tensor([len(row) for row in rows])
    starts = (lengths + nodes).cumsum(0) - lengths - nodes
    blocks = [
        block
        for part in _alike([len(row) for row in rows])
        for block in _looking(starts[part, None], lengths[part, None], bunches, tree)
    ]
    ids = torch.tensor([token for row in rows for token in (*row, *trie.tokens)])
    places = [before + at for row in rows for at in (*range(len(row)), *(len(row) + one for one in trie.depths))]
    ends = (starts + lengths)[:, None] + torch.arange(-1, nodes)
    return _rows(blocks, ids, torch.tensor(places), ends, device, kept)


def laid_on(layout: Layout, wanted: Any, trie: Trie, tree: Any, device: Any, kept: Kept) -> tuple[Rows, Any, Any]:
    """Lay further nodes, `wanted` [rows, nodes], of a trie behind rows that were read; `layout` is told of them.

    Returns the sequence, and whose row and which node each of its tokens is. `tree` is that of `tree_of`.
    """
    import torch

    whose, nodes = wanted.nonzero(as_tuple=True)
    size, layout.size = layout.size, layout.size + len(nodes)
    layout.places[whose, nodes] = torch.arange(size, layout.size)
    some = wanted.any(1).nonzero()[:, 0]
    blocks = [
        _further(layout, some[part], wanted[some[part]], tree, size)
        for part in _alike([int(one) for one in layout.lengths[some]])
    ]
    ids, depths = torch.tensor(trie.tokens)[nodes], torch.tensor(trie.depths)[nodes]
    places = layout.before + layout.lengths[whose] + depths
    return _rows(blocks, ids, places, torch.arange(len(nodes))[:, None], device, kept), whose, nodes


def _further(layout: Layout, rows: Any, wanted: Any, tree: Any, size: int) -> Block:
    """Return who looks at whom among `wanted` nodes [rows, nodes] that stand behind `size` tokens read before."""
    import torch

    lengths, places = layout.lengths[rows, None], layout.places[rows]
    line = torch.arange(int(lengths.max()))
    own, real = layout.starts[rows, None] + line.clamp(max=lengths - 1), line < lengths
    asks, asked = _first(wanted)
    sees, seen = _first(places >= 0)
    unseen = ~tree[asks[:, :, None], sees[:, None]] | ~seen[:, None]
    return Block(
        (places.gather(1, asks) - size).clamp(min=0),
        torch.cat([own, places.gather(1, sees).clamp(min=0)], 1),
        torch.cat([(~real)[:, None].expand(-1, asks.shape[1], -1), unseen], 2),
        asked.flatten().nonzero()[:, 0],
    )


def _first(chosen: Any) -> tuple[Any, Any]:
    """Return the numbers of what is chosen in each row [rows, n], filled up by others, and which are chosen."""
    import torch

    order = torch.sort((~chosen).to(torch.uint8), dim=1, stable=True).indices[:, : int(chosen.sum(1).max())]
    return order, chosen.gather(1, order)


def _rows(blocks: Sequence[Block], ids: Any, places: Any, ends: Any, device: Any, kept: Kept | None) -> Rows:
    import torch

    order = torch.cat([block.asks.flatten()[block.kept] for block in blocks])
    return Rows(
        tuple(Block(*(one.to(device) for one in (b.asks, b.sees, b.unseen, b.kept))) for b in blocks),
        order.argsort().to(device),
        ids[None].to(device),
        places[None].to(device),
        ends.to(device),
        kept,
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

    `tree` is [nodes, nodes], of `tree_of`.
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


def tree_of(trie: Trie) -> Any:
    """Return [nodes, nodes]: whether the second stands on the way to the first, or is it."""
    import torch

    tree = torch.eye(len(trie.tokens), dtype=torch.bool)
    for node, parent in enumerate(trie.parents):
        if parent >= 0:
            tree[node] |= tree[parent]
    return tree
