"""Answers that already exist: a stored answer of a similar question, or a span of a document; the best supported one."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit, Progress
from whichway.core.task import Document, Example, Inputs, Prediction, Task
from whichway.errors import NotApplicable, UsageError
from whichway.registry import register
from whichway.strategies.parts.hashed import HashedWords
from whichway.strategies.parts.lookup import DEPTH, Lookup, Wanted, load_lookup, make_lookup, question
from whichway.strategies.parts.neighbours import Neighbours, index_examples, load_neighbours
from whichway.strategies.parts.spans import Span, spans_of
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json
from whichway.strategies.parts.trust import Trust, fit_trust, goodness, rows_to_check, trust_from

KINDS = ("stored", "whole", "first", "paragraph", "sentence")
STORED = 5  # most similar train questions whose answers are candidates
FOUND = 3  # documents whose spans are candidates
LEARNED = 400  # train rows from which the choice is learned
CHECKED = 64  # rows of dev by which confidences are fitted
RIDGE = 1.0


@register("strategy", "extractive")
@dataclass(frozen=True)
class Extractive:
    """Finds an answer instead of writing one: nothing is invented, and a small model is enough.

    Candidates are the answers of the most similar train questions and, with `documents`, spans of the best documents.
    Which one is best supported is learned on train rows, none of which sees itself: a ridge regression of the metric's
    score on the kind of candidate, its similarity to the question, and how well its document was found. `source`
    restricts the candidates; `mode`, `words` and `rerank` are those of retrieval. Without an embedder likeness is that of words.
    """

    source: Literal["auto", "questions", "documents"] = "auto"
    mode: Literal["auto", "lexical", "dense", "fused"] = "auto"
    words: int = 0
    rerank: Literal["auto", "no", "yes"] = "auto"
    needs: ClassVar[tuple[str, ...]] = ()
    helped_by: ClassVar[tuple[str, ...]] = ("embedder",)
    trains: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    reads_instruction: ClassVar[bool] = False
    shapes: ClassVar[tuple[str, ...]] = ("fields", "text")

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> ExtractiveSolution:
        import numpy as np

        if task.output.shape not in self.shapes:
            problem = f"Finds answers that are texts or objects; the answers here are {task.output.shape}."
            raise NotApplicable(problem, "Use a way that chooses among labels: classic, probe, encoder.")
        if self.source == "documents" and (not task.documents or task.output.shape != "text"):
            what = "fields cannot be found in documents" if task.documents else "the task has no documents"
            raise NotApplicable(f"Answers are to be found in documents, and {what}.", "Leave `source` out.")
        embedder = kit.embedder or HashedWords()
        near = index_examples(task, train, embedder)
        lookup, spans, longest = None, list[Span](), 0
        if task.documents and self.source != "questions" and task.output.shape == "text":
            lookup = make_lookup(task, train, Wanted(1, self.mode, self.words, self.rerank), kit)
            longest = 2 * max(len(str(row.target).split()) for row in train) + 10
            spans = spans_of(task.documents, longest)
        vectors = embedder.embed([one.text for one in spans]) if spans else np.zeros((0, 1), dtype=np.float32)
        uses = self.source != "documents" or lookup is None
        draft = ExtractiveSolution(task, near, lookup, tuple(spans), vectors, (), uses, Trust(), longest)
        kit.progress(Progress("learning which answers to trust"))
        draft = replace(draft, weights=_learned(draft, kit.seed))
        checked = rows_to_check(task, random.Random(kit.seed).sample(list(dev), len(dev)), CHECKED, CHECKED)
        return replace(draft, trust=fit_trust(task, checked, *draft.found([row.inputs for row in checked])))

    def load(self, task: Task, folder: Path, kit: Kit) -> ExtractiveSolution:
        kept = load_json(folder / "extractive.json")
        embedder = HashedWords() if kept.get("by_words") else kit.embedder
        if embedder is None:
            raise UsageError(
                f"{folder}: these answers are found by a sentence encoder, and there is none here.",
                "Install it: pip install 'whichway[local]'. Or run the study without it.",
            )
        near = load_neighbours(task, folder, embedder)
        lookup = load_lookup(task, folder, kit.embedder) if (folder / "lookup.json").exists() else None
        spans = tuple(Span(*one) for one in kept["spans"])
        vectors = load_arrays(folder / "spans.safetensors")["vectors"]
        weights, trust = tuple(kept["weights"]), trust_from(kept["trust"])
        uses, longest = kept["uses_questions"], kept["longest"]
        return ExtractiveSolution(task, near, lookup, spans, vectors, weights, uses, trust, longest)


@dataclass(frozen=True)
class Candidate:
    """An answer that a row may get, where it is from, and what speaks for it."""

    value: Any
    document: str
    evidence: tuple[float, ...]


@dataclass(frozen=True)
class ExtractiveSolution:
    """Questions with their answers, spans of documents with their vectors [spans, width], and what to trust."""

    task: Task
    near: Neighbours
    lookup: Lookup | None
    spans: tuple[Span, ...]
    vectors: Any
    weights: tuple[float, ...]
    uses_questions: bool
    trust: Trust
    longest: int = 0  # words of a span

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        return self.trust.apply(*self.found(inputs)) if inputs else []

    def ranked(self, inputs: Sequence[Inputs]) -> list[list[str]]:
        """Return the ids of the documents found for each row, the best first."""
        if self.lookup is None:
            return [[] for _ in inputs]
        return [self.lookup.index.documents(hits)[:DEPTH] for hits in self.lookup.ranked(inputs, 4 * DEPTH)]

    def choices(self) -> Mapping[str, Any]:
        """Return how documents are found, and what else was tried on train rows."""
        return self.lookup.told if self.lookup else {}

    def found(self, inputs: Sequence[Inputs]) -> tuple[list[Prediction], list[float]]:
        """Return the best supported answer per row, and the score that is expected of it."""
        import numpy as np

        answers, expected = [], []
        for candidates in self.candidates(inputs):
            if not candidates:
                answers.append(Prediction("" if self.task.output.shape == "text" else {}, 0.0, None, parsed=False))
                expected.append(0.0)
                continue
            scores = np.array([one.evidence for one in candidates]) @ np.array(self.weights)
            best = candidates[int(scores.argmax())]
            answers.append(Prediction(best.value, 0.5, None, True, (best.document,) if best.document else ()))
            expected.append(float(scores.max()))
        return answers, expected

    def candidates(self, inputs: Sequence[Inputs], own: bool = False) -> list[list[Candidate]]:
        """Return what each row may be answered; `own` rows are train rows in order, which do not see themselves."""
        if not inputs:
            return []
        vectors = self.near.embedder.embed([question(self.task, row) for row in inputs])
        hits = self.lookup.ranked(inputs, DEPTH, without_self=own) if self.lookup else [[] for _ in inputs]
        found = []
        for i, (vector, some) in enumerate(zip(vectors, hits, strict=True)):
            best = [one.score for one in some[:1]]
            support: dict[str, tuple[float, ...]] = {
                one.passage.document: (1.0 / (1 + rank), one.score / max(1e-9, best[0]), float(best[0]))
                for rank, one in reversed(list(enumerate(some)))
            }
            stored = self._stored(vector, support, i if own else -1) if self.uses_questions else []
            found.append([*stored, *self._spans(vector, support)])
        return found

    def save(self, folder: Path) -> None:
        kept = {"spans": [[one.document, one.kind, one.text] for one in self.spans], "weights": list(self.weights)}
        kept |= {"by_words": isinstance(self.near.embedder, HashedWords)}
        kept |= {"uses_questions": self.uses_questions, "trust": self.trust.as_json(), "longest": self.longest}
        save_json(folder / "extractive.json", kept)
        save_arrays(folder / "spans.safetensors", {"vectors": self.vectors})
        self.near.save(folder)
        if self.lookup is not None:
            self.lookup.save(folder)

    @property
    def documents(self) -> Sequence[Document]:
        return self.lookup.index.contents if self.lookup else ()

    def with_documents(self, documents: Sequence[Document], kept: Path | None = None) -> ExtractiveSolution:
        """Answer from these documents; stored answers whose documents are gone, or say something else now, are forgotten."""
        import numpy as np

        if self.lookup is None:
            return self
        spans = tuple(spans_of(documents, self.longest))
        known = {span.text: vector for span, vector in zip(self.spans, self.vectors, strict=True)}
        if kept is not None:
            known |= zip(
                load_json(kept / "spans.json"), load_arrays(kept / "spans.safetensors")["vectors"], strict=True
            )
        new = list(dict.fromkeys(span.text for span in spans if span.text not in known))
        known.update(zip(new, self.near.embedder.embed(new) if new else (), strict=True))
        vectors = np.stack([known[span.text] for span in spans]) if spans else self.vectors[:0]
        before = {one.id: one for one in self.lookup.index.contents}
        same = {one.id for one in documents if before.get(one.id) == one}
        valid = [i for i, row in enumerate(self.near.examples) if same.issuperset(row.gold_documents)]
        near = replace(
            self.near, examples=tuple(self.near.examples[i] for i in valid), vectors=self.near.vectors[valid]
        )
        return replace(self, near=near, lookup=self.lookup.updated(documents, kept), spans=spans, vectors=vectors)

    def keep(self, folder: Path) -> None:
        if self.lookup is not None:
            self.lookup.save(folder)
        save_json(folder / "spans.json", [one.text for one in self.spans])
        save_arrays(folder / "spans.safetensors", {"vectors": self.vectors})

    def _stored(self, vector: Any, support: dict[str, tuple[float, ...]], hidden: int) -> list[Candidate]:
        """Return the answers of the most similar train questions."""
        import numpy as np

        likeness = self.near.vectors @ vector
        if hidden >= 0:
            likeness[hidden] = -2.0
        found = []
        for at in np.argsort(-likeness, kind="stable")[:STORED]:
            row = self.near.examples[int(at)]
            document = row.gold_documents[0] if row.gold_documents else ""
            found.append(_candidate("stored", row.target, document, float(likeness[at]), support))
        return found

    def _spans(self, vector: Any, support: dict[str, tuple[float, ...]]) -> list[Candidate]:
        """Return the pieces of the best documents."""
        best = sorted(support, key=lambda one: -support[one][0])[:FOUND]
        places = [i for i, span in enumerate(self.spans) if span.document in best]
        likeness = self.vectors[places] @ vector if places else []
        pairs = zip((self.spans[i] for i in places), likeness, strict=True)
        return [_candidate(span.kind, span.text, span.document, float(near), support) for span, near in pairs]


def _candidate(kind: str, value: Any, document: str, near: float, support: dict[str, tuple[float, ...]]) -> Candidate:
    """Lay out what speaks for a candidate: for each kind of its own, likeness and how well its document was found."""
    rank, share, best = support.get(document, (0.0, 0.0, 0.0))
    facts = (1.0, near, near * near, rank, share, rank * best, rank * near)
    empty = (0.0,) * len(facts)
    return Candidate(value, document, tuple(x for one in KINDS for x in (facts if one == kind else empty)))


def _learned(draft: ExtractiveSolution, seed: int) -> tuple[float, ...]:
    """Regress the metric's score of every candidate of train rows on what speaks for it (ridge)."""
    import numpy as np

    rows, evidence, scores = draft.near.examples, [], []
    every = draft.candidates([row.inputs for row in rows], own=True)
    for at in random.Random(seed).sample(range(len(rows)), min(LEARNED, len(rows))):
        row, some = rows[at], every[at]
        known: dict[str, float] = {}
        for one in some:
            text = draft.task.output.write(one.value)
            if text not in known:
                known[text] = goodness(draft.task, row, Prediction(one.value, 0.5))
            evidence.append(one.evidence)
            scores.append(known[text])
    table, wanted = np.array(evidence, dtype=np.float64), np.array(scores)
    weights = np.linalg.solve(table.T @ table + RIDGE * np.eye(table.shape[1]), table.T @ wanted)
    return tuple(round(float(one), 6) for one in weights)
