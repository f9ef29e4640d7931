"""Likelihood of label texts after many prompts: the shared prefix is computed once, labels are laid in one trie."""

# A label's score is the summed log-probability of all its tokens (labels of several tokens are scored whole). One
# forward pass reads, for every row of a batch, the row's own tokens and all inner nodes of the trie under a tree mask,
# on top of the prefix that attention.py shares without copying it. Measured in bench/scoring.py.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from whichway.models import alone, anatomy, attention, hardware, pace
from whichway.models.head import next_token_logits
from whichway.models.prefixes import NODE_COST, PrefixStore, plan

ROW_TOKENS = (
    1024,
    32_768,
)  # own tokens of one batch, where pace.py finds two cores, or a GPU, fastest at their usual size
GROUP = (NODE_COST, 4096)  # tokens that a further group must save: on a GPU what it reads in the time of a launch
HEAD_ROWS = (256, 4096)  # rows of the vocabulary projection at a time: 50 MB in fp32 for 49,152 words, or 800


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
        table = np.zeros((len(prompts), len(labels)))
        with torch.inference_mode():
            for chosen, states in self._read(prompts, trie, shared):
                table[chosen] = self._likelihoods(states, trie)
        return table

    def _read(
        self, prompts: Sequence[Sequence[int]], trie: Trie, shared: Sequence[int]
    ) -> Iterator[tuple[list[int], Any]]:
        """Yield numbers of prompts and hidden states [rows, 1 + nodes, width]: at a prompt's end, and at every inner node."""
        most = self.reach - max(map(len, trie.steps)) + 1
        far = [i for i, prompt in enumerate(prompts) if len(prompt) > most]
        most_at_once = pace.scaled(ROW_TOKENS, anatomy.config(self.network))
        for batch in _batches(alone.sizes([len(prompts[i]) for i in far], trie.parents), 0, most_at_once):
            chosen = [far[i] for i in batch]
            yield chosen, alone.states(self.network, [prompts[i] for i in chosen], trie.tokens, trie.parents)
        near = [i for i, prompt in enumerate(prompts) if len(prompt) <= most]
        for group in plan([prompts[i] for i in near], shared, hardware.at_once(*GROUP)):
            past = self.prefixes.get(tuple(prompts[near[group.rows[0]]][: group.size]))
            own = [len(prompts[near[i]]) - group.size for i in group.rows]
            for batch in _batches(own, len(trie.tokens), most_at_once):
                chosen = [near[group.rows[i]] for i in batch]
                yield chosen, self._states(past, group.size, [list(prompts[i][group.size :]) for i in chosen], trie)

    def _states(self, past: Any, prefix: int, rows: list[list[int]], trie: Trie) -> Any:
        """Return hidden states [rows, 1 + nodes, width] of one batch behind a prefix, in one forward pass."""
        import torch

        count, device = len(rows), self.network.device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        ids, places, mask = _laid_out(rows, lengths, trie, prefix)
        extra = {"shared_prefix": past} if past is not None else {}
        hidden = anatomy.body(self.network)(
            input_ids=ids, position_ids=places, attention_mask=mask, use_cache=False, **extra
        ).last_hidden_state
        longest = ids.shape[1] - len(trie.tokens)
        last = hidden[torch.arange(count, device=device), lengths - 1]
        return torch.cat([last[:, None], hidden[:, longest:]], dim=1)

    def _likelihoods(self, states: Any, trie: Trie) -> Any:
        """Return log-likelihoods [rows, labels] from hidden states [rows, 1 + nodes, width]."""
        import numpy as np

        steps = sorted({step for path in trie.steps for step in path})
        found = self._log_probabilities(states, steps)
        table, place = np.zeros((len(states), len(trie.steps))), {step: i for i, step in enumerate(steps)}
        for label, path in enumerate(trie.steps):
            table[:, label] = found[:, [place[step] for step in path]].sum(1)
        return table

    def _log_probabilities(self, states: Any, steps: list[tuple[int, int]]) -> Any:
        """Return float64 [rows, steps]: of states [rows, 1 + nodes, width], the log-probability of each (node, next token)."""
        import torch

        nodes = torch.tensor([node + 1 for node, _ in steps], device=states.device)
        tokens = torch.tensor([token for _, token in steps], device=states.device)
        most, found = max(1, hardware.at_once(*HEAD_ROWS) // states.shape[1]), []
        for start in range(0, len(states), most):
            part = states[start : start + most]
            logits = next_token_logits(self.network, part.flatten(0, 1)).unflatten(0, part.shape[:2])
            found.append(logits[:, nodes, tokens] - logits.logsumexp(-1)[:, nodes])
        return torch.cat(found).double().cpu().numpy()


def _batches(lengths: list[int], nodes: int, most: int) -> Iterator[list[int]]:
    """Group rows of similar length so that no batch passes the bound on tokens."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and (len(batch) + 1) * (lengths[i] + nodes) > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _laid_out(rows: list[list[int]], lengths: Any, trie: Trie, prefix: int) -> tuple[Any, Any, Any]:
    """Return token ids and positions [rows, own + nodes] and the mask [rows, 1, own + nodes, own + nodes].

    Padding stands between a row's end and the trie's nodes; no real token ever looks at it.
    """
    import torch

    device, count, nodes = lengths.device, len(rows), len(trie.tokens)
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) + list(trie.tokens) for row in rows], device=device)
    depths = torch.tensor(trie.depths, device=device, dtype=torch.long)
    own_places = torch.arange(longest, device=device)[None].expand(count, -1)
    places = prefix + torch.cat([own_places, lengths[:, None] + depths[None]], dim=1)
    tree = torch.eye(nodes, dtype=torch.bool, device=device)
    for node, parent in enumerate(trie.parents):
        if parent >= 0:
            tree[node] |= tree[parent]
    mask = torch.zeros(count, 1, longest + nodes, longest + nodes, dtype=torch.bool, device=device)
    mask[:, :, :longest, :longest] = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
    mask[:, :, longest:, :longest] = (torch.arange(longest, device=device)[None] < lengths[:, None])[:, None, None]
    mask[:, :, longest:, longest:] = tree
    return ids, places, mask
