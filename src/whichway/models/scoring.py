"""Likelihood of label texts after many prompts: the shared prefix is computed once, labels are laid in one trie.

A label's score is the summed log-probability of all its tokens (labels of several tokens are scored whole). One forward
pass reads the rows' own tokens on top of the cached prefix; a second one, needed only for labels of several tokens,
reads all inner nodes of the trie under a tree mask. Measured against recomputing the prefix in bench/scoring.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

ROW_TOKENS = 2048  # own tokens of one batch: enough to fill two cores, small enough to stay in cache
CACHE_BYTES = 1 << 30  # keys and values of one batch, prefix included
KEPT_PREFIXES = 4
HEAD_ROWS = 256  # rows of the vocabulary projection at a time: 50 MB in fp32 for 49,152 words


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
    tokens, parents, depths, steps = [], [], [], []
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


class PrefixScorer:
    """Scores prompts against labels on one network; keeps the last few prefixes' keys and values."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.kept: OrderedDict[tuple[int, ...], list[tuple[Any, Any]]] = OrderedDict()
        config = network.config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.token_bytes = 2 * config.num_hidden_layers * heads * width * network.dtype.itemsize

    def score(self, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], shared: Sequence[int]) -> Any:
        """Return float64 [len(prompts), len(labels)]; `shared` are the tokens that prompts are expected to begin with."""
        import numpy as np
        import torch

        trie = build_trie(labels)
        prefix = common_prefix([shared, *(row[:-1] for row in prompts)])
        table = np.zeros((len(prompts), len(labels)))
        with torch.inference_mode():
            past = self._prefix(prefix)
            for batch in self._batches([len(row) - len(prefix) for row in prompts], len(prefix), len(trie.tokens)):
                rows = [list(prompts[i][len(prefix) :]) for i in batch]
                table[batch] = self._score_batch(past, len(prefix), rows, trie)
        return table

    def _prefix(self, prefix: tuple[int, ...]) -> list[tuple[Any, Any]]:
        """Return keys and values [1, heads, tokens, width] per layer, computed at most once while kept."""
        import torch
        from transformers import DynamicCache

        if not prefix:
            return []
        if prefix not in self.kept:
            cache = DynamicCache()
            ids = torch.tensor([prefix], device=self.network.device)
            self.network.model(input_ids=ids, past_key_values=cache, use_cache=True)
            self.kept[prefix] = [(layer.keys, layer.values) for layer in cache.layers]
            while len(self.kept) > KEPT_PREFIXES:
                self.kept.popitem(last=False)
        self.kept.move_to_end(prefix)
        return self.kept[prefix]

    def _batches(self, lengths: list[int], prefix: int, nodes: int) -> Iterator[list[int]]:
        """Group rows of similar length so that no batch passes the token and memory bounds."""
        order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
        batch: list[int] = []
        for i in order:
            wide = lengths[i] + nodes
            rows = len(batch) + 1
            full = rows * wide > ROW_TOKENS or rows * (prefix + wide) * self.token_bytes > CACHE_BYTES
            if batch and full:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _score_batch(self, past: list[tuple[Any, Any]], prefix: int, rows: list[list[int]], trie: Trie) -> Any:
        import numpy as np
        import torch
        from transformers import DynamicCache

        count, longest = len(rows), max(len(row) for row in rows)
        device = self.network.device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        # Padding stands at the right: under a causal mask no real token ever looks at it.
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(past):
            cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), layer)
        positions = torch.arange(prefix, prefix + longest, device=device)[None].expand(count, -1)
        hidden = self.network.model(
            input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=bool(trie.tokens)
        ).last_hidden_state
        last = hidden[torch.arange(count, device=device), lengths - 1]
        wanted = {node: sorted({t for path in trie.steps for n, t in path if n == node}) for node in _inner(trie)}
        found = {-1: self._log_probabilities(last, [wanted[-1]] * count)}
        if trie.tokens:
            inner = self._read_nodes(cache, prefix, longest, lengths, trie)
            flat = self._log_probabilities(inner.flatten(0, 1), [wanted[n] for _ in rows for n in range(len(trie.tokens))])
            for node in range(len(trie.tokens)):
                found[node] = flat[node :: len(trie.tokens)]
        table = np.zeros((count, len(trie.steps)))
        for label, path in enumerate(trie.steps):
            for node, token in path:
                at = wanted[node].index(token)
                table[:, label] += [row[at] for row in found[node]]
        return table

    def _read_nodes(self, cache: Any, prefix: int, longest: int, lengths: Any, trie: Trie) -> Any:
        """Return hidden states [rows, inner nodes, width]: each node sees its row's prompt and its own ancestors."""
        import torch

        device, count, nodes = self.network.device, len(lengths), len(trie.tokens)
        tree = torch.eye(nodes, dtype=torch.bool, device=device)
        for node, parent in enumerate(trie.parents):
            if parent >= 0:
                tree[node] |= tree[parent]
        own = torch.arange(longest, device=device)[None] < lengths[:, None]
        mask = torch.cat(
            [
                torch.ones(count, nodes, prefix, dtype=torch.bool, device=device),
                own[:, None].expand(-1, nodes, -1),
                tree[None].expand(count, -1, -1),
            ],
            dim=2,
        )[:, None]
        if self.network.config._attn_implementation == "eager":
            floor = torch.finfo(self.network.dtype).min
            mask = torch.zeros(mask.shape, dtype=self.network.dtype, device=device).masked_fill(~mask, floor)
        ids = torch.tensor(trie.tokens, device=device)[None].expand(count, -1)
        positions = prefix + lengths[:, None] + torch.tensor(trie.depths, device=device)[None]
        return self.network.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state

    def _log_probabilities(self, hidden: Any, wanted: list[list[int]]) -> list[list[float]]:
        """Return log-probabilities of the wanted next tokens for each hidden state, in fp32."""
        import torch

        found: list[list[float]] = []
        for start in range(0, len(hidden), HEAD_ROWS):
            logits = self.network.lm_head(hidden[start : start + HEAD_ROWS].contiguous()).float()
            norm = torch.logsumexp(logits, dim=1, keepdim=True)
            for row, tokens in enumerate(wanted[start : start + HEAD_ROWS]):
                found.append((logits[row, tokens] - norm[row]).tolist())
        return found


def common_prefix(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the tokens that all rows begin with."""
    first, last = min(map(tuple, rows)), max(map(tuple, rows))
    size = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:size]


def _inner(trie: Trie) -> range:
    return range(-1, len(trie.tokens))
