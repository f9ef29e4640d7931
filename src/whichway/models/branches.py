"""Labels that cannot be the answer are not read to their end: a trie is read branch by branch behind each row."""

# A label's likelihood only falls with each further token, so that what its first tokens have is a bound of it (branch and
# bound, Land & Doig 1960). First the rows alone are read, then of each row the likeliest branch whole, which gives a label
# to beat, then level by level what may still come near it. Keys and values of what was read are kept; nothing is read twice.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whichway.models.attention import read_apart
from whichway.models.end_to_end import Kept, Layout, laid, laid_on, tree_of
from whichway.models.likelihoods import Likelihoods
from whichway.models.trie import Trie, build_trie

FEWEST = 2048  # nodes behind all rows of a batch from which parts may pay: of a few rows, each pass costs as much as all at once
PAYS = 0.6  # of a trie's nodes: where more of them had to be read, they are read in one go from then on


@dataclass
class Seen:
    """How many rows a trie was read in parts behind, and how many of its nodes were read in all."""

    rows: int = 0
    nodes: int = 0


class Branches:
    """A trie of labels as it is read in parts: those within `nats` of a row's best, each label's likelihood less its `bias`."""

    def __init__(self, trie: Trie, told: Likelihoods, nats: float, bias: Sequence[float], seen: Seen) -> None:
        import torch

        self.trie, self.told, self.nats, self.seen = trie, told, nats, seen
        self.bias = torch.tensor(list(bias) or [0.0] * len(trie.steps), dtype=torch.float64)
        self.tree = tree_of(trie)
        place = {step: number for number, step in enumerate(told.steps)}
        into = list(zip(trie.parents, trie.tokens, strict=True))
        self.into = torch.tensor([place[one] for one in into], dtype=torch.long)
        self.parents = torch.tensor(trie.parents, dtype=torch.long)
        depths = torch.tensor(trie.depths)
        self.levels = [(depths == depth).nonzero()[:, 0] for depth in sorted(set(trie.depths))]
        longest, none = max(map(len, trie.steps)), len(told.steps)  # the step after the last one: of no label, certain
        paths = [[place[one] for one in path] + [none] * (longest - len(path)) for path in trie.steps]
        self.paths = torch.tensor(paths)
        self.least = torch.full((len(into),), float("inf"), dtype=torch.float64)  # bias of a label behind each node
        for label, path in enumerate(trie.steps):
            for node, _ in path[1:]:
                self.least[node] = min(self.least[node], self.bias[label])
        self.widest = max(map(len, self.levels))  # nodes that are read at once, at most, once there is a label to beat

    @property
    def pays(self) -> bool:
        """Tell whether enough of the trie was left unread to go on like this; True at first."""
        return self.seen.nodes <= PAYS * self.seen.rows * len(self.trie.tokens)

    def table(self, network: Any, rows: Sequence[Sequence[int]], past: Any, prefix: int) -> Any:
        """Return float64 [rows, labels] for rows, sorted by length, behind `prefix` tokens whose states are `past`.

        What lies further than `nats` below a row's best may be a bound: no less than the likelihood, and as far below.
        """
        import torch

        kept = Kept()
        first = laid(rows, build_trie([]), prefix, network.device, kept)
        layout = Layout(first.ends[:, 0].cpu(), torch.tensor([len(row) for row in rows]), prefix, len(self.trie.tokens))
        ends = read_apart(network, first, past)[first.ends[:, 0]]
        gains = torch.full((len(rows), len(self.told.steps) + 1), float("nan"), dtype=torch.float64)
        gains[:, -1] = 0.0
        self._learn(gains, ends, torch.arange(len(rows)), torch.full((len(rows),), -1))
        while (wanted := self._wanted(gains, layout.places >= 0)).any():
            where, whose, nodes = laid_on(layout, wanted, self.trie, self.tree, network.device, kept)
            self._learn(gains, read_apart(network, where, past), whose, nodes)
            self.seen.nodes += len(nodes)
        self.seen.rows += len(rows)
        return gains[:, self.paths].nansum(-1).numpy()

    def _learn(self, gains: Any, states: Any, whose: Any, nodes: Any) -> None:
        """Write into `gains` [rows, steps] what hidden states [n, width] at `nodes` [n] of rows `whose` [n] tell."""
        which, steps, values = self.told.after(states, nodes)
        gains[whose[which], steps] = values

    def _wanted(self, gains: Any, read: Any) -> Any:
        """Return booleans [rows, nodes]: which are to be read next, all of whose parents have been, or are with them."""
        import torch

        known = gains[:, self.paths]
        scores = torch.where(known.isnan().any(-1), -torch.inf, known.nansum(-1) - self.bias)
        best = scores.amax(1)
        bounds = torch.empty(len(gains), len(self.trie.tokens), dtype=torch.float64)
        for nodes in self.levels:
            above = self.parents[nodes]
            before = bounds[:, above.clamp(min=0)].where(above >= 0, 0.0)
            bounds[:, nodes] = before + gains[:, self.into[nodes]]
        bounds = torch.where(read | bounds.isnan(), -torch.inf, bounds - self.least)
        wanted = (bounds >= (best - self.nats)[:, None]) & (bounds > -torch.inf)
        lost = best == -torch.inf  # no label to beat yet
        wanted[lost] = self.tree[:, bounds[lost].argmax(1)].T
        return wanted
