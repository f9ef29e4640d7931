"""Writing text for many prompts at once: their shared beginning is read in place, finished rows leave the batch."""

# Rows are padded at their left, so that new tokens of all rows fall into one column; keys and values of a row's own
# tokens lie in buffers made once for the whole answer. What all prompts share comes from the prefix tree (prefixes.py).

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from whichway.models import anatomy, hardware, pace
from whichway.models.attention import step_mask
from whichway.models.head import written_logits
from whichway.models.prefixes import PrefixStore, plan

ROWS = (64, 512)  # of one batch: on a CPU, on a GPU
OWN_TOKENS = (16_384, 131_072)  # of one batch, answers included
SHARE = 0.2  # of a GPU's free memory that the keys and values of one batch may take
STEP = (
    32,
    4096,
)  # tokens read in the time that a step takes with few rows: what a further batch adds to every new token
READ_TOKENS = (1024, 32_768)  # of prompts at a time
COMPACT_FROM = 0.25  # share of finished rows at which the others move together


@dataclass(frozen=True)
class Ask:
    """One prompt to continue, by at most `most` tokens; `heat` 0 takes the likeliest token, `stops` end it beside everybody's.

    `hear` is handed all new tokens after each of them; what it raises ends the writing.
    """

    tokens: tuple[int, ...]
    most: int
    heat: float = 0.0
    matcher: Any = None  # of grammar.py: what the answer is held to
    stops: frozenset[int] = frozenset()
    hear: Callable[[Sequence[int]], None] | None = None


@dataclass
class Written:
    """New tokens up to a stop token, which is included, and the sum of their log-likelihoods."""

    tokens: list[int]
    likelihood: float = 0.0


def write(
    network: Any,
    prefixes: PrefixStore,
    asks: Sequence[Ask],
    stops: frozenset[int],
    shared: Sequence[int] = (),
    seed: int = 0,
) -> list[Written]:
    """Continue each ask, in order.

    The same asks give the same tokens; sampled ones depend on `seed` and on the asks beside them. `shared` is what asks are
    expected to begin with, also in calls to come: it is read once.
    """
    import torch

    found = [Written([]) for _ in asks]
    generator = torch.Generator(device=network.device).manual_seed(seed)
    with torch.inference_mode():
        for group in plan([one.tokens for one in asks], shared, _price(asks)):
            order = sorted(group.rows, key=lambda i: (len(asks[i].tokens), asks[i].most, i))
            past = prefixes.get(asks[order[0]].tokens[: group.size])
            for batch in _batches(asks, order, group.size, _room(network)):
                state = _Batch(network, past, group.size, [asks[i] for i in batch], stops)
                for i, written in zip(batch, state.run(generator), strict=True):
                    found[i] = written
    return found


def _price(asks: Sequence[Ask]) -> int:
    """Return how many tokens a group must save in reading to be worth writing by itself, as groups are written in turn."""
    return hardware.at_once(*STEP) * max((one.most for one in asks), default=0)


def _room(network: Any) -> int:
    """Return how many tokens' keys and values one batch may keep."""
    import torch

    most = hardware.at_once(*OWN_TOKENS)
    if network.device.type != "cuda":
        return most
    return int(min(most, SHARE * torch.cuda.mem_get_info()[0] / anatomy.token_bytes(network)))


def _batches(asks: Sequence[Ask], order: Sequence[int], size: int, most: int) -> list[list[int]]:
    """Cut rows of similar length into batches of at most `most` tokens."""
    batches: list[list[int]] = []
    widest, rows = 0, hardware.at_once(*ROWS)
    for i in order:
        wide = len(asks[i].tokens) - size + asks[i].most
        widest = max(widest, wide)
        if not batches or len(batches[-1]) >= rows or (len(batches[-1]) + 1) * widest > most:
            batches.append([])
            widest = wide
        batches[-1].append(i)
    return batches


def pieces(lengths: Sequence[int], most: int, each: int) -> list[slice]:
    """Cut rows, sorted by length, into pieces of at most `most` tokens, so that padding and pieces cost least together.

    A piece is padded to its longest row; one more piece costs as much time as `each` tokens. Found by dynamic programming.
    """
    costs, starts = [0], [0]
    for end in range(1, len(lengths) + 1):
        cost, start = costs[-1] + lengths[end - 1] + each, end - 1
        for first in range(end - 2, -1, -1):
            size = (end - first) * lengths[end - 1]
            if size > most:
                break
            cost, start = min((cost, start), (costs[first] + size + each, first))
        costs.append(cost)
        starts.append(start)
    cuts: list[slice] = []
    end = len(lengths)
    while end:
        cuts.append(slice(starts[end], end))
        end = starts[end]
    return cuts[::-1]


class _Batch:
    """Rows being written. `alive` are the numbers of the rows that are still in the buffers, in their order."""

    def __init__(self, network: Any, past: Any, size: int, asks: list[Ask], stops: frozenset[int]) -> None:
        import torch

        self.network, self.asks, self.stops = network, asks, stops
        self.past = past and [[*one, None] for one in past]  # the third place: see attention.attend
        rows = [one.tokens[size:] for one in asks]
        self.longest = max(map(len, rows))
        self.width = self.longest + max(one.most for one in asks)
        device = network.device
        self.ids = torch.tensor([[0] * (self.longest - len(row)) + list(row) for row in rows], device=device)
        self.lengths = torch.tensor([len(row) for row in rows], device=device)
        self.real = torch.arange(self.width, device=device)[None] >= (self.longest - self.lengths)[:, None]
        self.places = (torch.arange(self.longest, device=device)[None] - self.longest + self.lengths[:, None]).clamp(
            0
        ) + size
        self.alive = list(range(len(asks)))
        self.cache = _buffers(self.width)

    def run(self, generator: Any) -> list[Written]:
        """Return what each row says."""
        import torch

        written = [Written([]) for _ in self.asks]
        logits = self._first()
        for step in range(self.width - self.longest):
            tokens = self._chosen(logits, generator, written)
            likely = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(-1)
            for row, token, gain in zip(self.alive, tokens.tolist(), likely.tolist(), strict=True):
                if not self._done(written[row], row):
                    self._take(written[row], row, token, gain)
            open_ = [at for at, row in enumerate(self.alive) if not self._done(written[row], row)]
            if not open_:
                break
            if len(open_) <= (1 - COMPACT_FROM) * len(self.alive):
                keep = torch.tensor(open_, device=tokens.device)
                self._keep(keep)
                self.alive, tokens = [self.alive[at] for at in open_], tokens[keep]
            logits = self._next(tokens, step)
        return written

    def _take(self, written: Written, row: int, token: int, gain: float) -> None:
        written.tokens.append(token)
        written.likelihood += gain
        hear = self.asks[row].hear
        if hear is not None:
            hear(written.tokens)

    def _done(self, written: Written, row: int) -> bool:
        tokens = written.tokens
        ask = self.asks[row]
        return len(tokens) >= ask.most or bool(tokens) and (tokens[-1] in self.stops or tokens[-1] in ask.stops)

    def _first(self) -> Any:
        """Read the prompts, a few rows of similar length at a time, into the buffers."""
        import torch

        logits = []
        for rows in self._slices():
            size = int(self.lengths[rows].max())
            causal = torch.ones(size, size, dtype=torch.bool, device=self.ids.device).tril()
            itself = torch.eye(size, dtype=torch.bool, device=self.ids.device)
            own = slice(self.longest - size, self.longest)
            mask = (causal & self.real[rows, None, own]) | itself  # padding looks at itself: an empty row would be NaN
            self.cache.reading(rows, own, len(self.asks))
            logits.append(self._forward(self.ids[rows, own], self.places[rows, own], mask[:, None]))
        return torch.cat(logits)

    def _slices(self) -> list[slice]:
        """Cut the rows, which are sorted by length, into what is read at a time."""
        most = pace.scaled(READ_TOKENS, anatomy.config(self.network))
        return pieces(self.lengths.tolist(), most, hardware.at_once(*STEP))

    def _next(self, tokens: Any, step: int) -> Any:
        places = self.places[:, -1:] + step + 1
        self.cache.reading(slice(None), slice(self.longest + step, self.longest + step + 1), len(self.alive))
        mask = self.real[:, None, None, : self.longest + step + 1]
        return self._forward(tokens[:, None], places, step_mask(self.network, mask))

    def _forward(self, ids: Any, places: Any, mask: Any) -> Any:
        extra = {"shared_prefix": self.past} if self.past is not None else {}
        hidden = anatomy.body(self.network)(
            input_ids=ids, position_ids=places, attention_mask=mask, past_key_values=self.cache, use_cache=True, **extra
        ).last_hidden_state
        return written_logits(self.network, hidden[:, -1])

    def _chosen(self, logits: Any, generator: Any, written: Sequence[Written]) -> Any:
        """Return the next token of each row that is left, held to the row's grammar where it has one."""
        import torch

        chosen = self._drawn(logits, generator)
        matchers = [(at, self.asks[row].matcher) for at, row in enumerate(self.alive)]
        held = [
            (at, one)
            for at, one in matchers
            if one is not None and not self._done(written[self.alive[at]], self.alive[at])
        ]
        if not held:
            return chosen
        tokens = chosen.tolist()
        for at, one in held:
            tokens[at] = one.choose(tokens[at], logits[at])
        return torch.tensor(tokens, device=chosen.device)

    def _drawn(self, logits: Any, generator: Any) -> Any:
        import torch

        best = logits.argmax(-1)
        heats = [self.asks[row].heat for row in self.alive]
        if not any(heats):
            return best
        heat = torch.tensor([one or 1.0 for one in heats], device=logits.device)
        drawn = torch.multinomial((logits / heat[:, None]).softmax(-1), 1, generator=generator)[:, 0]
        return torch.where(torch.tensor([one > 0 for one in heats], device=logits.device), drawn, best)

    def _keep(self, rows: Any) -> None:
        self.real, self.places = self.real[rows], self.places[rows]
        self.cache.keep(rows)


def _buffers(width: int) -> Any:
    """Return a cache whose tensors have room for `width` tokens from the start; made here as transformers imports late."""
    from transformers import DynamicCache

    class Buffers(DynamicCache):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[int, list[Any]] = {}
            self.rows, self.columns, self.count = slice(None), slice(0, 0), 0

        def reading(self, rows: slice, columns: slice, count: int) -> None:
            """Say where the next tokens stand: which of `count` rows, which columns."""
            self.rows, self.columns, self.count = rows, columns, count

        def update(self, keys: Any, values: Any, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
            if layer_idx not in self.kept:
                shape = (self.count, keys.shape[1], width, keys.shape[3])
                self.kept[layer_idx] = [keys.new_zeros(shape), values.new_zeros(shape)]
            for buffer, new in zip(self.kept[layer_idx], (keys, values), strict=True):
                buffer[self.rows, :, self.columns] = new
            if self.rows != slice(None):  # the prompts: a row sees its own tokens, which it has just brought
                return keys, values
            first, second = self.kept[layer_idx]
            return first[:, :, : self.columns.stop], second[:, :, : self.columns.stop]

        def get_seq_length(self, layer_idx: int = 0) -> int:
            return self.columns.start

        def keep(self, rows: Any) -> None:
            """Leave all but these rows."""
            self.kept = {layer: [one[rows] for one in pair] for layer, pair in self.kept.items()}

    return Buffers()
