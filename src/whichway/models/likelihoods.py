"""How likely labels are, from hidden states at the nodes of their trie: all words of the vocabulary, in one product of bf16."""

# A label's likelihood needs, at each node, the sum over the whole vocabulary. In fp32 that product runs at a third of the
# processor's speed in bf16, and rounding a logit of 20 to bf16 moves it by up to 1/16. But what is taken off before rounding
# is not rounded: with a state's sum guessed beforehand, the logits that matter come out near 0, exact to a hundredth. The
# guess is that of the same node behind other prompts; where it was far off, the sum is computed in fp32.

from __future__ import annotations

from typing import Any

from whichway.models import anatomy, hardware
from whichway.models.head import is_product, next_token_logits
from whichway.models.trie import Trie

AT_ONCE = (256, 4096)  # states whose logits are held at a time in fp32: 50 MB for 49,152 words, or 800
GUESSED_FROM = 512  # states; of fewer all are computed in fp32
SAMPLE = 2  # rows by which sums are guessed
FAR = 4.0  # nats between guess and sum up to which the sum is taken: bf16 rounds what lies nearer by 1/128 at most
WORDS, STATES = 2048, 1024  # of a product whose result stays near the processor
NUMBERS = 1 << 24  # of states and weights that are multiplied one by one at a time


class Likelihoods:
    """Log-likelihoods of a trie's labels; what it learns of one batch of prompts serves the next."""

    def __init__(self, network: Any, trie: Trie) -> None:
        import torch

        self.network, self.trie = network, trie
        self.steps = sorted({step for path in trie.steps for step in path})
        self.nodes, self.tokens = torch.tensor(
            [(node + 1, token) for node, token in self.steps], device=network.device
        ).t()
        weight = anatomy.head(network).weight
        self.quick = is_product(network) and weight.dtype == torch.bfloat16 and weight.device.type == "cpu"
        self.guess: Any = None  # of the sum at each node
        self.known: Any = None  # the same where a trie is read in parts
        self.place = {step: number for number, step in enumerate(self.steps)}
        longest = max(map(len, trie.steps), default=0)
        after = [len(self.steps)] * longest  # a step behind the last one of a label, which is certain
        paths = [[*(self.place[one] for one in path), *after[len(path) :]] for path in trie.steps]
        self.paths = torch.tensor(paths, dtype=torch.long)
        self.shape: tuple[int, ...] = (len(trie.steps),)  # of what is told of a row
        starts = torch.tensor([node + 1 for node, _ in self.steps])
        self.counts = starts.bincount(minlength=1 + len(trie.tokens))  # steps from a prompt's end, and from each node
        self.firsts = self.counts.cumsum(0) - self.counts

    def of(self, states: Any) -> Any:
        """Return float64 [rows, labels] from hidden states [rows, 1 + nodes, width]."""
        return self._steps(states).sum(-1).numpy()

    def _steps(self, states: Any) -> Any:
        """Return float64 [rows, labels, tokens], 0 behind a label's end."""
        import torch

        quick = self.quick and (self.guess is not None or states.shape[0] * states.shape[1] >= GUESSED_FROM)
        found = (self._quick(states) if quick else self._exact(states)).double().cpu()
        return torch.nn.functional.pad(found, (0, 1))[:, self.paths]

    def after(self, states: Any, nodes: Any) -> tuple[Any, Any, Any]:
        """Return the log-probabilities of all steps from `nodes` [n] (-1: a prompt's end), by the hidden states [n, width] there.

        Three flat tensors: which of the n, the number of the step, and its value in float64.
        """
        import torch

        counts = self.counts[nodes + 1]
        which = torch.arange(len(nodes)).repeat_interleave(counts)
        ahead = torch.arange(len(which)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        steps = self.firsts[nodes + 1][which] + ahead
        words, found = self.tokens[steps.to(self.tokens.device)], []
        if self.quick:
            states = states.bfloat16()
            sums = self._near(states, nodes)
            weight = anatomy.head(self.network).weight
            for part in torch.arange(len(which)).split(max(1, NUMBERS // weight.shape[1])):
                found.append((states[which[part]].float() * weight[words[part]].float()).sum(-1) - sums[which[part]])
        else:
            most = hardware.at_once(*AT_ONCE)
            for start in range(0, len(nodes), most):
                logits = next_token_logits(self.network, states[start : start + most])
                part = ((which >= start) & (which < start + most)).nonzero()[:, 0]
                one = (which[part] - start).to(logits.device)
                found.append(logits[one, words[part.to(words.device)]] - logits.logsumexp(-1)[one])
        return which, steps, torch.cat(found).double().cpu()

    def _near(self, states: Any, nodes: Any) -> Any:
        """Return the log-sum-exps of states [n, width] in bf16, guessed by the first state that was read at each node."""
        import torch

        if self.known is None:
            self.known = torch.full((1 + len(self.trie.tokens),), float("nan"))
        new = self.known[nodes + 1].isnan().nonzero()[:, 0]
        if len(new):
            order = nodes[new].sort(stable=True)
            first = new[order.indices[torch.cat([order.values.new_ones(1), order.values.diff()]) != 0]]
            self.known[nodes[first] + 1] = self._sums(states[first])
        return self._by_guess(states, self.known[nodes + 1].bfloat16())

    def _by_guess(self, states: Any, guess: Any) -> Any:
        """Return the log-sum-exps of states [n, width] whose guesses are [n]; in fp32 where a guess was far off."""
        sums = self._guessed(states, guess)
        far = ((sums - guess.float()).abs() > FAR).nonzero()[:, 0]
        sums[far] = self._sums(states[far])
        return sums

    def _exact(self, states: Any) -> Any:
        """Return [rows, steps]: the log-probability of each node's next token."""
        import torch

        most, found = max(1, hardware.at_once(*AT_ONCE) // states.shape[1]), []
        for part in states.split(most):
            logits = next_token_logits(self.network, part.flatten(0, 1)).unflatten(0, part.shape[:2])
            found.append(logits[:, self.nodes, self.tokens] - logits.logsumexp(-1)[:, self.nodes])
        return torch.cat(found)

    def _quick(self, states: Any) -> Any:
        import torch

        states = states.bfloat16()  # for logits and sums alike: what rounding does to both is taken off again
        if self.guess is None:
            self.guess = (
                self._sums(states[:: -(-len(states) // SAMPLE)].flatten(0, 1)).view(-1, states.shape[1]).mean(0)
            )
        guess = self.guess.bfloat16().expand(states.shape[:2]).flatten()
        flat = states.flatten(0, 1)
        sums = self._by_guess(flat, guess)
        weight = anatomy.head(self.network).weight[self.tokens].float()
        most = max(1, NUMBERS // weight.numel())
        logits = torch.cat([(part[:, self.nodes].float() * weight).sum(-1) for part in states.split(most)])
        return logits - sums.view(states.shape[:2])[:, self.nodes]

    def _sums(self, states: Any) -> Any:
        """Return the log-sum-exps of the logits of states [n, width], in fp32."""
        import torch

        parts = states.split(hardware.at_once(*AT_ONCE)) if len(states) else ()
        found = [next_token_logits(self.network, part).logsumexp(-1) for part in parts]
        return torch.cat(found) if found else states.new_zeros(0, dtype=torch.float32)

    def _guessed(self, states: Any, guess: Any) -> Any:
        """Return the same, from products less a guess [n], rounded to bf16."""
        import torch

        weight = anatomy.head(self.network).weight.detach()
        sums = torch.zeros(len(states))
        for start in range(0, len(states), STATES):
            part = slice(start, start + STATES)
            for words in weight.split(WORDS):
                logits = torch.nn.functional.linear(words, states[part], -guess[part])
                sums[part] += logits.exp_().sum(0, dtype=torch.float32)
        return guess.float() + sums.log()


class Steps(Likelihoods):
    """The same, token by token."""

    def __init__(self, network: Any, trie: Trie) -> None:
        super().__init__(network, trie)
        self.shape = tuple(self.paths.shape)

    def of(self, states: Any) -> Any:
        """Return float64 [rows, labels, tokens], NaN behind a label's end."""
        return self._steps(states).masked_fill(self.paths == len(self.steps), float("nan")).numpy()
