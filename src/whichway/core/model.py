"""A thing that generates, scores or embeds, what it is asked, what it answers, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True)
class Spend:
    """What something cost: seconds of wall clock, US dollars, tokens in and out."""

    seconds: float = 0.0
    usd: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Spend) -> Spend:
        return Spend(
            self.seconds + other.seconds,
            self.usd + other.usd,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True)
class Request:
    """One thing to generate: chat messages as (role, text) pairs.

    `choices` asks for one of these answers exactly, `schema` for a JSON object that keeps a JSON Schema. With `continues`
    a local model goes on where the text of the only message ends, without any chat form: what fine-tuned weights expect.
    `stop` are strings at which an answer ends; a local model writes no further. At a temperature, another `draw` is another
    sample.
    """

    messages: tuple[tuple[Literal["system", "user", "assistant"], str], ...]
    max_tokens: int = 64
    temperature: float = 0.0
    choices: tuple[str, ...] | None = None
    schema: Mapping[str, Any] | None = None
    continues: bool = False
    stop: tuple[str, ...] = ()
    draw: int = 0


@dataclass(frozen=True)
class Reply:
    """What came back. `finish` is 'stop', 'length' (truncated) or 'failed'; `problem` says why it failed.

    `top_logprobs` holds, per generated token, the alternatives the endpoint reported as {token: log-probability};
    `mean_logprob` is the mean log-probability of the tokens that a local model wrote.
    """

    text: str
    spend: Spend = field(default_factory=Spend)
    finish: Literal["stop", "length", "failed"] = "stop"
    problem: str = ""
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    mean_logprob: float | None = None


@runtime_checkable
class Model(Protocol):
    """Generates text. `is_local` says whether the data stay on this machine."""

    name: str
    is_local: bool

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each request, in order; a failed one is a Reply with finish='failed', never an exception."""


@runtime_checkable
class Scorer(Protocol):
    """Tells how likely given continuations are: the way a local causal model classifies."""

    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> Any:
        """Return a float array [len(prompts), len(continuations)] of summed log-likelihoods."""


@runtime_checkable
class NearScorer(Scorer, Protocol):
    """A Scorer that need not read what cannot be the answer."""

    def score_steps(self, prompts: Sequence[str], continuations: Sequence[str], shared: str = "") -> Any:
        """Return what `score` sums up: floats [prompts, continuations, tokens], NaN behind a continuation's last token."""

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

        The others' numbers are bounds: not below their likelihood, and as far below the best; or, where `usual` says
        what log-probability each of their tokens usually has, estimates.
        """


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors of unit length."""

    name: str

    def embed(self, texts: Sequence[str]) -> Any:
        """Return a float32 array [len(texts), width]."""


@runtime_checkable
class Trainable(Protocol):
    """A causal model whose weights can be adapted; the result is a Scorer and a Model again."""

    def train(self, prompts: Sequence[str], completions: Sequence[str], settings: Mapping[str, Any], *more: Any) -> Any:
        """Train on prompt -> completion pairs and save the adapted weights; see models/training.py."""


class Meter(Protocol):
    """Through which every paid call goes: `reserve -> call -> settle`. The ledger is one."""

    def recall(self, key: str) -> Mapping[str, Any] | None:
        """Return the committed result of a unit of work, or None."""

    def reserve(self, key: str, what: str, bound: Spend) -> int:
        """Set aside the most this unit may cost; raises BudgetReached before anything is sent."""

    def settle(self, ticket: int, spend: Spend, result: Mapping[str, Any]) -> None:
        """Replace the reservation by what it really cost, and commit the result."""

    def lose(self, ticket: int, reason: str) -> None:
        """Keep the reservation charged: the outcome of the call is unknown."""
