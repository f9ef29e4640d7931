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
from whichway.models.branches import Branches
from whichway.models.end_to_end import laid
from whichway.models.likelihoods import Likelihoods, Steps
from whichway.models.prefixes import NODE_COST, PrefixStore, plan
from whichway.models.trie import Trie, build_trie

ROW_TOKENS = (
    1024,
    32_768,
)  # own tokens of one batch, where pace.py finds two cores, or a GPU, fastest at their usual size
PARTLY = 4  # times as many where a trie is read in parts, most of whose nodes are never read
# Nodes behind all rows from which parts may pay; on a GPU (not measured) what takes longer than several launches.
FEWEST = (512, 32_768)
SHARE = 0.2  # of free memory that keys and values of rows read in parts may take
GROUP = (NODE_COST, 4096)  # tokens that a further group must save: on a GPU what it reads in the time of a launch


class PrefixScorer:
    """Scores prompts against labels on one network; keeps what prompts begin with for later calls."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.shares = attention.install(network)
        self.reach = anatomy.window(network) if self.shares else 0  # tokens up to which a text may share its beginning
        self.prefixes = PrefixStore(network)

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        labels: Sequence[Sequence[int]],
        shared: Sequence[int] = (),
        within: float = math.inf,
        bias: Sequence[float] = (),
        usual: Sequence[Sequence[float]] = (),
    ) -> Any:
        """Return float64 [len(prompts), len(labels)]; what prompts share is computed once, `shared` also between calls.

        Of labels that are certain to lie more than `within` nats below a prompt's best, each less its `bias`, only as many
        tokens are read as make it certain: their numbers are bounds, not below the likelihood and as far below the best, or
        estimates, where `usual` says of each label what its tokens usually have.
        """
        trie = build_trie(labels)
        told = Likelihoods(self.network, trie)
        if within == math.inf or len(prompts) * len(trie.tokens) < max(1, hardware.at_once(*FEWEST)):
            return self._table(prompts, shared, told)
        is_of_these = [len(one) for one in usual] == [len(one) for one in labels]  # not of labels written otherwise
        return self._table(prompts, shared, Branches(trie, told, within, bias, usual if is_of_these else ()))

    def score_steps(
        self, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], shared: Sequence[int] = ()
    ) -> Any:
        """Return float64 [prompts, labels, tokens]: what `score` sums up, NaN behind a label's last token."""
        return self._table(prompts, shared, Steps(self.network, build_trie(labels)))

    def _table(self, prompts: Sequence[Sequence[int]], shared: Sequence[int], told: Likelihoods | Branches) -> Any:
        """Return float64 [prompts, labels] (or of their tokens, too), read whole or in parts."""
        import numpy as np
        import torch

        trie, whole = told.trie, told.told if isinstance(told, Branches) else told
        table = np.zeros((len(prompts), *whole.shape))
        most = self.reach - max(map(len, trie.steps)) + 1
        near, far = ([i for i, row in enumerate(prompts) if (len(row) <= most) is side] for side in (True, False))
        with torch.inference_mode():
            for chosen, states in self._read_alone([(i, prompts[i]) for i in far], trie):
                table[chosen] = whole.of(states)
            for group in plan([prompts[i] for i in near], shared, hardware.at_once(*GROUP)):
                past = self.prefixes.get(tuple(prompts[near[group.rows[0]]][: group.size]))
                own = [(near[i], prompts[near[i]][group.size :]) for i in group.rows]
                for chosen, found in self._read_behind(past, group.size, own, told):
                    table[chosen] = found
        return table

    def _read_behind(
        self, past: Any, before: int, own: Sequence[tuple[int, Sequence[int]]], told: Likelihoods | Branches
    ) -> Iterator[tuple[list[int], Any]]:
        """Yield numbers of rows and log-likelihoods [rows, labels], read whole or in parts, behind `before` tokens they share."""
        nodes = len(told.trie.tokens)
        if isinstance(told, Branches):
            room = self._room()
            for chosen, rows in _cut(own, told.widest, PARTLY * room, hardware.at_once(PARTLY * room, room)):
                if len(rows) * nodes >= hardware.at_once(*FEWEST):
                    yield chosen, told.table(self.network, rows, past, before)
                else:
                    yield from self._read_behind(past, before, list(zip(chosen, rows, strict=True)), told.told)
            return
        for chosen, rows in _cut(own, nodes, self._most):
            where = laid(rows, told.trie, before, self.network.device)
            yield chosen, told.of(read_apart(self.network, where, past)[where.ends])

    def _room(self) -> int:
        """Return how many tokens' keys and values of all layers may be held while a trie is read in parts."""
        each = anatomy.token_bytes(self.network)
        return max(1, int(min(self._most, SHARE / PARTLY * hardware.free_bytes() / each)))

    def _read_alone(self, prompts: Sequence[tuple[int, Sequence[int]]], trie: Trie) -> Iterator[tuple[list[int], Any]]:
        """Yield numbers of prompts and hidden states [rows, 1 + nodes, width]: at a prompt's end, and at every inner node."""
        sizes = alone.sizes([len(row) for _, row in prompts], trie.parents)
        for batch in _batches(sizes, self._most):
            rows = [prompts[i][1] for i in batch]
            yield [prompts[i][0] for i in batch], alone.states(self.network, rows, trie.tokens, trie.parents)

    @property
    def _most(self) -> int:
        return pace.scaled(ROW_TOKENS, anatomy.config(self.network))


def _cut(
    own: Sequence[tuple[int, Sequence[int]]], nodes: int, most: int, most_own: float = math.inf
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Yield numbers of rows and their tokens, sorted by length: up to `most` with nodes behind each row, `most_own` without."""
    batch: list[tuple[int, Sequence[int]]] = []
    size = 0
    for one in sorted(own, key=lambda one: (len(one[1]), one[0])):
        size += len(one[1])
        if batch and (size + (len(batch) + 1) * nodes > most or size > most_own):
            yield [i for i, _ in batch], [list(row) for _, row in batch]
            batch, size = [], len(one[1])
        batch.append(one)
    if batch:
        yield [i for i, _ in batch], [list(row) for _, row in batch]


def _batches(lengths: list[int], most: int) -> Iterator[list[int]]:
    """Group rows of similar length so that no batch passes the bound on tokens, counted with padding."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[i] > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
