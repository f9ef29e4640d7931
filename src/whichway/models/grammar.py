"""Holding an answer to a JSON Schema while it is written, through llguidance: a token that would break it is never taken."""

# A model that knows the form mostly writes allowed tokens by itself, so the likeliest token is tried first and the mask
# over the whole vocabulary is computed only where it is refused (measured in docs/log.md).

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from whichway.errors import MissingExtra, UsageError
from whichway.models import shape

SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}  # as json.dumps writes
SPARE = 2  # tokens that are left over when an answer is brought to its end
MARGIN = 10  # tokens beside the longest end that is foreseen, within which it is looked ahead
OPENING = frozenset(',[{"')  # outside of a string: what may ask for more to be written
ESCAPE = 6  # characters of the longest escape
PLAIN = ("null", " null", ' "', '"', " true", "true", "0", " 0", " [", " {")  # what may come where nothing must


def unfollowed(schema: Mapping[str, Any]) -> str:
    """Say why answers cannot be held to a schema while they are written; '' where they can, or where llguidance is missing."""
    try:
        from llguidance import LLMatcher
    except ImportError:
        return ""
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=SPELLING)  # type: ignore[arg-type]
    problem = str(LLMatcher.validate_grammar(grammar, None)).strip()
    return (
        f"its answers cannot be held to the schema ({problem.splitlines()[0]}): simplify output.schema"
        if problem
        else ""
    )


class Grammars:
    """Schemas compiled for one tokenizer, each once."""

    def __init__(self, tokenizer: Any, vocabulary: int, stops: frozenset[int]) -> None:
        self.tokenizer, self.vocabulary, self.stops = tokenizer, vocabulary, stops
        self._compiled: dict[str, tuple[Any, int]] = {}
        self._tokens: Any = None

    def matcher(self, schema: Mapping[str, Any], most: int) -> Matcher:
        """Return a fresh state for one answer of at most `most` tokens; raises UsageError for a schema it cannot follow."""
        key = json.dumps(schema)
        if key not in self._compiled:
            open_ = self.tokenizer(json.dumps(shape.opened(schema)), add_special_tokens=False)["input_ids"]
            self._compiled[key] = (self._compile(schema), len(open_) + SPARE + MARGIN)
        state, tail = self._compiled[key]
        return Matcher(self, state.deep_copy(), most, tail)

    @cached_property
    def words(self) -> list[str]:
        """The text of each token."""
        known = len(self.tokenizer)  # some tokenizers count anew each time they are asked
        return [self.tokenizer.decode([i]) if i < known else "" for i in range(self.vocabulary)]

    @cached_property
    def closers(self) -> tuple[list[int], list[int]]:
        """Tokens that close what is open, the longest first: from within a string, and from outside of one."""
        ends = [i for i, word in enumerate(self.words) if word and set(word) <= set('"]}')]
        ends.sort(key=lambda i: -len(self.words[i]))
        inside = [i for i in ends if self.words[i].startswith('"') and self.words[i].count('"') == 1]
        onto = [i for i, word in enumerate(self.words) if word in ('":', '",')]  # where no bracket may be closed
        inside = [*[i for i in inside if self.words[i] != '"'], *onto, *[i for i in inside if self.words[i] == '"']]
        onward = [i for i, word in enumerate(self.words) if word in (', "', ", ", ",", "null")]  # a number ends, too
        return inside, [i for i in ends if '"' not in self.words[i]] + sorted(onward, key=lambda i: -len(self.words[i]))

    @cached_property
    def plain(self) -> list[int]:
        """Tokens with which values may begin."""
        return [self.words.index(word) for word in PLAIN if word in self.words]

    def _compile(self, schema: Mapping[str, Any]) -> Any:
        try:
            import llguidance
            import llguidance.hf
        except ImportError as missing:
            raise MissingExtra("llguidance", "local", "Writing JSON by a schema") from missing
        if self._tokens is None:
            self._tokens = llguidance.hf.from_tokenizer(
                self.tokenizer, n_vocab=self.vocabulary, eos_token=sorted(self.stops)
            )
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=SPELLING)  # type: ignore[arg-type]
        made = llguidance.LLMatcher(self._tokens, grammar, log_level=0)
        if made.is_error():
            problem = made.get_error().splitlines()[0]
            raise UsageError(f"The schema of the answer cannot be followed: {problem}", "Simplify output.schema.")
        return made


class Matcher:
    """How far one answer has come. When its room is just enough to end it, it is: strings, lists and objects are closed.

    `tail` is about the most tokens that an end can take; only within the last so many is it looked ahead.
    """

    def __init__(self, grammars: Grammars, state: Any, most: int, tail: int) -> None:
        self.grammars, self.state, self.left, self.tail = grammars, state, most, tail
        self.at, self.was_closed, self.plan = Inside(), False, -1

    def choose(self, token: int, logits: Any) -> int:
        """Return `token` where the grammar allows it, else the likeliest allowed one by `logits` [vocabulary]; move on."""
        self.left -= 1
        wanted = token
        if not _allows(self.state, token):
            token = self._likeliest(logits)
        if self.left < self.tail and not self._leaves_room(token):
            token, self.plan = self._soonest(self.state, self.at)[0], -1
            self.was_closed |= token != wanted
        self.state.consume_token(token)
        self.at.follow(self.grammars.words[token])
        return token

    def _leaves_room(self, token: int) -> bool:
        """Tell whether the answer can still be ended after this token.

        `plan` is how many tokens that took when it was looked ahead last. Only what opens something can make it more: the
        rest of a string or a number goes by without another look, as long as the old plan fits.
        """
        word = self.grammars.words[token]
        is_calm = not OPENING.intersection(word)
        if self.at.inside:  # an escape like \u001f must be written out before its string may end
            is_calm = not self.at.escape and '"' not in word and "\\" not in word
        if not (is_calm and 0 <= self.plan <= self.left - SPARE):
            self.plan = self._steps_to_end(token, self.left - SPARE)
        return self.plan >= 0

    def _steps_to_end(self, token: int, most: int) -> int:
        """Return how many tokens end the answer after this one, by ending it on a copy; -1 where they are more than `most`."""
        state, at, steps, coming = self.state.deep_copy(), replace(self.at), 0, [token]
        while True:
            state.consume_tokens(coming)
            if coming[-1] in self.grammars.stops or state.is_stopped():
                return steps
            for one in coming:
                at.follow(self.grammars.words[one])
            coming = self._soonest(state, at)
            steps += len(coming)
            if steps > most:
                return -1

    def _soonest(self, state: Any, at: Inside) -> list[int]:
        """Return what ends the answer soonest: all that must come now, a stop, a closing bracket, or of a choice a short one."""
        forced: list[int] = state.compute_ff_tokens()
        if forced:
            return forced
        closers = self.grammars.closers[0 if at.inside else 1]
        known = (*self.grammars.stops, *closers, *self.grammars.plain)
        found: int | None = next((one for one in known if _allows(state, one)), None)
        if found is not None:
            return [found]
        allowed: list[int] = _mask(state, self.grammars.vocabulary).nonzero().flatten().tolist()
        return [max(allowed, key=lambda one: len(self.grammars.words[one])) if at.inside else allowed[0]]

    def _likeliest(self, logits: Any) -> int:
        allowed = _mask(self.state, len(logits)).to(logits.device)
        return int(logits.masked_fill(~allowed, -float("inf")).argmax())


@dataclass
class Inside:
    """Whether what is written stands within a string; `escape` characters may still belong to an escape of four hex digits."""

    inside: bool = False
    escaped: bool = False
    escape: int = 0

    def follow(self, text: str) -> None:
        """Go on over what is written next."""
        for char in text:
            self.escape = max(0, self.escape - 1)
            if self.escaped:
                self.escaped = False
            elif char == "\\":
                self.escaped, self.escape = self.inside, ESCAPE * self.inside
            elif char == '"':
                self.inside = not self.inside


def _mask(state: Any, vocabulary: int) -> Any:
    """Return which tokens of the whole vocabulary are allowed: bits of int32 words, the lowest first."""
    import torch

    words = torch.empty((vocabulary + 31) // 32, dtype=torch.int32)
    state.unsafe_compute_mask_ptr(words.data_ptr(), words.numel() * 4)
    bits = (words[:, None] >> torch.arange(32, dtype=torch.int32)) & 1
    return bits.reshape(-1)[:vocabulary].bool()


def _allows(state: Any, token: int) -> bool:
    return bool(state.validate_tokens([token]) == 1)
