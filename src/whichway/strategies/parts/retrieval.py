"""Which passages answer a question: an index of documents that finds by words, by meaning, or by both."""

# An index is made of documents alone. A reranker adds questions of the train part and which documents answered them;
# no answer of any row, and no row of validation or test, is ever in it.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from whichway.core.model import Embedder
from whichway.core.strategy import Progress
from whichway.core.task import Document
from whichway.errors import UsageError
from whichway.strategies.parts.chunks import OVERLAP, WORDS, Passage, chunk
from whichway.strategies.parts.dense import Vectors, embed_passages, load_vectors, part_of
from whichway.strategies.parts.fusion import best, fuse
from whichway.strategies.parts.lexical import Lexicon, index_words, load_lexicon
from whichway.strategies.parts.pairs import Pairing
from whichway.strategies.parts.rerank import Reranker, load_reranker
from whichway.strategies.parts.store import load_json, save_json

Mode = Literal["lexical", "dense", "fused"]
Embed = Literal["title", "body", "both", "max"]
BLOCK = 4_000_000  # scores [questions, passages] held at a time


@dataclass(frozen=True)
class RetrieverSettings:
    """How to find passages. `words` is the size of a passage, 0 for whole documents.

    `embed` says of what vectors are made; 'max' takes the better of title and body.
    """

    mode: Mode = "fused"
    words: int = WORDS
    overlap: int = OVERLAP
    embed: Embed = "max"


@dataclass(frozen=True)
class Hit:
    """A passage that was found. Scores order the hits of one question and compare with no other number."""

    passage: Passage
    score: float


@dataclass(frozen=True)
class Index:
    """Documents that can be searched; `build` makes one. The embedder stays outside of what is saved."""

    contents: tuple[Document, ...]
    passages: tuple[Passage, ...]
    settings: RetrieverSettings
    lexicons: Mapping[str, Lexicon]
    vectors: Vectors | None
    embedder: Embedder | None
    reranker: Reranker | None = None

    @cached_property
    def pairing(self) -> Pairing:
        """What the reranker looks at; asked of an index with one only."""
        assert self.reranker and self.vectors
        return Pairing(self.passages, self.lexicons, self.vectors, self.reranker.asked)

    def search(self, queries: Sequence[str], k: int = 5, without_self: bool = False) -> list[list[Hit]]:
        """Return the k best passages per question, the best first.

        `without_self` is for train rows, which a reranker remembers: a question is not compared with itself, so that
        its passages are found as those of a new question would be.
        """
        found = []
        for numbers, scores in self.ranked(queries, k, without_self):
            hits = zip(numbers, scores, strict=True)
            found.append([Hit(self.passages[i], float(score)) for i, score in hits])
        return found

    def documents(self, hits: Sequence[Hit]) -> list[str]:
        """Return the ids of the documents of hits, each once, in order of its best passage."""
        return list(dict.fromkeys(hit.passage.document for hit in hits))

    def update(
        self,
        documents: Sequence[Document],
        progress: Callable[[Progress], None] | None = None,
        beside: Index | None = None,
    ) -> Index:
        """Return the index of these documents; only texts that this one and the one `beside` do not know are embedded.

        It equals a fresh build, up to what an embedder's vector of a text depends on the texts beside it.
        """
        indexes = [one for one in (beside, self) if one and one.vectors]
        known = {text: row for one in indexes if one.vectors for text, row in one.vectors.known(one.passages).items()}
        return _build(documents, self.embedder, self.settings, progress or _silent, self.reranker, known)

    def save(self, folder: Path) -> None:
        """Write settings, documents, words and vectors as JSON and safetensors."""
        about = {
            "settings": asdict(self.settings),
            "lexicons": sorted(self.lexicons),
            "dense": self.vectors is not None,
        }
        save_json(folder / "index.json", about | {"reranked": self.reranker is not None})
        save_json(folder / "documents.json", [asdict(one) for one in self.contents])
        for name, lexicon in self.lexicons.items():
            lexicon.save(folder, f"words-{name}")
        if self.vectors:
            self.vectors.save(folder)
        if self.reranker:
            self.reranker.save(folder)

    def ranked(self, queries: Sequence[str], k: int, without_self: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield (numbers, scores) of the k best passages per question."""
        import numpy as np

        step = max(1, BLOCK // max(1, len(self.passages)))
        for start in range(0, len(queries) if self.passages else 0, step):
            block = queries[start : start + step]
            if self.reranker:
                yield from self.reranker.ranked(self.pairing, block, self.asked(block), k, without_self)
                continue
            scores = self.scores(block, self.asked(block))
            order = best(scores, k)
            yield from zip(order, np.take_along_axis(scores, order, axis=1), strict=True)
        if not self.passages:
            yield from (((), ()) for _ in queries)

    def asked(self, queries: Sequence[str]) -> Any:
        """Return the vectors of questions, None where nothing is embedded."""
        return _needed(self.embedder).embed(list(queries)) if self.vectors else None

    def scores(self, queries: Sequence[str], vectors: Any) -> Any:
        """Return one score per question and passage, float [queries, passages]."""
        import numpy as np

        lexicon = self.lexicons["both"]
        words = lexicon.scores(lexicon.count(queries)) if self.settings.mode != "dense" else None
        if self.settings.mode == "lexical" or not self.vectors:
            return words
        parts = ("title", "body") if self.settings.embed == "max" else (self.settings.embed,)
        meaning = np.maximum.reduce([self.vectors.cosines(vectors, part) for part in parts])
        return meaning if self.settings.mode == "dense" else fuse([words, meaning])


def build(
    documents: Sequence[Document],
    embedder: Embedder | None,
    settings: RetrieverSettings = RetrieverSettings(),
    progress: Callable[[Progress], None] | None = None,
    reranker: Reranker | None = None,
) -> Index:
    """Cut, weigh and embed documents. Mode 'lexical' without a reranker needs no embedder; raises UsageError without."""
    return _build(documents, embedder, settings, progress or _silent, reranker, {})


def load(folder: Path, embedder: Embedder | None) -> Index:
    """Read what `Index.save` wrote; it finds the same."""
    about = load_json(folder / "index.json")
    settings = RetrieverSettings(**about["settings"])
    contents = tuple(Document(**one) for one in load_json(folder / "documents.json"))
    return Index(
        contents,
        tuple(chunk(contents, settings.words, settings.overlap)),
        settings,
        {name: load_lexicon(folder, f"words-{name}") for name in about["lexicons"]},
        load_vectors(folder) if about["dense"] else None,
        embedder,
        load_reranker(folder) if about["reranked"] else None,
    )


def _build(
    documents: Sequence[Document],
    embedder: Embedder | None,
    settings: RetrieverSettings,
    progress: Callable[[Progress], None],
    reranker: Reranker | None,
    known: Mapping[str, Any],
) -> Index:
    passages = tuple(chunk(documents, settings.words, settings.overlap))
    parts: tuple[str, ...] = () if settings.mode == "lexical" else (settings.embed,)
    parts = ("title", "body") if reranker or parts == ("max",) else parts
    names = ("both", "title", "body") if reranker else ("both",)
    lexicons = {name: index_words([part_of(one, name) for one in passages]) for name in names}
    vectors = embed_passages(passages, parts, _needed(embedder), known, progress) if parts else None
    return Index(tuple(documents), passages, settings, lexicons, vectors, embedder, reranker)


def _needed(embedder: Embedder | None) -> Embedder:
    if embedder is None:
        raise UsageError("Search by meaning needs an embedder, and there is none.", "Name one, or search by words.")
    return embedder


def _silent(_: Progress) -> None:
    """Report progress to nobody."""
