"""Label texts as a tree of tokens: what labels begin with alike is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trie:
    """Label tokens as a tree. Inner nodes are those something follows; `steps[i]` lists label i's (inner node, token)."""

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]


def build_trie(labels: Sequence[Sequence[int]]) -> Trie:
    """Lay token sequences in a trie; node -1 is the end of the prompt."""
    index: dict[tuple[int, ...], int] = {}
    tokens: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    steps: list[tuple[tuple[int, int], ...]] = []
    for label in labels:
        path: list[tuple[int, int]] = []
        for position, token in enumerate(label):
            node = index.get(tuple(label[:position]), -1)
            path.append((node, token))
            prefix = tuple(label[: position + 1])
            if position + 1 < len(label) and prefix not in index:
                index[prefix] = len(tokens)
                tokens.append(token)
                parents.append(node)
                depths.append(position)
        steps.append(tuple(path))
    return Trie(tuple(tokens), tuple(parents), tuple(depths), tuple(steps))
