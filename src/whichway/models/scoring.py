"""Likelihood of label texts after many prompts: the shared prefix is computed once, labels are laid in one trie."""

# A label's score is the summed log-probability of all its tokens (labels of several tokens are scored whole). One
# forward pass reads, for every row of a batch, the row's own tokens and all inner nodes of the trie under a tree mask,
# on top of the prefix that attention.py shares without copying it. Measured in bench/scoring.py.

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from whichway.models import alone, anatomy, attention, hardware, pace
from whichway.models.attention import read_apart
from whichway.models.branches import FEWEST, Branches, Seen
from whichway.models.end_to_end import laid
from whichway.models.likelihoods import Likelihoods
from whichway.models.prefixes import NODE_COST, PrefixStore, plan
from whichway.models.trie import Trie, build_trie

ROW_TOKENS = (
    1024,
    32_768,
)  # own tokens of one batch, where pace.py finds two cores, or a GPU, fastest at their usual size
PARTLY = 4  # times as many where tries are read in parts: of those most is never read
GROUP = (NODE_COST, 4096)  # tokens that a further group must save: on a GPU what it reads in the time of a launch


class PrefixScorer:
    """Scores prompts against labels on one network; keeps what prompts begin with for later calls."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.shares = attention.install(network)
        self.reach = anatomy.window(network) if self.shares else 0  # tokens up to which a text may share its beginning
        self.prefixes = PrefixStore(network)
        self.seen: dict[tuple[tuple[int, ...], float], Seen] = {}  # how much of a trie had to be read so far

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        labels: Sequence[Sequence[int]],
        shared: Sequence[int] = (),
        within: float = math.inf,
        bias: Sequence[float] = (),
    ) -> Any:
        """Return float64 [len(prompts), len(labels)]; what prompts share is computed once, `shared` also between calls.

        Of labels that are certain to lie more than `within` nats below a prompt's best, each less its `bias`, only as many
        tokens are read as make it certain: their numbers are bounds, not below the likelihood and as far below the best.
        """
        import numpy as np
        import torch

        trie = build_trie(labels)
        told = Likelihoods(self.network, trie)
        table = np.zeros((len(prompts), len(labels)))
        most = self.reach - max(map(len, trie.steps)) + 1
        near, far = ([i for i, row in enumerate(prompts) if (len(row) <= most) is side] for side in (True, False))
        parts = self._in_parts(trie, told, within, bias)
        with torch.inference_mode():
            for chosen, states in self._read_alone([(i, prompts[i]) for i in far], trie):
                table[chosen] = told.of(states)
            for group in plan([prompts[i] for i in near], shared, hardware.at_once(*GROUP)):
                past = self.prefixes.get(tuple(prompts[near[group.rows[0]]][: group.size]))
                own = [(near[i], prompts[near[i]][group.size :]) for i in group.rows]
                for chosen, rows in self._batches(
                    own, parts.widest if parts else len(trie.tokens), PARTLY if parts else 1
                ):
                    if parts and parts.pays and len(rows) * len(trie.tokens) >= FEWEST:
                        table[chosen] = parts.table(self.network, rows, past, group.size)
                        continue
                    for some, whole in self._batches(list(zip(chosen, rows, strict=True)), len(trie.tokens)):
                        where = laid(whole, trie, group.size, self.network.device)
                        table[some] = told.of(read_apart(self.network, where, past)[where.ends])
        return table

    def _in_parts(self, trie: Trie, told: Likelihoods, within: float, bias: Sequence[float]) -> Branches | None:
        """Return what reads the trie in parts, where enough of it was left unread in earlier calls; None: nothing does."""
        if within == math.inf or not trie.tokens:
            return None
        parts = Branches(trie, told, within, bias, self.seen.setdefault((trie.tokens, within), Seen()))
        return parts if parts.pays else None

    def _read_alone(self, prompts: Sequence[tuple[int, Sequence[int]]], trie: Trie) -> Iterator[tuple[list[int], Any]]:
        """Yield numbers of prompts and hidden states [rows, 1 + nodes, width]: at a prompt's end, and at every inner node."""
        sizes = alone.sizes([len(row) for _, row in prompts], trie.parents)
        for batch in _batches(sizes, self._most, padded=True):
            rows = [prompts[i][1] for i in batch]
            yield [prompts[i][0] for i in batch], alone.states(self.network, rows, trie.tokens, trie.parents)

    def _batches(
        self, rows: Sequence[tuple[int, Sequence[int]]], nodes: int, times: int = 1
    ) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Yield numbers of rows and their tokens, sorted by length: as many as are read at once, each with so many nodes."""
        for batch in _batches([len(row) + nodes for _, row in rows], times * self._most, padded=False):
            yield [rows[i][0] for i in batch], [list(rows[i][1]) for i in batch]

    @property
    def _most(self) -> int:
        return pace.scaled(ROW_TOKENS, anatomy.config(self.network))


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
