"""Passages put beside a row's own fields, so that any other strategy can be asked, or trained, with what was looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from whichway.core.strategy import Kit, Progress, Prompted, PromptVersion, Rewritable, Solution, tersely
from whichway.core.task import Document, Example, Field, Inputs, Prediction, Task
from whichway.strategies.parts.choosing import (
    MOST_SHOWN,
    SHOWN_WORDS,
    Sought,
    Tried,
    choose,
    enough_passages,
    enough_to_show,
)
from whichway.strategies.parts.chunks import WORDS
from whichway.strategies.parts.features import described, text_of
from whichway.strategies.parts.retrieval import Index, RetrieverSettings, build, load
from whichway.strategies.parts.store import load_json, save_json

FIELD = "passages"  # the field that is put before the row's own
DEPTH = 10  # passages that are ranked; the first of them are shown
USUAL = 3  # passages that are shown, where nothing tells how many are enough


@dataclass(frozen=True)
class Lookup:
    """An index and how many of the passages it finds are shown; `told` is what was tried to choose them, as plain data.

    Of each, `longest` words are shown at most.
    """

    task: Task
    index: Index
    count: int
    told: Mapping[str, Any] = field(default_factory=dict)
    longest: int = SHOWN_WORDS

    @property
    def widened(self) -> Task:
        """The task as strategies see it that are given passages: one more field of text, and no documents."""
        name = FIELD
        while name in {one.name for one in self.task.fields}:
            name += "_"
        return replace(self.task, fields=(Field(name, is_found=True), *self.task.fields), documents=())

    def ranked(self, inputs: Sequence[Inputs], depth: int = DEPTH, without_self: bool = False) -> list[list[Any]]:
        """Return the hits of each row, the best first; `without_self`: train rows, not to be found through themselves."""
        return self.index.search([question(self.task, row) for row in inputs], depth, without_self)

    def widen(self, inputs: Sequence[Inputs], hits: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Return rows with the passages that were found for them, numbered as sources are cited."""
        name = self.widened.fields[0].name
        return [
            {name: _shown(found[: self.count], self.longest), **row} for row, found in zip(inputs, hits, strict=True)
        ]

    def examples(self, rows: Sequence[Example], own: bool) -> list[Example]:
        """Return rows with their passages, as use will find them: gold ones among others, or missing.

        `own` rows are those the index learned from; they are not found through themselves.
        """
        inputs = [row.inputs for row in rows]
        wide = self.widen(inputs, self.ranked(inputs, without_self=own))
        return [replace(row, inputs=one) for row, one in zip(rows, wide, strict=True)]

    def updated(self, documents: Sequence[Document], kept: Path | None = None) -> Lookup:
        """Return the same over other documents; what is known of them, here and in a lookup that was saved, is used again."""
        beside = load_lookup(self.task, kept, self.index.embedder).index if kept else None
        index = self.index.update(documents, beside=beside)
        return replace(self, task=replace(self.task, documents=tuple(documents)), index=index)

    def save(self, folder: Path) -> None:
        """Write the index, the count, and what was tried."""
        self.index.save(folder / "index")
        save_json(folder / "lookup.json", {"count": self.count, "told": self.told, "longest": self.longest})


@dataclass(frozen=True)
class Wanted:
    """How documents are to be looked up: `mode` and `rerank` 'auto', `words` 0 and a `count` of 0 passages that are shown are
    each chosen on train rows; see choosing.py. What answers may learn from what it is given (`learns`): it finds itself
    what matters in twice as long a text, and is given whole documents where these are found as well."""

    count: int = 0
    mode: Literal["auto", "lexical", "dense", "fused"] = "auto"
    words: int = 0
    rerank: Literal["auto", "no", "yes"] = "auto"
    learns: bool = False


def make_lookup(task: Task, rows: Sequence[Example], wanted: Wanted, kit: Kit) -> Lookup:
    """Index the task's documents as it is wanted."""
    kit.progress(Progress("choosing how documents are cut and found"))
    answer = None if task.output.shape == "labels" else lambda row: _answered(task, row)
    asks = (wanted.mode, wanted.words, wanted.rerank, wanted.learns)
    sought = Sought(lambda row: question(task, row.inputs), answer, *asks)
    settings, reranker, tried = choose(task.documents, kit.embedder, rows, kit.seed, sought)
    longest = 2 * SHOWN_WORDS if wanted.learns else SHOWN_WORDS
    if settings.words == 0 and _are_long(task, longest):  # whole documents are found well, and too long to be shown
        settings = replace(settings, words=_size_to_show(tried, settings))
    kit.progress(Progress("indexing documents"))
    index = build(task.documents, kit.embedder, settings, kit.progress, reranker)
    enough = wanted.count or enough_to_show(tried, settings)
    draft = Lookup(task, index, enough or USUAL, longest=longest if settings.words == 0 else SHOWN_WORDS)
    if not enough:
        draft = replace(draft, count=_enough(draft, rows))
    chosen = {**asdict(settings), "reranked": reranker is not None, "shown": draft.count}
    return replace(draft, told={"chosen": chosen, "tried": [_told(one) for one in tried]})


def _told(tried: Tried) -> dict[str, Any]:
    """Return what the report says of one way that was tried."""
    said = {**asdict(tried.settings), "reranked": tried.reranked, "judged_by": tried.judged_by, "rows": tried.rows}
    return said | {"score": round(tried.score, 6), "by_count": [round(one, 6) for one in tried.by_count]}


def _answered(task: Task, row: Example) -> str:
    """Return the words of a row's answer; nothing where it has none."""
    return task.output.write(row.target) if row.target not in ("", {}) else ""


def _size_to_show(tried: Sequence[Tried], settings: RetrieverSettings) -> int:
    """Return the size of passages that found best in the same way."""
    like = [one for one in tried if one.settings.words and replace(one.settings, words=0) == settings]
    return max(like, key=lambda one: one.score).settings.words if like else WORDS


def _enough(draft: Lookup, rows: Sequence[Example]) -> int:
    """Return how many passages are enough, by train rows with gold documents, which are not found through themselves."""
    found = draft.ranked([row.inputs for row in rows], MOST_SHOWN, without_self=True)
    pairs = [
        ([hit.passage.document for hit in hits], row.gold_documents) for hits, row in zip(found, rows, strict=True)
    ]
    return enough_passages([one for one in pairs if one[1]], MOST_SHOWN, USUAL)


def _are_long(task: Task, words: int) -> bool:
    return any(len(one.text.split()) > words for one in task.documents)


def load_lookup(task: Task, folder: Path, embedder: Any) -> Lookup:
    """Read what `Lookup.save` wrote."""
    kept = load_json(folder / "lookup.json")
    longest = int(kept.get("longest", SHOWN_WORDS))
    return Lookup(task, load(folder / "index", embedder), int(kept["count"]), kept.get("told", {}), longest)


def question(task: Task, inputs: Inputs) -> str:
    """Return what is looked up for a row."""
    return text_of(task, inputs) if task.text_fields else described(task, inputs)


@dataclass(frozen=True)
class LookedUp:
    """A solution that is given passages; it cites the documents they are from."""

    inner: Solution
    lookup: Lookup

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        if not inputs:
            return []
        hits = self.lookup.ranked(inputs, max(DEPTH, self.lookup.count))
        answers = self.inner.predict(self.lookup.widen(inputs, hits))
        shown = [found[: self.lookup.count] for found in hits]
        return [
            self._citing(one, some) if one.parsed and one.value != "" else one
            for one, some in zip(answers, shown, strict=True)
        ]

    def ranked(self, inputs: Sequence[Inputs]) -> list[list[str]]:
        """Return the ids of the documents found for each row, the best first."""
        return [self.lookup.index.documents(found)[:DEPTH] for found in self.lookup.ranked(inputs, 4 * DEPTH)]

    def _citing(self, answer: Prediction, shown: Sequence[Any]) -> Prediction:
        sources = tuple(self.lookup.index.documents(shown))
        return replace(answer, sources=sources, passages=tuple(_as_shown(one, self.lookup.longest) for one in shown))

    def choices(self) -> Mapping[str, Any]:
        """Return how documents are found, and what else was tried on train rows."""
        return self.lookup.told

    @property
    def tokens(self) -> int:
        """Tokens read in training."""
        return int(getattr(self.inner, "tokens", 0))

    @property
    def documents(self) -> Sequence[Document]:
        return self.lookup.index.contents

    def with_documents(self, documents: Sequence[Document], kept: Path | None = None) -> LookedUp:
        return replace(self, lookup=self.lookup.updated(documents, kept))

    def keep(self, folder: Path) -> None:
        self.lookup.save(folder)

    def version(self) -> PromptVersion | None:
        """Return the prompt that passages are put into; a linear model has none."""
        return self.inner.version() if isinstance(self.inner, Prompted) else None

    def rewritten(self, kind: str, number: int) -> LookedUp | None:
        inner = self.inner.rewritten(kind, number) if isinstance(self.inner, Rewritable) else None
        return replace(self, inner=inner) if inner else None

    def terse(self) -> LookedUp:
        return replace(self, inner=tersely(self.inner))

    def save(self, folder: Path) -> None:
        self.lookup.save(folder)
        (folder / "inner").mkdir(parents=True, exist_ok=True)
        self.inner.save(folder / "inner")


def fit_over(inner: Any, lookup: Lookup, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> LookedUp:
    """Fit a strategy on rows with their passages."""
    return LookedUp(
        inner.fit(lookup.widened, lookup.examples(train, own=True), lookup.examples(dev, own=False), kit), lookup
    )


def load_over(inner: Any, task: Task, folder: Path, kit: Kit) -> LookedUp:
    """Read what `LookedUp.save` wrote."""
    lookup = load_lookup(task, folder, kit.embedder)
    where = replace(kit, folder=folder / "inner")
    return LookedUp(inner.load(lookup.widened, folder / "inner", where), lookup)


def _shown(hits: Sequence[Any], longest: int) -> str:
    """Return passages as numbered paragraphs."""
    found = [f"[{number}] {_as_shown(hit, longest)}" for number, hit in enumerate(hits, start=1)]
    return "\n".join(found) or "(nothing was found)"


def _as_shown(hit: Any, longest: int) -> str:
    """Return one passage as it stands before a question: its title, and as many words as there is room for."""
    words = hit.passage.text.split()
    text = " ".join(words[:longest]) + (" ..." if len(words) > longest else "")
    return f"{hit.passage.title}: {text}" if hit.passage.title else text
