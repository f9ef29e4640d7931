"""Whether OpenVINO GenAI writes faster here than our own engine, and as well: measured once, kept by content."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whichway.models import hardware
from whichway.models.decoding import Ask, Written, write
from whichway.models.embedded import cache_folder
from whichway.models.openvino_engine import Engine, examine
from whichway.models.weights import converted_digest, weights_digest

log = logging.getLogger("whichway")

FASTER = 1.15  # times as fast, or our own engine writes
GAP = 0.05  # that the mean log-likelihood of a token may fall short of our own texts'
FEW = 4  # prompts of one call up to which what was measured of one counts, and not of many
TURNS = 2
MANY, NEW = 8, 12  # prompts at once, tokens each
VERSION = 1  # of this check: another one is asked anew
START = (
    "You answer messages that people send to a small shop for garden tools. Be friendly, say what happens next in one or two "
    "sentences, never promise a date that you do not know, and do not repeat the whole message. If something is broken, ask "
    "for a picture of it; if a parcel is late, say that it is being looked for; if somebody is content, say thank you.\n\n"
    "Message: My rake came without its handle.\nAnswer: I am sorry about that. Could you send us a picture of the parcel?\n\n"
)
THINGS = ("spade", "hose", "pair of gloves", "bag of seeds", "wheelbarrow", "lawn mower", "saw", "watering can")
NEWS = (
    "has not come yet, and I have waited for two weeks",
    "is the best that I ever had, thank you very much",
    "broke when I used it for the first time",
    "is too large for me; may I send it back to you",
)


@dataclass(frozen=True)
class Verdict:
    """How many times as fast it wrote for many prompts at once and for one, and how likely both engines' texts are.

    `ours` and `theirs` are mean log-likelihoods per token under our own engine.
    """

    many: float
    one: float
    ours: float
    theirs: float

    def allows(self, prompts: int) -> bool:
        """Tell whether OpenVINO GenAI is to write for so many prompts at once."""
        return self.agrees and (self.one if prompts <= FEW else self.many) >= FASTER

    @property
    def agrees(self) -> bool:
        """Whether its texts are about as likely as our own."""
        return self.theirs >= self.ours - GAP

    def refusal(self) -> str:
        """Say why our own engine writes, wholly or in part; nothing where it does not."""
        slow = [name for name, one in (("many prompts at once", self.many), ("one prompt", self.one)) if one < FASTER]
        if self.agrees and not slow:
            return ""
        what = f"writes for {' and for '.join(slow)}" if self.agrees else "writes all texts"
        return (
            f"models.openvino: our own engine {what}. OpenVINO GenAI was {self.many:.2f} times as fast with many prompts at "
            f"once and {self.one:.2f} times with one (asked: {FASTER:g}); the mean log-likelihood of a token is "
            f"{self.theirs:.3f} in its texts and {self.ours:.3f} in ours (it may fall short by {GAP:g})."
        )


class Quick:
    """OpenVINO GenAI beside a language model: made and checked at its first use, it writes where the check allows it."""

    def __init__(self, model: Any, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
        examine(folder, model.network)
        self.model, self.folder, self.say = model, folder, say
        self._engine: Engine | None = None
        self._verdict: Verdict | None = None

    def write(self, asks: Sequence[Ask], stops: frozenset[int], shared: Sequence[int] = ()) -> list[Written | None]:
        """Continue asks greedily; None for those that our own engine is to write."""
        if not asks or not self.verdict().allows(len(asks)):
            return [None] * len(asks)
        return self.engine().write(asks, stops, shared)

    def engine(self) -> Engine:
        """Return the engine, loaded at the first call."""
        if self._engine is None:
            self._engine = Engine(self.folder, self.model.network)
        return self._engine

    def verdict(self) -> Verdict:
        """Return what the check found for these weights, this folder and this processor; warns once where it refuses."""
        if self._verdict is None:
            if hardware.device().type != "cpu":
                self._verdict = Verdict(0.0, 0.0, 0.0, 0.0)
                log.warning("models.openvino: our own engine writes all texts, as it computes on a GPU.")
                return self._verdict
            file = self._kept_in()
            self._verdict = _read(file) or self._measured(file)
            if refusal := self._verdict.refusal():
                log.warning(refusal)
            if not any(self._verdict.allows(size) for size in (1, FEW + 1)):
                self._engine = None  # and its memory
        return self._verdict

    def _measured(self, file: Path | None) -> Verdict:
        self.say("checking once whether OpenVINO GenAI writes faster here, and as well")
        found = measure(self.model, self.engine())
        if file is not None:
            _keep(file, found)
        return found

    def _kept_in(self) -> Path | None:
        """Return where the verdict is kept; None for weights on a hub, whose name may stand for others tomorrow."""
        import torch

        where = Path(self.model.where)
        if not where.is_dir():
            return None
        from importlib.metadata import version

        said = [weights_digest(where), converted_digest(self.folder), VERSION]
        on = [hardware.processor(), os.cpu_count(), torch.get_num_threads(), torch.__version__]
        told = json.dumps([*said, *on, version("openvino-genai")])
        return cache_folder() / "openvino" / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"


def measure(model: Any, engine: Engine) -> Verdict:
    """Let both engines write for prompts of our own, in turns, and let ours say how likely the texts are; some seconds.

    Prompts are new in every turn, and what they begin with is known to both before the clock starts.
    """
    prompts, stops = (
        _prompts(model),
        frozenset[int](),
    )  # nothing ends a text early: both write the same number of tokens
    start = tuple(model.tokens(START))

    def ours(asks: list[Ask]) -> list[Written]:
        return write(model.network, model.scorer.prefixes, asks, stops, start)

    def theirs(asks: list[Ask]) -> list[Written]:
        return [one or Written([]) for one in engine.write(asks, stops, start)]

    seconds = {(who, size): 0.0 for who in (ours, theirs) for size in (MANY, 1)}
    texts: dict[Any, list[tuple[Ask, list[int]]]] = {ours: [], theirs: []}
    for who in (ours, theirs):
        who([next(prompts) for _ in range(2)])
    for size in (MANY, 1) * TURNS:
        asks = [next(prompts) for _ in range(size)]
        for who in (ours, theirs):
            began = time.perf_counter()
            written = who(asks)
            seconds[who, size] += time.perf_counter() - began
            texts[who] += [(ask, one.tokens) for ask, one in zip(asks, written, strict=True)]
    ratio = {size: seconds[ours, size] / seconds[theirs, size] for size in (MANY, 1)}
    return Verdict(ratio[MANY], ratio[1], *(_likelihood(model, texts[who]) for who in (ours, theirs)))


def _likelihood(model: Any, texts: Sequence[tuple[Ask, list[int]]]) -> float:
    """Return the mean log-likelihood of a token of texts, as our own engine reads them; minus infinity of nothing at all."""
    if not all(tokens for _, tokens in texts):
        return -float("inf")
    total = sum(float(model.scorer.score([ask.tokens], [tokens])[0, 0]) for ask, tokens in texts)
    return total / sum(len(tokens) for _, tokens in texts)


def _prompts(model: Any) -> Iterator[Ask]:
    """Yield prompts that differ from each other early, behind the same beginning."""
    for number in range(TURNS * (MANY + 1) + 4):
        thing, news = THINGS[number % len(THINGS)], NEWS[number // len(THINGS) % len(NEWS)]
        text = f"{START}Message: Order {4711 + 97 * number}. The {thing} {news}.\nAnswer:"
        yield Ask(tuple(model.tokens(text)), NEW)


def _read(file: Path | None) -> Verdict | None:
    """Return what is kept, passing over what is not as `_keep` writes it."""
    try:
        return Verdict(**{key: float(one) for key, one in json.loads(file.read_text()).items()}) if file else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _keep(file: Path, verdict: Verdict) -> None:
    """Write a verdict down; a cache that cannot be written costs nothing else."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(f".{time.time_ns()}")
        scratch.write_text(json.dumps(asdict(verdict)), encoding="utf-8")
        scratch.replace(file)
    except OSError:
        pass
