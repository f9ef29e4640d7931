"""Greedy writing by OpenVINO GenAI, many prompts at once or one, from a folder that optimum-intel converted."""

# Only whole blocks of its prefix cache may be shared (2026.4.1): a prompt that begins with a text written before finds that
# text's last block, half full, and two such prompts in one pass write their own tokens into it, into each other's answers,
# without an error. So of all prompts that begin with the same text one goes ahead, which fills that block (see _Tails).

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from whichway.errors import MissingExtra, UsageError
from whichway.models import anatomy, hardware
from whichway.models.decoding import Ask, Written
from whichway.models.prefixes import plan

FILES = ("openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml", "config.json")
TELLTALES = ("model_type", "vocab_size", "num_hidden_layers", "hidden_size", "num_attention_heads")
BLOCK = 32  # tokens; of the prefix cache on a processor
ROWS = 64  # handed over at a time, so that Ctrl-C need not wait for long
READ_TOKENS = 2048  # of prompts in one pass
KEPT_TOKENS = 32_768  # keys and values that are kept
KEPT_SHARE = 0.25  # of free memory that they may take
KEPT_TAILS = 65_536  # more than there are blocks
REMAKE = "Make it from the same weights: optimum-cli export openvino --model WEIGHTS FOLDER"
Spelled = tuple[int, int]  # the beginning of a text: how many tokens, and their hash


def examine(folder: Path, network: Any) -> None:
    """Raise UsageError where a folder is no conversion of this network, MissingExtra where the package is missing."""
    if importlib.util.find_spec("openvino_genai") is None:
        raise MissingExtra("openvino-genai", "openvino", "models.openvino")
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"models.openvino: {folder} holds no {missing[0]}: it is no conversion for OpenVINO.", REMAKE)
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        said = said.get("text_config", said)
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"models.openvino: {folder / 'config.json'} cannot be read: {error}", REMAKE) from error
    ours = anatomy.config(network)
    for name in TELLTALES:
        own, its = getattr(ours, name, None), said.get(name)
        if own != its:
            raise UsageError(
                f"models.openvino: {folder} was made of other weights: its {name} is {its}, models.causal has {own}.",
                REMAKE,
            )


def load(name: str) -> Any:
    """Import a package of OpenVINO's without its telemetry: it would send an event to Google Analytics at import, unasked."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # then importing it fails, which is provided for
    return importlib.import_module(name)


class Engine:
    """The continuous batching pipeline over one folder; it keeps what prompts begin with, for later calls too."""

    def __init__(self, folder: Path, network: Any) -> None:
        self._genai, self._openvino = load("openvino_genai"), load("openvino")
        self.folder, self.room = folder, _room(network)
        self._numbers = count()
        self._pipeline: Any = self._made()
        self._tails = Tails()

    def write(self, asks: Sequence[Ask], stops: frozenset[int], shared: Sequence[int] = ()) -> list[Written | None]:
        """Continue each ask greedily, in order; None where one has no room in what is kept, or came to nothing.

        `shared` is what asks are expected to begin with. What several begin with is read first, once.
        """
        found: list[Written | None] = [None] * len(asks)
        fits = [i for i, ask in enumerate(asks) if len(ask.tokens) + ask.most + BLOCK <= self.room]
        for start in _beginnings([asks[i].tokens for i in fits], shared):
            self._together([Ask(start, 1)], frozenset())
        for part in self._parts(asks, fits):
            for wave in self._tails.waves([asks[i].tokens for i in part]):
                rows = [part[at] for at in wave]
                for i, written in zip(rows, self._together([asks[i] for i in rows], stops), strict=True):
                    found[i] = written if written.tokens else None
        return found

    def _made(self) -> Any:
        how = self._genai.SchedulerConfig()
        how.enable_prefix_caching = True
        how.num_kv_blocks = self.room // BLOCK
        how.max_num_batched_tokens = READ_TOKENS
        how.max_num_seqs = ROWS
        try:
            return self._genai.ContinuousBatchingPipeline(str(self.folder), how, "CPU", _properties())
        except RuntimeError as error:
            what = next((one for one in reversed(str(error).splitlines()) if one.strip()), "")
            raise UsageError(f"models.openvino: {self.folder} cannot be loaded: {what.strip()}", REMAKE) from error

    def _parts(self, asks: Sequence[Ask], rows: Sequence[int]) -> Iterator[list[int]]:
        """Cut rows so that none is put off for want of room, which would throw away what it wrote."""
        part: list[int] = []
        size = 0
        for i in rows:
            own = len(asks[i].tokens) + asks[i].most + BLOCK
            if part and (len(part) >= ROWS or size + own > self.room):
                yield part
                part, size = [], 0
            part.append(i)
            size += own
        if part:
            yield part

    def _together(self, asks: Sequence[Ask], stops: frozenset[int]) -> list[Written]:
        """Write for asks in one pass. After one that was broken off the pipeline is made anew: blocks may be half read."""
        found = [Written([]) for _ in asks]
        try:
            handles = [self._pipeline.add_request(*self._asked(ask, stops)) for ask in asks]
            while self._pipeline.has_non_finished_requests():
                self._pipeline.step()
                for handle, ask, written in zip(handles, asks, found, strict=True):
                    _take(handle, ask, written)
        except BaseException:
            self._pipeline, self._tails = None, Tails()  # its memory goes before the next is made
            self._pipeline = self._made()
            raise
        for ask, written in zip(asks, found, strict=True):
            self._tails.go_on(ask.tokens, written.tokens)
        return found

    def _asked(self, ask: Ask, stops: frozenset[int]) -> tuple[int, Any, Any]:
        """Return a request as the pipeline takes it; one log-probability each makes it tell that of the chosen token."""
        import numpy as np

        ends = stops | ask.stops
        more = {"stop_token_ids": set(ends), "eos_token_id": min(ends)} if ends else {"ignore_eos": True}
        how = self._genai.GenerationConfig(max_new_tokens=ask.most, do_sample=False, logprobs=1, **more)
        return next(self._numbers), self._openvino.Tensor(np.array([ask.tokens], dtype=np.int64)), how


class Tails:
    """Where texts that were written end within a block: from there no two prompts of one pass may go on."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Spelled, None] = OrderedDict()

    def waves(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Yield numbers of prompts that may be written in one pass; `go_on` is to be called for each before the next."""
        left = list(range(len(prompts)))
        while left:
            used: set[Spelled] = set()
            now = []
            for i in left:
                tails = self._within(prompts[i])
                if not tails & used:
                    used |= tails
                    now.append(i)
            left = sorted(set(left) - set(now))
            yield now

    def go_on(self, prompt: Sequence[int], new: Sequence[int]) -> None:
        """Take the end of a text that was written, instead of those within it whose blocks it filled.

        The last token of a text was chosen and never read: no block holds it.
        """
        read = [*prompt, *new[:-1]]
        for one in self._within(prompt):
            if -(-one[0] // BLOCK) * BLOCK <= len(read):
                self._kept.pop(one)
        if len(read) % BLOCK:
            *_, end = _spelled(read)
            self._kept[end] = None
        while len(self._kept) > KEPT_TAILS:
            self._kept.popitem(last=False)

    def _within(self, prompt: Sequence[int]) -> set[Spelled]:
        return {one for one in _spelled(prompt) if one in self._kept} if self._kept else set()


def _spelled(tokens: Sequence[int]) -> Iterator[Spelled]:
    """Yield the beginnings of a text that end within a block."""
    known = 0
    for size, token in enumerate(tokens, 1):
        known = hash((known, token))
        if size % BLOCK:
            yield size, known


def _beginnings(rows: Sequence[tuple[int, ...]], shared: Sequence[int]) -> list[tuple[int, ...]]:
    """Return what several rows begin with, in whole blocks, the shortest first."""
    groups = [one for one in plan(rows, shared) if len(one.rows) > 1]
    found = {rows[one.rows[0]][: one.size // BLOCK * BLOCK] for one in groups}
    return sorted((one for one in found if one), key=lambda one: (len(one), one))


def _take(handle: Any, ask: Ask, written: Written) -> None:
    """Take what is new of one answer, and say it to who hears."""
    while handle.can_read():
        for one in handle.read().values():
            written.tokens += one.generated_ids
            written.likelihood += sum(one.generated_log_probs)
        if ask.hear is not None:
            ask.hear(written.tokens)


def _room(network: Any) -> int:
    """Return how many tokens' keys and values are kept, in whole blocks."""
    config = anatomy.config(network)
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    each = 2 * config.num_hidden_layers * width * (getattr(config, "num_key_value_heads", None) or heads)
    most = int(KEPT_SHARE * hardware.free_bytes() / (each * network.dtype.itemsize))
    return max(2, min(KEPT_TOKENS, most) // BLOCK) * BLOCK


def _properties() -> dict[str, Any]:
    """Return with how many threads and in which number format is computed: as our own engine does."""
    import torch

    exact = {"INFERENCE_PRECISION_HINT": "f32"} if hardware.dtype() == torch.float32 else {}
    return {"INFERENCE_NUM_THREADS": torch.get_num_threads(), **exact}
