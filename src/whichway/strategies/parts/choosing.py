"""Which retrieval suits these documents and questions: tried on train rows that name their gold documents."""

# Nothing of validation or test comes here. What is learned is measured on rows it was not learned from (cross-fitting).

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whichway.core.model import Embedder
from whichway.core.ranking import hit_at, reciprocal_rank
from whichway.core.task import Document, Example
from whichway.strategies.parts.chunks import WORDS, chunk
from whichway.strategies.parts.fusion import best
from whichway.strategies.parts.pairs import Asked
from whichway.strategies.parts.rerank import DEPTH, Reranker, all_paired, learn
from whichway.strategies.parts.retrieval import Embed, Index, RetrieverSettings, build

FEW = 10  # rows with gold documents below which nothing is chosen
ENOUGH = 30  # rows from which a reranker is learned
MOST = 1_000  # rows measured; all of them are remembered as asked before
WORK = 20_000_000  # pairs of rows and passages looked at per way: of many passages fewer rows are measured
FOLDS = 4
TWICE = 500  # passages up to which title and body together are embedded once more: it has never won by much
MARGIN = 0.005  # of reciprocal rank: of ways as close as this to the best, the first is taken, as it is the simplest
MISSED = 0.01  # share of questions whose gold document may be lost by showing fewer passages
EMBEDS: tuple[Embed, ...] = ("title", "body", "max", "both")


@dataclass(frozen=True)
class Tried:
    """One way of retrieving and how well it found the gold documents of `rows` train rows."""

    settings: RetrieverSettings
    reranked: bool
    hit_at_1: float
    hit_at_5: float
    reciprocal_rank: float
    rows: int


Choice = tuple[RetrieverSettings, Reranker | None, tuple[Tried, ...]]


def choose(
    documents: Sequence[Document],
    embedder: Embedder | None,
    rows: Sequence[Example],
    seed: int,
    question: Callable[[Example], str] | None = None,
) -> Choice:
    """Return the simplest settings among those with the best mean reciprocal rank, their reranker if any, and all tried.

    `question` tells what is asked in a row (by default all its texts). Rows without gold documents are left out; with
    fewer than 10 others nothing is tried, and the default, by words and meaning, is returned.
    """
    default = RetrieverSettings(mode="fused" if embedder else "lexical")
    names = {one.id for one in documents}
    found = [one for one in rows if names.intersection(one.gold_documents)]
    if len(found) < FEW:
        return default, None, ()
    embedder = _Once(embedder) if embedder else None
    asking = [(question or asked_in)(one) for one in found]
    vectors = embedder.embed(asking) if embedder else None
    asked = Asked(tuple(asking), vectors, tuple(one.gold_documents for one in found))
    count = min(len(found), MOST, max(2 * ENOUGH, WORK // len(chunk(documents))))
    measured = sorted(random.Random(seed).sample(range(len(found)), count))
    groups = [one.group if one.group is not None else f"row {i}" for i, one in enumerate(found)]
    tried: list[tuple[Tried, Reranker | None]] = []
    for words in (WORDS, 0) if len(chunk(documents)) > len(documents) else (WORDS,):
        tried += [(one, None) for one in _plain(documents, embedder, asked, measured, words)]
        if embedder and len(measured) >= ENOUGH:
            tried.append(_reranked(documents, embedder, asked, _Rows(measured, groups, seed), words))
    table = tuple(one for one, _ in tried)
    most = max(one.reciprocal_rank for one in table)
    chosen = next(i for i, one in enumerate(table) if one.reciprocal_rank >= most - MARGIN)
    return table[chosen].settings, tried[chosen][1], table


def enough_passages(ranked: Sequence[tuple[Sequence[str], Sequence[str]]], most: int, usual: int) -> int:
    """Return the smallest k whose first k passages hold a gold document nearly as often as the first `most` do.

    `ranked` pairs the documents of passages, the best first, with the gold ones. With fewer than 10 pairs: `usual`.
    """
    if len(ranked) < FEW:
        return usual
    hits = [sum(hit_at(gold, found[:k], k) for found, gold in ranked) / len(ranked) for k in range(1, most + 1)]
    return next(k for k, hit in enumerate(hits, start=1) if hit >= hits[-1] - MISSED)


def asked_in(row: Example) -> str:
    """Return all texts of a row's inputs, one per line."""
    return "\n".join(str(value) for value in row.inputs.values() if isinstance(value, str) and value.strip())


class _Once:
    """An embedder that is asked for each text once, as all ways of retrieving share their texts."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder, self.name = embedder, embedder.name
        self.vectors: dict[str, Any] = {}

    def embed(self, texts: Sequence[str]) -> Any:
        """Return one unit vector per text, float32 [n, width]."""
        import numpy as np

        new = list(dict.fromkeys(text for text in texts if text not in self.vectors))
        self.vectors.update(zip(new, self.embedder.embed(new) if new else (), strict=True))
        return np.stack([self.vectors[text] for text in texts])


@dataclass(frozen=True)
class _Rows:
    """Numbers of the rows measured, the group of each row there is, and the seed of the folds."""

    measured: list[int]
    groups: list[str]
    seed: int

    def folds(self) -> Any:
        """Return a fold per row there is; a group is never cut."""
        import numpy as np

        names = sorted(set(self.groups))
        random.Random(self.seed).shuffle(names)
        number = {name: i % FOLDS for i, name in enumerate(names)}
        return np.array([number[one] for one in self.groups])


def _plain(
    documents: Sequence[Document], embedder: Embedder | None, asked: Asked, measured: Sequence[int], words: int
) -> list[Tried]:
    """Measure search by words, by meaning, and by both, for each thing that may be embedded."""
    default = RetrieverSettings(mode="lexical", words=words)
    index = build(documents, None, default)
    found = [_measured(index, default, asked, measured)]
    embeds = EMBEDS if len(index.passages) <= TWICE else EMBEDS[:-1]
    for embed in embeds if embedder else ():
        settings = replace(default, mode="dense", embed=embed)
        dense = build(documents, embedder, settings)
        found.append(_measured(dense, settings, asked, measured))
        fused = replace(settings, mode="fused")
        found.append(_measured(replace(dense, settings=fused), fused, asked, measured))
    return found


def _measured(index: Index, settings: RetrieverSettings, asked: Asked, measured: Sequence[int]) -> Tried:
    ranked = index.ranked([asked.questions[i] for i in measured], DEPTH)
    found = [[index.passages[i].document for i in numbers] for numbers, _ in ranked]
    return _judged(settings, False, found, [asked.gold[i] for i in measured])


def _reranked(
    documents: Sequence[Document], embedder: Embedder, asked: Asked, rows: _Rows, words: int
) -> tuple[Tried, Reranker]:
    """Measure a reranker by cross-fitting, and learn one of all rows."""
    import numpy as np

    settings = RetrieverSettings(mode="fused", words=words, embed="max")
    index = build(documents, embedder, settings, reranker=Reranker((), asked))
    pairing, folds, measured = index.pairing, rows.folds(), np.array(rows.measured)
    hidden = _hidden(asked, rows.groups)
    seen, unseen = (all_paired(pairing, rows.measured, one[measured]) for one in hidden)
    features, right = np.concatenate([seen[1], unseen[1]]), np.concatenate([seen[2], unseen[2]])
    learned_from = np.concatenate([folds[measured], folds[measured]])
    # A row that is judged sees the questions of other folds alone, as a new one sees those of train.
    numbers, held, _ = all_paired(pairing, rows.measured, folds[measured][:, None] == folds[None, :])
    ranked: list[list[str]] = [[] for _ in measured]
    for fold in range(FOLDS):
        weights = np.array(learn(features[learned_from != fold], right[learned_from != fold]))
        for i in np.flatnonzero(folds[measured] == fold):
            order = best((held[i] @ weights)[None], DEPTH)[0]
            ranked[i] = [pairing.passages[numbers[i][j]].document for j in order]
    tried = _judged(settings, True, ranked, [asked.gold[i] for i in measured])
    return tried, Reranker(learn(features, right), asked)


def _hidden(asked: Asked, groups: Sequence[str]) -> tuple[Any, Any]:
    """Return which earlier questions a row may not see: those of its group; and those about its documents as well."""
    import numpy as np

    number = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    codes = np.array([number[one] for one in groups])
    same = codes[:, None] == codes[None, :]
    about = same.copy()
    answered: dict[str, list[int]] = {}
    for row, gold in enumerate(asked.gold):
        for name in gold:
            answered.setdefault(name, []).append(row)
    for members in answered.values():
        about[np.ix_(members, members)] = True
    return same, about


def _judged(
    settings: RetrieverSettings, reranked: bool, ranked: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> Tried:
    pairs = list(zip(gold, ranked, strict=True))
    count = len(pairs)
    return Tried(
        settings,
        reranked,
        sum(hit_at(names, found, 1) for names, found in pairs) / count,
        sum(hit_at(names, found, 5) for names, found in pairs) / count,
        sum(reciprocal_rank(names, found) for names, found in pairs) / count,
        count,
    )
