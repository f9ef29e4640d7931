"""Scoring and writing by transformers' own means: for what cannot attend to a beginning that prompts share."""

# Some families have positions or masks of their own making (ALiBi, sinks) or no attention at all; in others layers see a
# window only, which a text may be longer than. Every prompt is read whole then, once per label of several tokens, padded at
# its right and under transformers' own mask.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from whichway.models import anatomy
from whichway.models.decoding import Ask, Written

ENDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def endings(parents: Sequence[int]) -> list[list[int]]:
    """Return the paths from a trie's root to its leaves, which hold every node; one empty path of an empty trie."""
    paths: list[list[int]] = []
    for leaf in sorted(set(range(len(parents))) - set(parents)):
        path = [leaf]
        while parents[path[-1]] >= 0:
            path.append(parents[path[-1]])
        paths.append(path[::-1])
    return paths or [[]]


def states(network: Any, rows: Sequence[Sequence[int]], tokens: Sequence[int], parents: Sequence[int]) -> Any:
    """Return hidden states [rows, 1 + nodes, width]: at each row's end, and at each node of a trie laid behind it."""
    import torch

    paths = endings(parents)
    texts = [[*row, *(tokens[node] for node in path)] for row in rows for path in paths]
    lengths = torch.tensor([len(one) for one in texts], device=network.device)
    longest = int(lengths.max())
    ids = torch.tensor([one + [0] * (longest - len(one)) for one in texts], device=network.device)
    real = torch.arange(longest, device=network.device)[None] < lengths[:, None]
    hidden = anatomy.body(network)(input_ids=ids, attention_mask=real.long(), use_cache=False).last_hidden_state
    where = {node: (number, place) for number, path in enumerate(paths) for place, node in enumerate(path)}
    text, place = torch.tensor([(0, -1), *(where[node] for node in range(len(tokens)))], device=network.device).t()
    first = torch.arange(0, len(texts), len(paths), device=network.device)
    ends = torch.tensor([len(row) for row in rows], device=network.device)
    return hidden[first[:, None] + text, ends[:, None] + place]


def sizes(lengths: Sequence[int], parents: Sequence[int]) -> list[int]:
    """Return how many tokens `states` reads for rows of these lengths, at most, before padding."""
    paths = endings(parents)
    return [len(paths) * (size + max(map(len, paths))) for size in lengths]


def ends_alone(network: Any) -> Any:
    """Return generation settings that say where a text ends and nothing else.

    A network may come with penalties, beams or tokens to suppress. What is written behind a shared beginning knows none of
    them, and rows of one call must be written alike wherever they are read.
    """
    from transformers import GenerationConfig

    said = network.generation_config
    return GenerationConfig(**{name: getattr(said, name, None) for name in ENDS})


def write(network: Any, asks: Sequence[Ask], stops: frozenset[int], seed: int = 0) -> list[Written]:
    """Continue prompts one after another; sampled tokens depend on `seed`."""
    import torch

    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        return [_written(network, ask, stops) for ask in asks]


def _written(network: Any, ask: Ask, stops: frozenset[int]) -> Written:
    import torch

    drawn = {"do_sample": True, "temperature": ask.heat, "top_k": 0, "top_p": 1.0}
    ids = torch.tensor([ask.tokens], device=network.device)
    out = network.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=ask.most,
        eos_token_id=sorted(stops | ask.stops),
        pad_token_id=min(stops, default=0),
        logits_processor=[_held(ask.matcher)] if ask.matcher else None,
        output_logits=True,
        streamer=_Heard(ask.hear) if ask.hear else None,
        return_dict_in_generate=True,
        **(drawn if ask.heat > 0 else {"do_sample": False}),
    )
    new = list(out.sequences[0, len(ask.tokens) :].tolist())
    gains = [float(one[0].float().log_softmax(-1)[token]) for one, token in zip(out.logits, new, strict=False)]
    return Written(new, sum(gains))


class _Heard:
    """What transformers hands each new token to, after the prompt itself."""

    def __init__(self, hear: Callable[[Sequence[int]], None]) -> None:
        self.hear, self.tokens, self.is_begun = hear, list[int](), False

    def put(self, tokens: Any) -> None:
        if self.is_begun:
            self.tokens += tokens.reshape(-1).tolist()
            self.hear(self.tokens)
        self.is_begun = True

    def end(self) -> None:
        """Whoever asked for the text ends it."""


def _held(matcher: Any) -> Any:
    """Return a logits processor of transformers that allows one token alone: the one the grammar chooses."""
    import torch

    def only(_: Any, scores: Any) -> Any:
        token = matcher.choose(int(scores[0].argmax()), scores[0])
        kept = torch.full_like(scores, -float("inf"))
        kept[0, token] = 0.0
        return kept

    return only
