"""What tells whether a passage answers a question, as numbers: what a reranker weighs."""

# Each number is larger where more speaks for the passage, so that a weight below zero would be an accident of the sample.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from whichway.strategies.parts.chunks import Passage
from whichway.strategies.parts.dense import Vectors, part_of
from whichway.strategies.parts.fusion import best, fuse, ranks
from whichway.strategies.parts.lexical import Lexicon, counted, tokens

FEATURES = (
    "words",
    "words of title",
    "words beside title",
    "meaning of title",
    "meaning of body",
    "better meaning",
    "fused",
    "first by meaning",
    "covered by title",
    "covered by body",
    "asked before",
    "like answers to such words",
    "words of answers to such words",
    "like answers to such meaning",
    "words of answers to such meaning",
)
NEAREST = 12  # earlier questions with whose answers a passage is compared
SHARPNESS = 8.0  # how much the nearest of them outweigh the others


@dataclass(frozen=True)
class Asked:
    """Questions of the train part, their unit vectors [questions, width], and the ids of the documents that answered."""

    questions: tuple[str, ...]
    vectors: Any
    gold: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Pairing:
    """Passages with their words and vectors, beside the questions asked before."""

    passages: tuple[Passage, ...]
    lexicons: Mapping[str, Lexicon]
    vectors: Vectors
    asked: Asked

    def features(self, queries: Sequence[str], vectors: Any, depth: int, hidden: Any = None) -> tuple[Any, Any]:
        """Return candidates [queries, depth], as passage numbers, and their features [queries, depth, features].

        `hidden` [queries, questions asked] is true where an earlier question may not be looked at: a train row itself.
        """
        import numpy as np

        if hidden is None:
            hidden = np.zeros((len(queries), len(self.asked.questions)), dtype=bool)
        tables = self._words(queries) | self._meaning(vectors)
        tables |= self._fused(tables) | self._covered(queries)
        near = np.where(hidden, -1.0, np.asarray(vectors @ self.asked.vectors.T))
        tables["asked before"] = self._asked_before(near, tables["better meaning"])
        alike = np.where(hidden, -1.0, (self._question_words(queries) @ self._questions[1].T).toarray())
        for name, likeness in (("words", alike), ("meaning", near)):
            body, words = self._like_answers(likeness)
            tables[f"like answers to such {name}"] = body
            tables[f"words of answers to such {name}"] = words
        named = tables["words of title"] + 1e-3 * tables["words"]
        inside = tables["words of title"] + tables["words beside title"]
        sides = [tables["words"], tables["better meaning"], named, inside, tables["asked before"]]
        candidates = best(fuse(sides), depth)
        columns = [np.take_along_axis(np.asarray(tables[name]), candidates, axis=1) for name in FEATURES]
        return candidates, np.stack(columns, axis=2).astype(np.float64)

    def _words(self, queries: Sequence[str]) -> dict[str, Any]:
        both, title, body = (self.lexicons[name] for name in ("both", "title", "body"))
        return {
            "words": both.scores(both.count(queries)),
            "words of title": title.scores(title.count(queries)),
            "words beside title": (body.count(queries) @ self._beside_title.T).toarray(),
        }

    def _meaning(self, vectors: Any) -> dict[str, Any]:
        import numpy as np

        title, body = (self.vectors.cosines(vectors, part) for part in ("title", "body"))
        return {"meaning of title": title, "meaning of body": body, "better meaning": np.maximum(title, body)}

    def _fused(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        meaning = tables["better meaning"]
        return {"fused": 60 * fuse([tables["words"], meaning]), "first by meaning": 1 / ranks(meaning)}

    def _covered(self, queries: Sequence[str]) -> dict[str, Any]:
        """Return which share of the question's words, rare ones counting more, stands in title and in body."""
        import numpy as np
        from scipy.sparse import diags

        rarity, holds = self._rarity
        asked = self.lexicons["both"].count(queries)
        asked.data[:] = 1.0
        asked = asked @ diags(rarity)
        whole = np.maximum(np.asarray(asked.sum(axis=1)).reshape(-1, 1), 1e-6)
        return {f"covered by {part}": (asked @ table.T).toarray() / whole for part, table in holds.items()}

    def _asked_before(self, near: Any, meaning: Any) -> Any:
        """Return how much nearer than the passage itself the nearest question is that its document answered before."""
        import numpy as np

        nearest = np.full((len(self._documents), len(near)), -1.0)
        for column, gold in enumerate(self.asked.gold):
            for one in (self._documents[name] for name in gold if name in self._documents):
                nearest[one] = np.maximum(nearest[one], near[:, column])
        return np.maximum(nearest.T[:, self._document_of] - meaning, 0.0)

    def _like_answers(self, likeness: Any) -> tuple[Any, Any]:
        """Return how like, in meaning and in words, passages are to those that answered the questions most alike.

        The words are Rocchio's (1971, Relevance Feedback in Information Retrieval) against the mean of all passages.
        """
        import numpy as np
        from scipy.sparse import csr_matrix

        shape = (len(likeness), len(self.passages))
        if not self._answers.any():
            return np.zeros(shape), np.zeros(shape)
        likeness = np.where(self._answers > 0, likeness, -1.0)
        near = best(likeness, NEAREST)
        heights = np.take_along_axis(likeness, near, axis=1)
        shares = np.exp(SHARPNESS * (heights - heights.max(axis=1, keepdims=True))) * (heights > -1.0)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
        weights = np.zeros_like(likeness)
        np.put_along_axis(weights, near, shares, axis=1)
        bodies = self.vectors.of("body")
        profile = weights @ bodies[self._answers - 1]
        profile /= np.maximum(np.linalg.norm(profile, axis=1, keepdims=True), 1e-9)
        words = csr_matrix(weights) @ self._unit_bodies[self._answers - 1]
        return profile @ bodies.T, self._beyond_mean(words)

    def _beyond_mean(self, words: Any) -> Any:
        """Return the cosine of words less their mean over all passages with each body, without filling the table."""
        import numpy as np

        unit = self._unit_bodies
        mean = np.asarray(unit.mean(axis=0)).ravel()
        squares = np.asarray(words.multiply(words).sum(axis=1)).ravel() - 2 * (words @ mean) + mean @ mean
        return ((words @ unit.T).toarray() - unit @ mean) / np.sqrt(np.maximum(squares, 1e-9))[:, None]

    def _question_words(self, queries: Sequence[str]) -> Any:
        from scipy.sparse import diags

        known, _, rarity = self._questions
        return unit_rows(counted([tokens(one) for one in queries], known) @ diags(rarity))

    @cached_property
    def _documents(self) -> dict[str, int]:
        names = dict.fromkeys(one.document for one in self.passages)
        return {name: i for i, name in enumerate(names)}

    @cached_property
    def _document_of(self) -> Any:
        import numpy as np

        return np.array([self._documents[one.document] for one in self.passages])

    @cached_property
    def _titles(self) -> list[list[str]]:
        return [sorted(set(tokens(part_of(one, "title")))) for one in self.passages]

    @cached_property
    def _beside_title(self) -> Any:
        """BM25 weights of the bodies without the words of the title: what is said, once it is clear of whom."""
        body = self.lexicons["body"]
        table = (body.weights - body.weights.multiply(counted(self._titles, body.words))).tocsr()
        table.eliminate_zeros()
        return table

    @cached_property
    def _unit_bodies(self) -> Any:
        return unit_rows(self.lexicons["body"].weights)

    @cached_property
    def _rarity(self) -> tuple[Any, dict[str, Any]]:
        """Inverse document frequency per word, and which words stand in title and in body."""
        import numpy as np

        both = self.lexicons["both"]
        counts = np.asarray((both.weights > 0).sum(axis=0)).ravel()
        rarity = np.log1p((len(self.passages) - counts + 0.5) / (counts + 0.5))
        bodies = [sorted(set(tokens(part_of(one, "body")))) for one in self.passages]
        return rarity, {"title": counted(self._titles, both.words), "body": counted(bodies, both.words)}

    @cached_property
    def _answers(self) -> Any:
        """Per question asked, 1 + the number of the passage of its gold documents that is nearest; 0 where it is gone."""
        import numpy as np

        bodies, found = self.vectors.of("body"), np.zeros(len(self.asked.questions), dtype=np.int64)
        inside: dict[str, list[int]] = {}
        for i, one in enumerate(self.passages):
            inside.setdefault(one.document, []).append(i)
        for row, gold in enumerate(self.asked.gold):
            numbers = [i for name in gold for i in inside.get(name, [])]
            if numbers:
                found[row] = 1 + numbers[int(np.argmax(bodies[numbers] @ self.asked.vectors[row]))]
        return found

    @cached_property
    def _questions(self) -> tuple[dict[str, int], Any, Any]:
        """Words of earlier questions but for those of the title of what answered them; the questions by them; rarity."""
        import numpy as np
        from scipy.sparse import diags

        named = [set(self._titles[answer - 1]) if answer else set() for answer in self._answers]
        said = [[word for word in tokens(one) if word not in names] for one, names in zip(self.asked.questions, named)]
        known = {word: i for i, word in enumerate(sorted({word for one in said for word in one}))}
        table = counted(said, known)
        rarity = np.log1p(len(said) / (1.0 + np.asarray((table > 0).sum(axis=0)).ravel()))
        return known, unit_rows(table @ diags(rarity)), rarity


def unit_rows(table: Any) -> Any:
    """Return a sparse table with rows of unit length; empty rows stay empty."""
    import numpy as np
    from scipy.sparse import csr_matrix, diags

    table = csr_matrix(table)
    lengths = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    return csr_matrix(diags(1.0 / np.maximum(lengths, 1e-9)) @ table)
