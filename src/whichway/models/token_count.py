"""How many tokens a text has for a tokenizer that nobody has named: by the pieces that byte-pair tokenizers begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Fitted on the example tasks to the tokenizers of SmolLM2 (byte-level pairs) and MiniLM (WordPiece), which differ by a tenth
# from each other themselves: bench/estimate.py tells how far this is from either.
PER_MESSAGE = 5  # what a chat template puts around one message
PER_REPLY = 3  # and before the answer
COMMON = 7  # letters up to which a word is mostly one token
FURTHER = 3.4  # letters per token beyond them
DIGITS = 1.15  # digits per token
RUN = 1.6  # other signs per token, where several stand together
BYTES = 2.4  # bytes per token of words in other alphabets

_PIECE = re.compile(r"([A-Za-z]+)|(\d+)|([^\W\d_]+)|([^\w\s]+|_+)|(\n+|[ \t]{2,})")


def count_tokens(text: str) -> float:
    """Return about how many tokens a text has."""
    total = 0.0
    for word, digits, foreign, signs, space in _PIECE.findall(text):
        if word:
            total += 1.0 + max(0, len(word) - COMMON) / FURTHER
        elif digits:
            total += max(1.0, len(digits) / DIGITS)
        elif foreign:
            total += max(1.0, len(foreign.encode()) / BYTES)
        elif signs:
            total += max(1.0, len(signs) / RUN)
        elif space:
            total += 1.0
    return total


def prompt_tokens(texts: Sequence[str]) -> float:
    """Return about how many tokens messages have within a chat."""
    return PER_REPLY + sum(PER_MESSAGE + count_tokens(text) for text in texts)
