"""Documents cut into passages along their own structure: headings, paragraphs and list items, then sentences, then words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from whichway.core.task import Document

WORDS = 180  # about what a small encoder reads (256 tokens)
OVERLAP = 30
STILL_SHORT = 1.5  # a document up to this many times the size stays whole: two halves would say less than one

_HEADING = re.compile(r"^(#{1,6})\s+(\S.*)$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\(?[0-9]{1,3}[.)]|\(?[a-z][.)])\s+\S")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[^\Wa-z_])")


@dataclass(frozen=True)
class Passage:
    """A piece of a document; `document` is its id, `title` the document's title and the headings above the piece."""

    id: str
    document: str
    title: str
    text: str


def chunk(documents: Sequence[Document], words: int = WORDS, overlap: int = OVERLAP) -> list[Passage]:
    """Cut documents into passages of at most `words` words.

    A short document stays one passage, whose id is the document's; the passages of a longer one are `id#0`, `id#1`, ...
    A passage never goes over a heading; those above it stand in its title. `overlap` words are said again at most, whole
    sentences of them, where a passage goes on in the middle of a section. `words` of 0 cuts nothing.
    """
    return [passage for one in documents for passage in _cut(one, words, min(overlap, words // 2))]


def _cut(document: Document, words: int, overlap: int) -> list[Passage]:
    if not words or _count(document.text) <= STILL_SHORT * words:
        return [Passage(document.id, document.id, document.title, document.text)]
    found = []
    for headings, lines in _sections(document.text):
        title = " > ".join(dict.fromkeys(one for one in (document.title, *headings) if one))
        found += [(title, text) for text in _packed(_pieces(lines, words), words, overlap)]
    return [Passage(f"{document.id}#{i}", document.id, title, text) for i, (title, text) in enumerate(found)]


def _sections(text: str) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return (headings above, lines) per section; a heading with nothing at all below it is kept as a line."""
    above: list[tuple[int, str]] = []
    sections: list[tuple[tuple[str, ...], list[str]]] = [((), [])]
    fenced = False  # a comment in a piece of code is no heading
    for line in text.splitlines():
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.match(line)
        if heading:
            level = len(heading[1])
            above = [one for one in above if one[0] < level] + [(level, heading[2].strip(" #"))]
            sections.append((tuple(said for _, said in above), []))
        else:
            sections[-1][1].append(line)
    kept = []
    for (headings, lines), (after, _) in zip(sections, [*sections[1:], ((), [])], strict=True):
        if any(line.strip() for line in lines):
            kept.append((headings, lines))
        elif headings and after[: len(headings)] != headings:
            kept.append((headings[:-1], [headings[-1]]))
    return kept


def _pieces(lines: Sequence[str], words: int) -> list[str]:
    """Return paragraphs and list items, those longer than `words` as sentences, and longer sentences as runs of words."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if not line.strip() or _ITEM.match(line):
            blocks.append([])
        if line.strip():
            blocks[-1].append(line.strip())
    pieces: list[str] = []
    for block in filter(None, blocks):
        said = "\n".join(block)
        for part in [said] if _count(said) <= words else _SENTENCE.split(said):
            run = part.split()
            pieces += [part] if len(run) <= words else [" ".join(run[i : i + words]) for i in range(0, len(run), words)]
    return [one for one in pieces if one.strip()]


def _packed(pieces: Sequence[str], words: int, overlap: int) -> list[str]:
    """Fill passages with pieces in order; the next one begins with the last pieces that fit into the overlap."""
    passages: list[list[str]] = [[]]
    for piece in pieces:
        size = sum(map(_count, passages[-1]))
        if passages[-1] and size + _count(piece) > words:
            passages.append(_tail(passages[-1], min(overlap, words - _count(piece))))
        passages[-1].append(piece)
    return ["\n".join(one) for one in passages if one]


def _tail(pieces: Sequence[str], most: int) -> list[str]:
    kept: list[str] = []
    for piece in reversed(pieces):
        if sum(map(_count, kept)) + _count(piece) > most:
            break
        kept.insert(0, piece)
    return kept


def _count(text: str) -> int:
    return len(text.split())
