"""Token ids of texts, each text tokenised once: found again by its content, whoever asks."""

# Prompts, train rows and labels come again: under another adapter, on another rung, for calibration, in the next strategy.
# Kept in memory alone: a tokenizer reads half a million tokens a second, which no file of kept ids would beat.

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

MEMOS = 3
MOST = 8_000_000  # token ids kept at four bytes; the longest unused texts go first


class TokenMemo:
    """A tokenizer that remembers."""

    def __init__(self, tokenizer: Any, most: int = MOST) -> None:
        self.tokenizer, self.most = tokenizer, most
        self.read = 0  # texts that the tokenizer has read, over all calls
        self._kept: OrderedDict[str, array[int]] = OrderedDict()
        self._size = 0

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens only where it spells them; new texts are read in one call."""
        new = list(dict.fromkeys(text for text in texts if text not in self._kept))
        found: dict[str, array[int]] = {}
        if new:
            read = self.tokenizer(new, add_special_tokens=False)["input_ids"]
            found = {text: array("I", ids) for text, ids in zip(new, read, strict=True)}
            self.read += len(new)
        answer = [(found[text] if text in found else self._again(text)).tolist() for text in texts]
        for text, ids in found.items():
            self._keep(text, ids)
        return answer

    def _again(self, text: str) -> array[int]:
        self._kept.move_to_end(text)
        return self._kept[text]

    def _keep(self, text: str, ids: array[int]) -> None:
        self._kept[text] = ids
        self._size += len(ids)
        while self._size > self.most and self._kept:
            self._size -= len(self._kept.popitem(last=False)[1])


_MEMOS: OrderedDict[str, TokenMemo] = OrderedDict()


def memo_of(tokenizer: Any) -> TokenMemo:
    """Return the memo of a tokenizer, the same one for all tokenizers with the same content: adaptations of a model share it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return TokenMemo(tokenizer)
    key = hashlib.sha256(backend.to_str().encode()).hexdigest()
    if key not in _MEMOS:
        _MEMOS[key] = TokenMemo(tokenizer)
    _MEMOS.move_to_end(key)
    while len(_MEMOS) > MEMOS:
        _MEMOS.popitem(last=False)
    return _MEMOS[key]
