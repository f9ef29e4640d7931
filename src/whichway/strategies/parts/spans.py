"""Pieces of documents that may be answers: the whole, its first paragraph, each paragraph, each sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from whichway.core.task import Document

LONGEST = 24  # pieces of one document; those of a longer one come from its beginning

_LEAD = re.compile(r"^\s*(?:answer|a|q|question)\s*\d*\s*[:.)]\s*", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_MARK = re.compile(r"^\s*(?:#+|[-*+]|\d+[.)])\s+")
_BREAK = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Span:
    """A piece of a document."""

    document: str
    kind: str  # whole, first, paragraph, sentence
    text: str


def spans_of(documents: Sequence[Document], words: int) -> list[Span]:
    """Return the pieces of at most `words` words, each text once per document; headings are no answers."""
    found = []
    for document in documents:
        seen: dict[str, Span] = {}
        for kind, text in _pieces(document.text):
            if text and len(text.split()) <= words:
                seen.setdefault(text, Span(document.id, kind, text))
        found += list(seen.values())[:LONGEST]
    return found


def _pieces(text: str) -> list[tuple[str, str]]:
    blocks = [block for block in (_plain(one) for one in _BREAK.split(text)) if block]
    sentences = [("sentence", _MARK.sub("", one).strip()) for block in blocks for one in _sentences(block)]
    whole = [("whole", "\n\n".join(blocks)), ("first", blocks[0])] if blocks else []
    return [*whole, *(("paragraph", one) for one in blocks), *sentences]


def _sentences(block: str) -> list[str]:
    return [one for line in block.splitlines() for one in _SENTENCE.split(line)]


def _plain(block: str) -> str:
    """Return a paragraph without headings and without a leading 'Answer 1:'."""
    lines = [line for line in block.strip().splitlines() if not line.lstrip().startswith("#")]
    return _LEAD.sub("", "\n".join(lines)).strip()
