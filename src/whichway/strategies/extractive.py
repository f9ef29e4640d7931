"""Answers that already exist: the stored answer of the nearest question, or the best-supported span of a document."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit, Progress
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.registry import register
from whichway.strategies.parts.lookup import DEPTH, Lookup, load_lookup, make_lookup, question
from whichway.strategies.parts.neighbours import Neighbours, index_examples, load_neighbours
from whichway.strategies.parts.store import load_json, save_json
from whichway.strategies.parts.trust import Trust, fit_trust, goodness, trust_from

SPANS = ("whole", "first", "paragraph", "sentence")
TRIED = 120  # train rows on which the kind of span is chosen
DEAREST = 64  # rows of dev on which confidences are fitted

_LEAD = re.compile(r"^\s*(?:answer|a|q|question)\s*\d*\s*[:.)]\s*", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@register("strategy", "extractive")
@dataclass(frozen=True)
class Extractive:
    """Finds an answer instead of writing one: nothing is invented, and a small model is enough.

    `source` 'questions' returns the answer of the most similar train question; 'documents' looks the document up and
    returns its stored answer (that of train rows with this gold document) or, where it has none, its best span; 'auto'
    takes what scores better on dev. `span` is which part of a document is an answer; 'auto' chooses it on train rows.
    """

    source: Literal["auto", "questions", "documents"] = "auto"
    span: Literal["auto", "whole", "first", "paragraph", "sentence"] = "auto"
    mode: Literal["auto", "lexical", "dense", "fused"] = "auto"
    words: int = 0
    needs: ClassVar[tuple[str, ...]] = ("embedder",)
    trains: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("fields", "text")

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> ExtractiveSolution:
        near = index_examples(task, train, kit.embedder)
        wants_documents = task.documents and self.source != "questions" and task.output.shape == "text"
        lookup = make_lookup(task, train, 1, self.mode, self.words, kit) if wants_documents else None
        draft = ExtractiveSolution(task, near, lookup, _stored(task, train), "first", lookup is not None, Trust())
        kit.progress(Progress("choosing answers"))
        if lookup is not None:
            draft = replace(draft, span=self.span if self.span != "auto" else _best_span(draft, train[:TRIED]))
        checked = list(dev)[:DEAREST]
        if self.source == "auto" and lookup is not None and checked:
            options = [draft, replace(draft, by_document=False)]
            draft = max(options, key=lambda one: _score(one, checked))
        return replace(draft, trust=fit_trust(task, checked, *draft.found([row.inputs for row in checked])))

    def load(self, task: Task, folder: Path, kit: Kit) -> ExtractiveSolution:
        kept = load_json(folder / "extractive.json")
        near = load_neighbours(task, folder, kit.embedder)
        lookup = load_lookup(task, folder, kit.embedder) if kept["by_document"] else None
        return ExtractiveSolution(
            task, near, lookup, kept["stored"], kept["span"], kept["by_document"], trust_from(kept["trust"])
        )


@dataclass(frozen=True)
class ExtractiveSolution:
    """Questions with their answers and, where it helps, documents with theirs."""

    task: Task
    near: Neighbours
    lookup: Lookup | None
    stored: Mapping[str, Any]
    span: str
    by_document: bool
    trust: Trust

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        if not inputs:
            return []
        answers, likeness = self.found(inputs)
        return self.trust.apply(answers, likeness)

    def ranked(self, inputs: Sequence[Inputs]) -> list[list[str]]:
        """Return the ids of the documents found for each row, the best first."""
        if self.lookup is None:
            return [[] for _ in inputs]
        return [self.lookup.index.documents(hits) for hits in self.lookup.ranked(inputs)]

    def found(self, inputs: Sequence[Inputs]) -> tuple[list[Prediction], list[float]]:
        """Return an answer per row, and the cosine of the question to what the answer belongs to."""
        nearest = self.near.nearest(inputs, 1)
        vectors = self.near.embedder.embed([question(self.task, row) for row in inputs])
        asked = self.near.embedder.embed([question(self.task, one[-1].inputs) for one in nearest])
        likeness = [float(value) for value in (vectors * asked).sum(1)]
        if not self.by_document or self.lookup is None:
            return [Prediction(one[-1].target, 0.5, None, True, one[-1].gold_documents) for one in nearest], likeness
        hits = [found[0] if found else None for found in self.lookup.ranked(inputs, DEPTH)]
        texts = [f"{hit.passage.title}\n{hit.passage.text}" if hit else "" for hit in hits]
        fit = (vectors * self.near.embedder.embed(texts)).sum(1)
        answers = [self._answer(hit, vector) for hit, vector in zip(hits, vectors, strict=True)]
        return answers, [max(a, float(b)) for a, b in zip(likeness, fit, strict=True)]

    def save(self, folder: Path) -> None:
        kept = {"stored": dict(self.stored), "span": self.span, "by_document": self.by_document}
        save_json(folder / "extractive.json", {**kept, "trust": self.trust.as_json()})
        self.near.save(folder)
        if self.lookup is not None and self.by_document:
            self.lookup.save(folder)

    def _answer(self, hit: Any, vector: Any) -> Prediction:
        if hit is None:
            return Prediction("", 0.0)
        stored = self.stored.get(hit.passage.document)
        value = stored if stored is not None else span_of(hit.passage.text, self.span, vector, self.near.embedder)
        return Prediction(value, 0.5, None, True, (hit.passage.document,))


def span_of(text: str, kind: str, vector: Any, embedder: Any) -> str:
    """Return the part of a text that answers: all of it, its first paragraph, or the one nearest to the question."""
    blocks = [_LEAD.sub("", one).strip() for one in re.split(r"\n\s*\n", text)]
    blocks = [one for one in blocks if one] or [text.strip()]
    if kind == "whole":
        return "\n\n".join(blocks)
    if kind == "first":
        return blocks[0]
    if kind == "sentence":
        blocks = [one.strip() for block in blocks for one in _SENTENCE.split(block) if one.strip()]
    return blocks[int((embedder.embed(blocks) @ vector).argmax())]


def _stored(task: Task, rows: Sequence[Example]) -> dict[str, Any]:
    """Return, by document, the most frequent answer of the train rows that it answers."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for document in row.gold_documents[:1]:
            counts.setdefault(document, Counter())[task.output.write(row.target)] += 1
    return {document: min(found.items(), key=lambda one: (-one[1], one[0]))[0] for document, found in counts.items()}


def _best_span(draft: ExtractiveSolution, rows: Sequence[Example]) -> str:
    """Return the kind of span of gold documents that is most like the answers of train rows."""
    texts = {one.id: one.text for one in draft.task.documents}
    known = [row for row in rows if row.target and set(row.gold_documents) & set(texts)]
    if not known:
        return "paragraph"
    vectors = draft.near.embedder.embed([question(draft.task, row.inputs) for row in known])

    def score(kind: str) -> float:
        spans = [
            span_of(texts[next(one for one in row.gold_documents if one in texts)], kind, vector, draft.near.embedder)
            for row, vector in zip(known, vectors, strict=True)
        ]
        pairs = zip(known, spans, strict=True)
        return sum(goodness(draft.task, row, Prediction(span, 0.5)) for row, span in pairs) / len(known)

    return max(SPANS, key=score)


def _score(solution: ExtractiveSolution, rows: Sequence[Example]) -> float:
    answers, _ = solution.found([row.inputs for row in rows])
    return sum(goodness(solution.task, row, one) for row, one in zip(rows, answers, strict=True))
