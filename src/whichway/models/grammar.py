"""Holding an answer to a JSON Schema while it is written, through llguidance: a token that would break it is never taken."""

# A model that knows the form mostly writes allowed tokens by itself, so the likeliest token is tried first and the mask
# over the whole vocabulary is computed only where it is refused (measured in docs/log.md).

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from whichway.errors import MissingExtra, UsageError

SPELLING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}  # as json.dumps writes
SPARE = 10  # tokens beside the shortest object, within which an answer is brought to its end


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
            shortest = self.tokenizer(json.dumps(_shortest(schema)), add_special_tokens=False)["input_ids"]
            self._compiled[key] = (self._compile(schema), len(shortest) + SPARE)
        state, tail = self._compiled[key]
        return Matcher(self, state.deep_copy(), most, tail)

    @cached_property
    def words(self) -> list[str]:
        """The text of each token."""
        return [self.tokenizer.decode([i]) if i < len(self.tokenizer) else "" for i in range(self.vocabulary)]

    @cached_property
    def closers(self) -> tuple[list[int], list[int]]:
        """Tokens that close what is open, the longest first: from within a string, and from outside of one."""
        ends = [i for i, word in enumerate(self.words) if word and set(word) <= set('"]}')]
        ends.sort(key=lambda i: -len(self.words[i]))
        inside = [i for i in ends if self.words[i].startswith('"') and self.words[i].count('"') == 1]
        onward = [i for i, word in enumerate(self.words) if word in (', "', ", ", ",")]  # a number ends, too
        return inside, [i for i in ends if '"' not in self.words[i]] + sorted(onward, key=lambda i: -len(self.words[i]))

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
    """How far one answer has come. In its last `tail` tokens it is brought to an end: strings and lists are closed."""

    def __init__(self, grammars: Grammars, state: Any, most: int, tail: int) -> None:
        self.grammars, self.state, self.left, self.tail = grammars, state, most, tail
        self.is_inside = self.is_escaped = self.was_closed = False

    def choose(self, token: int, logits: Any) -> int:
        """Return `token` where the grammar allows it, else the likeliest allowed one by `logits` [vocabulary]; move on."""
        self.left -= 1
        if self.left < self.tail:
            token = self._closing(token, logits)
        elif self.state.validate_tokens([token]) != 1:
            token = self._likeliest(logits)
        self.state.consume_token(token)
        self._follow(self.grammars.words[token])
        return token

    def _closing(self, token: int, logits: Any) -> int:
        """Return what ends the answer soonest; where nothing may be closed, the likeliest of what must come."""
        stops = [one for one in self.grammars.stops if self._allows(one)]
        closers = self.grammars.closers[0 if self.is_inside else 1]
        forced = () if self.is_inside else self.state.compute_ff_tokens()[:1]
        chosen = next((one for one in (*stops, *closers, *forced) if self._allows(one)), None)
        if chosen is None:
            chosen = token if self._allows(token) else self._likeliest(logits)
        self.was_closed |= chosen != token
        return chosen

    def _allows(self, token: int) -> bool:
        return bool(self.state.validate_tokens([token]) == 1)

    def _likeliest(self, logits: Any) -> int:
        """Mask the whole vocabulary: bits of int32 words, the lowest first."""
        import torch

        words = torch.empty((len(logits) + 31) // 32, dtype=torch.int32)
        self.state.unsafe_compute_mask_ptr(words.data_ptr(), words.numel() * 4)
        bits = (words[:, None] >> torch.arange(32, dtype=torch.int32)) & 1
        allowed = bits.reshape(-1)[: len(logits)].bool().to(logits.device)
        return int(logits.masked_fill(~allowed, -float("inf")).argmax())

    def _follow(self, text: str) -> None:
        """Keep account of whether what was written stands within a string."""
        for char in text:
            if self.is_escaped:
                self.is_escaped = False
            elif char == "\\":
                self.is_escaped = self.is_inside
            elif char == '"':
                self.is_inside = not self.is_inside


def _shortest(schema: Any, root: Mapping[str, Any] | None = None, depth: int = 8) -> Any:
    """Return about the shortest value that keeps a schema."""
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    root = schema if root is None else root
    if "const" in schema or "enum" in schema:
        return min(schema.get("enum", [schema.get("const")]), key=lambda one: len(json.dumps(one)))
    if "$ref" in schema:
        return _shortest(_referred(str(schema["$ref"]), root), root, depth - 1)
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]
    if branches:
        return min((_shortest(one, root, depth - 1) for one in branches), key=lambda one: len(json.dumps(one)))
    kind = schema.get("type", "object")
    kinds = [kind] if isinstance(kind, str) else list(kind)
    text = "x" * max(int(schema.get("minLength", 0)), 10 if "format" in schema else 0)
    items = [_shortest(schema.get("items"), root, depth - 1)] * int(schema.get("minItems", 0))
    plain: dict[str, Any] = {"null": None, "boolean": True, "integer": 0, "number": 0, "string": text, "array": items}
    for name, value in plain.items():
        if name in kinds:
            return value
    required = schema.get("required", ())
    properties = schema.get("properties", {}).items()
    return {name: _shortest(one, root, depth - 1) for name, one in properties if name in required}


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    """Return what a reference within the schema ('#/$defs/person') stands for, or None."""
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
