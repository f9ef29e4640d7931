"""Causal language models on this machine: load, score labels, generate, adapt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from whichway.core.model import Reply, Request, Spend
from whichway.errors import MissingExtra, UsageError
from whichway.models import alone, anatomy, embedded, hardware, virtual
from whichway.models.decoding import Ask, Written, write
from whichway.models.grammar import Grammars
from whichway.models.laid_out import lay_out
from whichway.models.openvino_check import Quick
from whichway.models.scoring import PrefixScorer
from whichway.models.telling import Telling
from whichway.models.token_memo import memo_of
from whichway.registry import register


@register("model", "causal")
class CausalModel:
    """Any Hugging Face causal model by folder or hub id; 'embedded' is SmolLM2-135M-Instruct.

    Implements Model, Scorer and Trainable. `adapter` is a PEFT folder merged into the weights at load. `openvino` is a folder
    of the same weights that optimum-intel converted: free text is written by OpenVINO GenAI then, where a check allows it,
    of which `say` is told.
    """

    is_local = True

    def __init__(
        self,
        name: str = "embedded",
        adapter: Path | None = None,
        openvino: str | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = "SmolLM2-135M-Instruct" if name == "embedded" else str(name)
        self.where = str(embedded.causal_folder()) if name == "embedded" else str(name)
        self.network, self.tokenizer = load_network(self.where, adapter)
        self.network.generation_config = alone.ends_alone(self.network)
        self.memo = memo_of(self.tokenizer)
        self._bytes: int = sum(one.numel() * one.element_size() for one in self.network.parameters())
        self.head = virtual.tokens(self.network)  # of a prompt that was learned: every prompt begins with them
        self.scorer = PrefixScorer(self.network)
        if self.scorer.shares:
            lay_out(self.network)
        self._grammars: Grammars | None = None
        self._ends: dict[str, frozenset[int]] = {}
        self.limit = anatomy.limit(self.network)
        self.quick = Quick(self, Path(openvino), say) if openvino else None

    def weight_bytes(self) -> int:
        """Return the size of the weights in memory."""
        return self._bytes

    def adapted(self, folder: Path) -> CausalModel:
        """Return this model with what `train` saved in `folder`: a PEFT adapter, or whole weights."""
        if (folder / "adapter_config.json").exists():
            return CausalModel(self.where, adapter=folder)
        return CausalModel(str(folder))

    def chat(self, messages: Sequence[tuple[str, str]]) -> str:
        """Return the prompt text of chat messages, up to where the assistant begins to write."""
        turns = [{"role": role, "content": text} for role, text in messages]
        if self.tokenizer.chat_template is None:
            return "\n\n".join(text for _, text in messages) + "\n\n"
        return str(self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self.tokens(text))

    def score(self, prompts: Sequence[str], continuations: Sequence[str], shared: str = "") -> Any:
        """Return float64 [len(prompts), len(continuations)] of log-likelihoods.

        `shared` is the text that all prompts begin with; without it the prompts' own common beginning is used.
        Prompts longer than the model's window lose tokens after the shared part, never the question's end.
        """
        return self.score_near(prompts, continuations, shared, math.inf)

    def score_steps(self, prompts: Sequence[str], continuations: Sequence[str], shared: str = "") -> Any:
        """Return what `score` sums up: float64 [prompts, continuations, tokens], NaN behind a continuation's last token."""
        return self.scorer.score_steps(*self._laid(prompts, continuations, shared))

    def score_near(
        self,
        prompts: Sequence[str],
        continuations: Sequence[str],
        shared: str = "",
        within: float = 0.0,
        bias: Sequence[float] = (),
        usual: Sequence[Sequence[float]] = (),
    ) -> Any:
        """Return what `score` does for continuations `within` so many nats of a prompt's best, each less its `bias`.

        The others' numbers are bounds: not below their likelihood, and as far below the best. Where `usual` says what
        each of their tokens usually has, they are estimates, by what was read of them. With 0 the best alone counts.
        """
        return self.scorer.score(*self._laid(prompts, continuations, shared), within, bias, usual)

    def _laid(
        self, prompts: Sequence[str], continuations: Sequence[str], shared: str
    ) -> tuple[list[list[int]], list[list[int]], list[int]]:
        """Return the tokens of prompts, as short as they have to be, of continuations, and of what all prompts begin with."""
        rows = [self.head + tokens for tokens in self.memo(prompts)]
        labels = self.memo(continuations)
        if _one_begins_another(labels):
            labels = [[*label, self.tokenizer.eos_token_id] for label in labels]
        start = self.head + self.tokens(shared)
        room = self.limit - max(map(len, labels))
        return [_shorten(row, room, len(start)) for row in rows], labels, start

    def tokens(self, text: str) -> list[int]:
        """Return token ids; special tokens only where the text spells them."""
        return self.memo([text])[0]

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer requests, greedily unless a temperature is given; what prompts share is read once."""
        return self._generated(requests, None)

    def tell(self, request: Request, say: Callable[[str], None]) -> Reply:
        """Answer one request, and say its text in pieces while it is written; they make up the text of the reply."""
        telling = Telling(lambda new: str(self.tokenizer.decode(new, skip_special_tokens=True)), request.stop, say)
        (reply,) = self._generated([request], telling.hear)
        telling.end(reply.text)
        return reply

    def _generated(self, requests: Sequence[Request], hear: Callable[[Sequence[int]], None] | None) -> list[Reply]:
        began = time.perf_counter()
        asks = [replace(self._ask(request), hear=hear) for request in requests]
        stops = self.stops()
        seed = max((one.draw for one in requests), default=0)
        near = [len(ask.tokens) + ask.most <= self.scorer.reach for ask in asks]
        shared = self._shared(requests)
        found = self._quickly(requests, [ask if one else None for ask, one in zip(asks, near, strict=True)], shared)
        close, far = ([i for i, one in enumerate(near) if one is side and i not in found] for side in (True, False))
        together = write(self.network, self.scorer.prefixes, [asks[i] for i in close], stops, shared, seed)
        apart = alone.write(self.network, [asks[i] for i in far], stops, seed)
        found |= dict(zip([*close, *far], [*together, *apart], strict=True))
        new = [found[i] for i in range(len(asks))]
        seconds = (time.perf_counter() - began) / max(1, len(requests))
        wanted = (request.stop for request in requests)
        return [self._reply(*one, stops, seconds) for one in zip(asks, new, wanted, strict=True)]

    def _quickly(
        self, requests: Sequence[Request], asks: Sequence[Ask | None], shared: Sequence[int]
    ) -> dict[int, Written]:
        """Return by number what another engine writes: free text without a temperature, as long as our own sees all of it."""
        if self.quick is None:
            return {}
        held = [bool(one.temperature or one.choices or one.schema is not None) for one in requests]
        free = {i: ask for i, ask in enumerate(asks) if ask is not None and not held[i]}
        written = self.quick.write(list(free.values()), self.stops(), shared)
        return {i: one for i, one in zip(free, written, strict=True) if one is not None}

    def _shared(self, requests: Sequence[Request]) -> list[int]:
        """Return the tokens before the last message where those are the same in all chats; a lone one keeps them, too."""
        if not requests or any(one.continues or len(one.messages) < 2 for one in requests):
            return self.head
        before = {one.messages[:-1] for one in requests}
        text, last = self.chat(requests[0].messages), requests[0].messages[-1][1]
        return self.head + self.tokens(text[: text.rfind(last)]) if len(before) == 1 and last in text else self.head

    def _holding(self, texts: set[str]) -> frozenset[int]:
        """Return the tokens within which one of these strings stands; behind one that spans tokens writing goes on."""
        for text in texts - set(self._ends):
            words = (self.tokenizer.decode([i]) for i in range(len(self.tokenizer)))
            self._ends[text] = frozenset(i for i, word in enumerate(words) if text in word)
        return frozenset().union(*(self._ends[text] for text in texts))

    def stops(self) -> frozenset[int]:
        """Return the tokens that end an answer."""
        said = self.network.generation_config.eos_token_id
        listed = said if isinstance(said, list) else [said]
        return frozenset(one for one in (*listed, self.tokenizer.eos_token_id) if one is not None)

    @property
    def rates(self) -> Mapping[str, float]:
        """The usual learning rates of the adapters that `train` knows."""
        from whichway.models.adapters import RATES

        return RATES

    def train(self, prompts: Sequence[str], completions: Sequence[str], settings: Mapping[str, Any], *more: Any) -> Any:
        """Adapt a fresh copy of the weights and save it; see models/training.py for settings and result."""
        from whichway.models.training import train

        return train(self, prompts, completions, settings, *more)

    def prefer(self, rows: Any, dev: Any, settings: Mapping[str, Any], folder: Path, kit: Any) -> Any:
        """Let the adapter in `folder` learn to prefer chosen answers to rejected ones; see models/preference.py."""
        from whichway.models.preference import prefer

        return prefer(self, rows, dev, settings, folder, kit)

    def _ask(self, request: Request) -> Ask:
        text = request.messages[-1][1] if request.continues else self.chat(request.messages)
        tokens = _shorten(self.head + self.tokens(text), self.limit - request.max_tokens, len(self.head))
        matcher = self._grammar().matcher(request.schema, request.max_tokens) if request.schema is not None else None
        stops = self._holding(set(request.stop))
        return Ask(tuple(tokens), request.max_tokens, request.temperature, matcher, stops)

    def _grammar(self) -> Grammars:
        if self._grammars is None:
            self._grammars = Grammars(self.tokenizer, int(anatomy.config(self.network).vocab_size), self.stops())
        return self._grammars

    def _reply(self, ask: Ask, written: Written, words: Sequence[str], stops: frozenset[int], seconds: float) -> Reply:
        """Return what was written, up to the first of the strings that end it: a token may hold text and such a string."""
        tokens = written.tokens
        ended = bool(tokens) and tokens[-1] in stops
        text = self.tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True)
        ends = [text.index(one) for one in words if one in text]
        text = text[: min(ends, default=len(text))]
        ended |= bool(ends) or bool(tokens) and tokens[-1] in ask.stops
        spend = Spend(seconds=seconds, tokens_in=len(ask.tokens), tokens_out=len(tokens) - ended)
        mean = written.likelihood / max(1, len(tokens))
        cut = ask.matcher is not None and ask.matcher.was_closed  # brought to its end before it was there
        return Reply(text, spend, "stop" if ended and not cut else "length", mean_logprob=mean)


def load_network(where: str, adapter: Path | None = None, exact: bool = False) -> tuple[Any, Any]:
    """Return (network, tokenizer): safetensors only, no remote code; `exact` keeps fp32 (for full fine-tuning)."""
    try:
        import torch

        hardware.quiet()
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as missing:
        raise MissingExtra(str(missing.name), "local", "A local language model") from missing
    local = Path(where).exists()
    kind = torch.float32 if exact else hardware.dtype()
    try:
        network = AutoModelForCausalLM.from_pretrained(
            where, dtype=kind, use_safetensors=True, trust_remote_code=False, local_files_only=local
        )
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False, local_files_only=local)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"The language model {where!r} cannot be loaded: {str(error).splitlines()[0]}",
            "Give a folder in transformers format (safetensors), a hub id, or 'embedded'.",
        ) from error
    if adapter is not None:
        from whichway.models.adapters import load_adapter

        network = load_adapter(network, adapter)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network.to(hardware.device()).eval(), tokenizer


def _one_begins_another(labels: Sequence[Sequence[int]]) -> bool:
    """True when a label's tokens are the beginning of another's: then the end must be scored, too."""
    ordered = sorted(map(tuple, labels))
    return any(b[: len(a)] == a for a, b in zip(ordered, ordered[1:], strict=False))


def _shorten(row: list[int], room: int, shared: int) -> list[int]:
    if len(row) <= room:
        return row
    head = min(shared, room // 2)
    return row[:head] + row[len(row) - (room - head) :]
