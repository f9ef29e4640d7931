"""Which retrieval suits these documents and questions: size of passages, mode and reranker, tried on train rows."""

# Nothing of validation or test comes here. What is learned is measured on rows it was not learned from (cross-fitting).
# A way is judged by the gold documents that rows name, where too few do by how much of their answers stands in what is
# found; by labels alone it cannot be told, and nothing is tried. Ways share their vectors: a text is embedded once.

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from whichway.core.model import Embedder
from whichway.core.ranking import hit_at, reciprocal_rank
from whichway.core.task import Document, Example
from whichway.errors import NotApplicable
from whichway.strategies.parts.chunks import WORDS, chunk
from whichway.strategies.parts.covered import surplus
from whichway.strategies.parts.fusion import best
from whichway.strategies.parts.pairs import Asked
from whichway.strategies.parts.rerank import DEPTH, Reranker, all_paired, learn
from whichway.strategies.parts.retrieval import Embed, Index, RetrieverSettings, build

FEW = 10  # rows with gold documents below which nothing is chosen by them
ENOUGH = 30  # rows from which a reranker is learned, or answers tell which way is better
MOST = 1_000  # rows measured; all of them are remembered as asked before
READ = 200  # rows whose answers are looked for in what is found
WORK = 20_000_000  # pairs of rows and passages looked at per way: of many passages fewer rows are measured
FOLDS = 4
SIZES = (WORDS, 0, 90, 270)  # words of a passage, 0 for whole documents; the first are taken where others are no better
READABLE = 200_000  # words of all documents up to which further sizes are searched by meaning, too
TWICE = 500  # passages up to which title and body together are embedded once more: it has never won by much
MARGIN = 0.005  # of reciprocal rank: of ways as close as this to the best, the first is taken, as it is the simplest
MARGIN_OF_ANSWERS = 0.01
MISSED = 0.01  # share of questions whose gold document may be lost by showing fewer passages
MOST_SHOWN = 5  # passages that are put before a question at most
SHOWN_WORDS = 280  # of one of them: a whole abstract
EMBEDS: tuple[Embed, ...] = ("title", "body", "max", "both")
Judged = Literal["gold documents", "answers"]


@dataclass(frozen=True)
class Tried:
    """One way of retrieving and how well it served `rows` train rows; higher is better.

    By gold documents: `score` is the mean reciprocal rank, `by_count` hit@1 to hit@5. By answers: `by_count` is what the
    first one to five passages hold of a row's answer beyond chance (covered.py), `score` the best of these.
    """

    settings: RetrieverSettings
    reranked: bool
    score: float
    by_count: tuple[float, ...]
    rows: int
    judged_by: Judged = "gold documents"

    @property
    def hit_at_1(self) -> float:
        return self.by_count[0]

    @property
    def hit_at_5(self) -> float:
        return self.by_count[4]

    @property
    def reciprocal_rank(self) -> float:
        return self.score


@dataclass(frozen=True)
class Sought:
    """What is searched for: how a row asks and what it is answered (None: by labels), and what is given already."""

    question: Callable[[Example], str]
    answer: Callable[[Example], str] | None = None
    mode: Literal["auto", "lexical", "dense", "fused"] = "auto"
    words: int = 0
    rerank: Literal["auto", "no", "yes"] = "auto"
    whole_first: bool = False  # where others find no better: gold documents do not tell which part of them is needed

    @property
    def sizes(self) -> tuple[int, ...]:
        if self.words:
            return (self.words,)
        return tuple(sorted(SIZES, key=bool)) if self.whole_first else SIZES

    def default(self, embedder: Embedder | None) -> RetrieverSettings:
        """Return what is taken where nothing can be told: search by words and meaning."""
        usual: Literal["lexical", "fused"] = "fused" if embedder else "lexical"
        return RetrieverSettings(mode=usual if self.mode == "auto" else self.mode, words=self.words or WORDS)


Choice = tuple[RetrieverSettings, Reranker | None, tuple[Tried, ...]]


def choose(
    documents: Sequence[Document],
    embedder: Embedder | None,
    rows: Sequence[Example],
    seed: int,
    sought: Sought | None = None,
) -> Choice:
    """Return the simplest settings among those that serve train rows best, their reranker if any, and all tried.

    By default all texts of a row are what is asked. With fewer than 10 rows that name gold documents, and 30 with an
    answer, nothing is tried, and the default, by words and meaning, is returned. Raises NotApplicable where a reranker is
    asked for and cannot be learned.
    """
    sought = sought or Sought(asked_in)
    names = {one.id for one in documents}
    found = [one for one in rows if names.intersection(one.gold_documents)]
    embedder = _Once(embedder) if embedder else None
    if sought.rerank == "yes":
        _refuse_reranker(embedder, len(found))
    if len(found) >= FEW:
        tried, margin = _by_documents(documents, embedder, found, seed, sought), MARGIN
    else:
        tried, margin = _by_answers(documents, embedder, rows, seed, sought), MARGIN_OF_ANSWERS
    if not tried:
        return sought.default(embedder), None, ()
    open_to = [pair for pair in tried if pair[0].reranked] if sought.rerank == "yes" else tried
    most = max(one.score for one, _ in open_to)
    chosen, reranker = next(pair for pair in open_to if pair[0].score >= most - margin)
    return chosen.settings, reranker, tuple(one for one, _ in tried)


def _refuse_reranker(embedder: Embedder | None, rows: int) -> None:
    if embedder is None:
        raise NotApplicable(
            "`rerank: yes` looks at meaning, and there is no sentence encoder.",
            "Install whichway[local], or leave `rerank` out.",
        )
    if rows < FEW:
        raise NotApplicable(
            f"`rerank: yes` is learned from rows that name the document with their answer; {rows} do, and {FEW} are needed.",
            "Give more rows `gold_doc_ids`, or leave `rerank` out.",
        )


def _by_documents(
    documents: Sequence[Document], embedder: Embedder | None, found: Sequence[Example], seed: int, sought: Sought
) -> list[tuple[Tried, Reranker | None]]:
    """Measure how high up each way of retrieving finds the gold documents."""
    asking = [sought.question(one) for one in found]
    vectors = embedder.embed(asking) if embedder else None
    asked = Asked(tuple(asking), vectors, tuple(one.gold_documents for one in found))
    count = min(len(found), MOST, max(2 * ENOUGH, WORK // len(chunk(documents))))
    measured = sorted(random.Random(seed).sample(range(len(found)), count))
    groups = [one.group if one.group is not None else f"row {i}" for i, one in enumerate(found)]
    helps = sought.rerank == "auto" and sought.mode == "auto" and len(measured) >= ENOUGH
    learns = embedder is not None and (helps or sought.rerank == "yes")
    tried: list[tuple[Tried, Reranker | None]] = []

    def rerank(words: int) -> None:
        if learns and embedder is not None:
            tried.append(_reranked(documents, embedder, asked, _Rows(measured, groups, seed), words))

    for words in _sizes(documents, sought.sizes):
        for index in _indexes(documents, embedder, words, sought.mode, EMBEDS):
            tried.append((_measured(index, asked, measured), None))
        if words in sought.sizes[:2]:
            rerank(words)
    ahead = max((one for one, _ in tried if not one.reranked), key=lambda one: one.score).settings.words
    if ahead not in sought.sizes[:2]:
        rerank(ahead)
    return tried


def _by_answers(
    documents: Sequence[Document], embedder: Embedder | None, rows: Sequence[Example], seed: int, sought: Sought
) -> list[tuple[Tried, Reranker | None]]:
    """Measure how much of rows' own answers each way of retrieving finds, beyond what it finds of others'."""
    pairs = [(sought.question(one), sought.answer(one)) for one in rows if sought.answer]
    pairs = [one for one in pairs if one[1].strip()]
    if len(pairs) < ENOUGH or not documents:
        return []
    pairs = random.Random(seed).sample(pairs, min(len(pairs), READ))
    tried: list[tuple[Tried, Reranker | None]] = []
    for words in _sizes(documents, [one for one in sought.sizes if one or sought.words]):
        for index in _indexes(documents, embedder, words, sought.mode, ("max",)):
            ranked = index.ranked([asked for asked, _ in pairs], MOST_SHOWN)
            held = surplus([answer for _, answer in pairs], [_shown(index, found) for found, _ in ranked], MOST_SHOWN)
            tried.append((Tried(index.settings, False, max(held), held, len(pairs), "answers"), None))
    return tried


def _shown(index: Index, found: Any) -> list[str]:
    """Return passages as far as they are put before a question."""
    return [" ".join([index.passages[i].title, *index.passages[i].text.split()[:SHOWN_WORDS]]) for i in found]


def enough_to_show(tried: Sequence[Tried], settings: RetrieverSettings) -> int:
    """Return how many passages hold nearly as much of the answers as any number does; 0 where answers did not tell."""
    chosen = next((one for one in tried if one.settings == settings and one.judged_by == "answers"), None)
    if chosen is None:
        return 0
    return next(k for k, held in enumerate(chosen.by_count, start=1) if held >= chosen.score - MARGIN_OF_ANSWERS)


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


def _sizes(documents: Sequence[Document], sizes: Sequence[int]) -> list[int]:
    """Return the sizes of passages that cut these documents differently."""
    found: dict[tuple[tuple[str, str], ...], int] = {}
    for words in sizes:
        found.setdefault(tuple((one.document, one.text) for one in chunk(documents, words)), words)
    return list(found.values())


def _indexes(
    documents: Sequence[Document], embedder: Embedder | None, words: int, mode: str, embeds: Sequence[Embed]
) -> Iterator[Index]:
    """Yield an index by words, by meaning, and by both, for each thing that may be embedded; `mode` 'auto' means all."""
    default = RetrieverSettings(mode="lexical", words=words)
    by_words = build(documents, None, default)
    if mode in ("auto", "lexical"):
        yield by_words
    is_cheap = words in SIZES[:2] or mode != "auto" or sum(len(one.text.split()) for one in documents) <= READABLE
    if embedder is None or mode == "lexical" or not is_cheap:
        return
    for embed in embeds if len(by_words.passages) <= TWICE else [one for one in embeds if one != "both"]:
        settings = replace(default, mode="dense", embed=embed)
        dense = build(documents, embedder, settings)
        if mode in ("auto", "dense"):
            yield dense
        if mode in ("auto", "fused"):
            yield replace(dense, settings=replace(settings, mode="fused"))


def _measured(index: Index, asked: Asked, measured: Sequence[int]) -> Tried:
    ranked = index.ranked([asked.questions[i] for i in measured], DEPTH)
    found = [[index.passages[i].document for i in numbers] for numbers, _ in ranked]
    return _judged(index.settings, False, found, [asked.gold[i] for i in measured])


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
    hits = [sum(hit_at(names, found, k) for names, found in pairs) / len(pairs) for k in range(1, MOST_SHOWN + 1)]
    score = sum(reciprocal_rank(names, found) for names, found in pairs) / len(pairs)
    return Tried(settings, reranked, score, tuple(hits), len(pairs))
