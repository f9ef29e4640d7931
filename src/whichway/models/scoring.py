"""Likelihood of label texts after many prompts: the shared prefix is computed once, labels are laid in one trie."""

# A label's score is the summed log-probability of all its tokens (labels of several tokens are scored whole). One
# forward pass reads, for every row of a batch, the row's own tokens and all inner nodes of the trie under a tree mask,
# on top of the prefix that attention.py shares without copying it. Measured in bench/scoring.py.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whichway.models import alone, anatomy, attention, hardware, pace
from whichway.models.attention import read_apart
from whichway.models.end_to_end import laid
from whichway.models.likelihoods import Likelihoods
from whichway.models.prefixes import NODE_COST, PrefixStore, plan
from whichway.models.trie import Trie, build_trie

ROW_TOKENS = (
    1024,
    32_768,
)  # own tokens of one batch, where pace.py finds two cores, or a GPU, fastest at their usual size
GROUP = (NODE_COST, 4096)  # tokens that a further group must save: on a GPU what it reads in the time of a launch


class PrefixScorer:
    """Scores prompts against labels on one network; keeps what prompts begin with for later calls."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.shares = attention.install(network)
        self.reach = anatomy.window(network) if self.shares else 0  # tokens up to which a text may share its beginning
        self.prefixes = PrefixStore(network)

    def score(
        self, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], shared: Sequence[int] = ()
    ) -> Any:
        """Return float64 [len(prompts), len(labels)]; what prompts share is computed once, `shared` also between calls."""
        import numpy as np
        import torch

        trie = build_trie(labels)
        told = Likelihoods(self.network, trie)
        table = np.zeros((len(prompts), len(labels)))
        with torch.inference_mode():
            for chosen, states in self._read(prompts, trie, shared):
                table[chosen] = told.of(states)
        return table

    def _read(
        self, prompts: Sequence[Sequence[int]], trie: Trie, shared: Sequence[int]
    ) -> Iterator[tuple[list[int], Any]]:
        """Yield numbers of prompts and hidden states [rows, 1 + nodes, width]: at a prompt's end, and at every inner node."""
        most = self.reach - max(map(len, trie.steps)) + 1
        far = [i for i, prompt in enumerate(prompts) if len(prompt) > most]
        most_at_once = pace.scaled(ROW_TOKENS, anatomy.config(self.network))
        for batch in _batches(alone.sizes([len(prompts[i]) for i in far], trie.parents), most_at_once, padded=True):
            chosen = [far[i] for i in batch]
            yield chosen, alone.states(self.network, [prompts[i] for i in chosen], trie.tokens, trie.parents)
        near = [i for i, prompt in enumerate(prompts) if len(prompt) <= most]
        for group in plan([prompts[i] for i in near], shared, hardware.at_once(*GROUP)):
            past = self.prefixes.get(tuple(prompts[near[group.rows[0]]][: group.size]))
            own = [len(prompts[near[i]]) - group.size + len(trie.tokens) for i in group.rows]
            for batch in _batches(own, most_at_once, padded=False):
                chosen = [near[group.rows[i]] for i in batch]
                yield chosen, self._states(past, group.size, [list(prompts[i][group.size :]) for i in chosen], trie)

    def _states(self, past: Any, prefix: int, rows: list[list[int]], trie: Trie) -> Any:
        """Return hidden states [rows, 1 + nodes, width] of one batch behind a prefix, in one forward pass."""
        where = laid(rows, trie, prefix, self.network.device)
        return read_apart(self.network, where, past)[where.ends]


def _batches(lengths: list[int], most: int, padded: bool) -> Iterator[list[int]]:
    """Group rows of similar length so that no batch passes the bound on tokens, counted with padding or without."""
    batch: list[int] = []
    size = 0
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        size = (len(batch) + 1) * lengths[i] if padded else size + lengths[i]
        if batch and size > most:
            yield batch
            batch, size = [], lengths[i]
        batch.append(i)
    if batch:
        yield batch
