"""Labels that cannot be the answer are not read to their end: a trie is read branch by branch behind each row."""

# A label's likelihood only falls with each further token, so that what its first tokens have is a bound of it (branch and
# bound, Land & Doig 1960). First the rows alone are read, then of each row the likeliest branch whole, which gives a label
# to beat, then level by level what may still come near it. Keys and values of what was read are kept; nothing is read twice.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whichway.models.attention import read_apart
from whichway.models.end_to_end import Kept, Layout, laid, laid_on, tree_of
from whichway.models.likelihoods import Likelihoods
from whichway.models.trie import Trie, build_trie

WHOLE = 16  # nodes up to which a branch is read whole where a row has no label to beat yet


class Branches:
    """A trie of labels as it is read in parts: those within `nats` of a row's best, each label's likelihood less its `bias`.

    `usual`: log-probabilities that stand for those of each label's tokens that are not read; without them a bound is told.
    """

    def __init__(
        self, trie: Trie, told: Likelihoods, nats: float, bias: Sequence[float], usual: Sequence[Sequence[float]] = ()
    ) -> None:
        import torch

        self.trie, self.told, self.nats = trie, told, nats
        self.bias = torch.tensor(list(bias) or [0.0] * len(trie.steps), dtype=torch.float64)
        self.tree = tree_of(trie)
        into = list(zip(trie.parents, trie.tokens, strict=True))
        self.into = torch.tensor([told.place[one] for one in into], dtype=torch.long)
        self.parents = torch.tensor(trie.parents, dtype=torch.long)
        depths = torch.tensor(trie.depths)
        self.levels = [(depths == depth).nonzero()[:, 0] for depth in sorted(set(trie.depths))]
        self.paths = told.paths
        self.usual = torch.zeros(len(told.steps) + 1, dtype=torch.float64)
        for path, said in zip(told.paths, usual, strict=False):
            self.usual[path[: len(said)]] = torch.tensor(said, dtype=torch.float64)
        self.least = torch.full((len(into),), float("inf"), dtype=torch.float64)  # bias of a label behind each node
        for label, path in enumerate(trie.steps):
            for node, _ in path[1:]:
                self.least[node] = min(self.least[node], self.bias[label])
        self.dives = self._dives()
        self.widest = max(map(len, self.levels))  # nodes that are read at once, at most, once there is a label to beat

    def table(self, network: Any, rows: Sequence[Sequence[int]], past: Any, prefix: int) -> Any:
        """Return float64 [rows, labels] for rows, sorted by length, behind `prefix` tokens whose states are `past`.

        What lies further than `nats` below a row's best may be a bound, no less than the likelihood and as far below; less
        what is usual of the tokens that were not read.
        """
        import torch

        kept = Kept()
        first = laid(rows, build_trie([]), prefix, network.device, kept)
        layout = Layout(first.ends[:, 0].cpu(), torch.tensor([len(row) for row in rows]), prefix, len(self.trie.tokens))
        ends = read_apart(network, first, past)[first.ends[:, 0]]
        gains = torch.zeros((len(rows), len(self.told.steps) + 1), dtype=torch.float64)
        known = torch.zeros_like(gains, dtype=torch.bool)
        known[:, -1] = True
        self._learn(gains, known, ends, torch.arange(len(rows)), torch.full((len(rows),), -1))
        while (wanted := self._wanted(gains, known, layout.places >= 0)).any():
            where, whose, nodes = laid_on(layout, wanted, self.trie, self.tree, network.device, kept)
            self._learn(gains, known, read_apart(network, where, past), whose, nodes)
        return torch.where(known, gains, self.usual)[:, self.paths].sum(-1).numpy()

    def _learn(self, gains: Any, known: Any, states: Any, whose: Any, nodes: Any) -> None:
        """Write into `gains` and `known` [rows, steps] what hidden states [n, width] at `nodes` [n] of rows `whose` [n] tell."""
        which, steps, values = self.told.after(states, nodes)
        gains[whose[which], steps], known[whose[which], steps] = values, True

    def _wanted(self, gains: Any, known: Any, read: Any) -> Any:
        """Return booleans [rows, nodes]: which are to be read next, all of whose parents have been, or are with them.

        Nothing more of a row whose likelihoods are no numbers.
        """
        import torch

        whole = known[:, self.paths].all(-1)
        best = torch.where(whole, gains[:, self.paths].sum(-1) - self.bias, -torch.inf).amax(1)
        bounds = torch.empty(len(gains), len(self.trie.tokens), dtype=torch.float64)
        for nodes in self.levels:
            above = self.parents[nodes]
            before = bounds[:, above.clamp(min=0)].where(above >= 0, 0.0)
            bounds[:, nodes] = before + gains[:, self.into[nodes]]
        open_ = known[:, self.into] & ~read & bounds.isfinite()
        bounds = torch.where(open_, bounds - self.least, -torch.inf)
        wanted = open_ & (bounds >= (best - self.nats)[:, None])
        lost = (best == -torch.inf) & open_.any(1)  # no label to beat yet
        wanted[lost] = self.dives[bounds[lost].argmax(1)]
        return wanted

    def _dives(self) -> Any:
        """Return [nodes, nodes]: what is read from a node on to find a label to beat: its branch, or of a large one its stem."""
        below = self.tree.T.clone()
        children = [self.parents.eq(node).nonzero()[:, 0].tolist() for node in range(len(below))]
        for node in (below.sum(1) > WHOLE).nonzero()[:, 0].tolist():
            below[node], at = False, node
            below[node, at] = True
            while len(children[at]) == 1:
                (at,) = children[at]
                below[node, at] = True
        return below
