"""Rows laid end to end: products read one sequence without padding, attention alone pads, in blocks of rows of like length."""

# Rows of 10 to 100 tokens, each with a trie of labels behind it, make half of a padded batch empty. As in packed.py, but for
# reading behind a shared beginning (attention.py), and with a tree instead of a line behind each row.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from whichway.models import hardware
from whichway.models.trie import Trie

PADDED = (
    1.2,
    2.0,
)  # times a block's tokens that it may be padded to: on a GPU, which waits for launches, blocks are few


@dataclass(frozen=True)
class Block:
    """Rows that stand side by side, padded to `wide` tokens; theirs are tokens `start` to `stop` of the sequence.

    `places` [tokens] tells where each stands in [rows, wide], `mask` [rows, wide, wide] what each sees of its own row.
    """

    start: int
    stop: int
    rows: int
    wide: int
    places: Any
    mask: Any

    @cached_property
    def unseen(self) -> Any:
        """What each token does not see, by rows: the mask turned round, made once for all layers."""
        return ~self.mask

    def padded(self, states: Any) -> Any:
        """[heads, tokens, width] of the whole sequence -> [rows, heads, wide, width] of this block, zeros at padding."""
        own = states[:, self.start : self.stop]
        if len(self.places) < self.rows * self.wide:
            room = own.new_zeros(own.shape[0], self.rows * self.wide, own.shape[2])
            own = room.index_copy_(1, self.places, own)
        return own.unflatten(1, (self.rows, self.wide)).transpose(0, 1)

    def packed(self, states: Any) -> Any:
        """[rows, heads, wide, ...] -> [heads, tokens, ...]: without the padding."""
        flat = states.transpose(0, 1).flatten(1, 2)
        return flat.index_select(1, self.places) if len(self.places) < flat.shape[1] else flat


@dataclass(frozen=True)
class Rows:
    """A sequence [1, tokens] of rows, each its own tokens and then a trie's, behind `before` tokens that all share.

    `ids` and `positions` are [1, tokens]; `asked` [rows, 1 + nodes] tells where each row's last own token and nodes stand.
    """

    blocks: tuple[Block, ...]
    ids: Any
    positions: Any
    asked: Any


def laid(rows: Sequence[Sequence[int]], trie: Trie, before: int, device: Any) -> Rows:
    """Lay rows, sorted by length, end to end."""
    import torch

    nodes = len(trie.tokens)
    blocks, start = [], 0
    for part in _blocks([len(row) + nodes for row in rows]):
        blocks.append(_block([len(row) for row in rows[part]], trie, start, device))
        start = blocks[-1].stop
    lengths = torch.tensor([len(row) for row in rows])
    ends = (lengths + nodes).cumsum(0) - nodes  # where each row's trie begins
    ids = [token for row in rows for token in (*row, *trie.tokens)]
    places = [before + place for row in rows for place in (*range(len(row)), *(len(row) + one for one in trie.depths))]
    return Rows(
        tuple(blocks),
        torch.tensor([ids], device=device),
        torch.tensor([places], device=device),
        (ends[:, None] + torch.arange(-1, nodes)[None]).to(device),
    )


def _blocks(lengths: Sequence[int]) -> Iterator[slice]:
    """Cut rows, sorted by length, where padding them to the longest would cost too much."""
    most, start = hardware.by_device(*PADDED), 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or (end + 1 - start) * lengths[end] > most * sum(lengths[start : end + 1]):
            yield slice(start, end)
            start = end


def _block(lengths: Sequence[int], trie: Trie, start: int, device: Any) -> Block:
    """Return the block of rows of such lengths. A row's trie stands behind the padding, where it is the same in all rows."""
    import torch

    nodes, longest, count = len(trie.tokens), max(lengths), len(lengths)
    wide = longest + nodes
    here = torch.arange(longest, device=device)[None] < torch.tensor(lengths, device=device)[:, None]
    real = torch.cat([here, here.new_ones(count, nodes)], 1)
    mask = real.new_zeros(count, wide, wide)
    mask[:, :longest, :longest] = real.new_ones(longest, longest).tril()
    mask[:, longest:, :longest] = here[:, None]
    mask[:, longest:, longest:] = _tree(trie).to(device)
    places = real.flatten().nonzero()[:, 0]
    return Block(start, start + len(places), count, wide, places, mask)


def _tree(trie: Trie) -> Any:
    """Return [nodes, nodes]: whether the second stands on the way to the first, or is it."""
    import torch

    tree = torch.eye(len(trie.tokens), dtype=torch.bool)
    for node, parent in enumerate(trie.parents):
        if parent >= 0:
            tree[node] |= tree[parent]
    return tree
