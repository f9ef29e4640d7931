"""Learning as before language models: TF-IDF of words and characters plus the fields, into a linear model or trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from whichway.core.strategy import Kit
from whichway.core.task import Example, Inputs, Prediction, Task
from whichway.registry import register
from whichway.strategies.parts.features import FieldEncoder, fit_fields, load_fields
from whichway.strategies.parts.linear import LinearHead, fit_head, load_head
from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json
from whichway.strategies.parts.trees import TreesHead, fit_trees, load_trees
from whichway.strategies.parts.views import WHOLE, View, apart, named

SIDES = {
    "words": {"analyzer": "word", "ngram_range": (1, 2)},
    "characters": {"analyzer": "char_wb", "ngram_range": (3, 5)},
}
TOPICS = 24  # trees cannot read 50,000 sparse columns: they get this many singular vectors of them
MOST_TREE_LABELS = 20


@register("strategy", "classic")
@dataclass(frozen=True)
class Classic:
    """TF-IDF (words 1-2, characters 3-5) and fields into logistic regression or gradient-boosted trees.

    `texts='apart'` gives each text field words of its own, and the ends of long ones; 'auto' does so where it is right more
    often in cross-validation on train. `head='auto'` takes trees only where there are structured fields and they do better there.
    """

    head: Literal["auto", "linear", "trees"] = "auto"
    texts: Literal["auto", "whole", "apart"] = "auto"
    strengths: tuple[float, ...] = (3.0, 30.0, 300.0)
    most_words: int = 20_000
    most_characters: int = 50_000
    needs: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    reads_instruction: ClassVar[bool] = False

    def fit(self, task: Task, train: Sequence[Example], dev: Sequence[Example], kit: Kit) -> ClassicSolution:
        labels, rows = task.labels, [*train, *dev]  # another shape is refused before anything is read
        inputs, targets = [row.inputs for row in rows], [row.target for row in rows]
        views = {"whole": WHOLE, "apart": apart(task, inputs)}
        views = views if self.texts == "auto" else {self.texts: views[self.texts]}
        found = []
        for one in dict.fromkeys(views.values()):
            reader = _fit_reader(task, inputs, one, {"words": self.most_words, "characters": self.most_characters})
            sparse = reader.sparse(inputs)
            found.append((fit_head(sparse, targets, labels, self.strengths, kit.seed), reader, sparse))
        linear, reader, sparse = max(found, key=lambda one: one[0].merit)  # the first of equals
        if self._kind(task, sparse, reader, rows, kit.seed) == "linear":
            return ClassicSolution(reader, linear, None)
        topics = _topics(sparse, kit.seed)
        head = fit_trees(reader.dense(inputs, topics), targets, task.labels.names, kit.seed)
        return ClassicSolution(reader, head, topics)

    def load(self, task: Task, folder: Path, kit: Kit) -> ClassicSolution:
        reader = _load_reader(task, folder)
        if (folder / "trees.json").exists():
            return ClassicSolution(reader, load_trees(folder), load_arrays(folder / "topics.safetensors")["topics"])
        return ClassicSolution(reader, load_head(folder), None)

    def _kind(self, task: Task, sparse: Any, reader: TextReader, rows: Sequence[Example], seed: int) -> str:
        able = not task.labels.multi and len(task.labels.names) <= MOST_TREE_LABELS
        if self.head != "auto":
            return "linear" if not able else self.head
        if not able or not reader.fields.width:
            return "linear"
        return "trees" if _trees_win(task, sparse, reader, rows, seed) else "linear"


@dataclass(frozen=True)
class ClassicSolution:
    """A reader of rows and a head."""

    reader: TextReader
    head: LinearHead | TreesHead
    topics: Any | None

    def predict(self, inputs: Sequence[Inputs]) -> list[Prediction]:
        if not inputs:
            return []
        if self.topics is None:
            return self.head.predict(self.reader.sparse(inputs))
        return self.head.predict(self.reader.dense(inputs, self.topics))

    def save(self, folder: Path) -> None:
        self.reader.save(folder)
        self.head.save(folder)
        if self.topics is not None:
            save_arrays(folder / "topics.safetensors", {"topics": self.topics})


@dataclass(frozen=True)
class TextReader:
    """Rows to columns: TF-IDF vectorisers by view and side, and the field encoder."""

    task: Task
    sides: dict[tuple[View, str], Any]
    fields: FieldEncoder

    def sparse(self, rows: Sequence[Inputs]) -> Any:
        """Return a CSR matrix [rows, all columns]."""
        from scipy.sparse import csr_matrix, hstack

        texts = {view: [view.read(self.task, row) for row in rows] for view, _ in self.sides}
        blocks = [side.transform(texts[view]) for (view, _), side in self.sides.items()]
        blocks.append(csr_matrix(self.fields.encode(rows) / 4))
        return hstack(blocks, format="csr", dtype="float32")

    def dense(self, rows: Sequence[Inputs], topics: Any) -> Any:
        """Return float32 [rows, fields and topics] for trees."""
        import numpy as np

        sparse = self.sparse(rows)
        text = sparse[:, : topics.shape[1]] @ topics.T
        return np.hstack([self.fields.encode(rows), np.asarray(text, dtype=np.float32)])

    def save(self, folder: Path) -> None:
        """Write the vocabularies as JSON and the weights of their words as safetensors."""
        kept = {f"{side} {view.name}": one for (view, side), one in self.sides.items()}
        words = {name: {term: int(at) for term, at in one.vocabulary_.items()} for name, one in kept.items()}
        save_json(folder / "vocabulary.json", words)
        save_arrays(folder / "idf.safetensors", {name: one.idf_ for name, one in kept.items()})
        self.fields.save(folder)


def _fit_reader(task: Task, rows: Sequence[Inputs], views: Sequence[View], most: dict[str, int]) -> TextReader:
    sides = {}
    for view in sorted(views, key=lambda one: one.name):  # the order in which they are read again
        texts = [view.read(task, row) for row in rows]
        for side, how in SIDES.items():
            one = _vectoriser(how, max_features=most[side])
            try:
                sides[view, side] = one.fit(texts)
            except ValueError:  # no text field, or nothing but stop characters in it
                continue
    return TextReader(task, sides, fit_fields(task, rows))


def _load_reader(task: Task, folder: Path) -> TextReader:
    words, weights = load_json(folder / "vocabulary.json"), load_arrays(folder / "idf.safetensors")
    sides = {}
    kept = {(named(name.partition(" ")[2]), name.partition(" ")[0]): name for name in words}
    for view, side in sorted(kept, key=lambda one: (one[0].name, list(SIDES).index(one[1]))):
        one = sides[view, side] = _vectoriser(SIDES[side], vocabulary=words[kept[view, side]])
        one.idf_ = weights[kept[view, side]]
    return TextReader(task, sides, load_fields(folder))


def _vectoriser(how: dict[str, Any], **more: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", **how, **more)


def _topics(sparse: Any, seed: int) -> Any:
    """Return singular vectors [topics, text columns]; none where there is too little text."""
    import numpy as np
    from sklearn.decomposition import TruncatedSVD

    size = min(TOPICS, sparse.shape[0] - 1, sparse.shape[1] - 1)
    if size < 2:
        return np.zeros((0, sparse.shape[1]), dtype=np.float32)
    return TruncatedSVD(size, random_state=seed).fit(sparse).components_.astype(np.float32)


def _trees_win(task: Task, sparse: Any, reader: TextReader, rows: Sequence[Example], seed: int) -> bool:
    """Compare both heads by log-likelihood over three folds of train."""
    import numpy as np
    from sklearn.model_selection import KFold

    inputs, names = [row.inputs for row in rows], task.labels.names
    codes = np.array([names.index(row.target) for row in rows])
    gains = 0.0
    for learn, check in KFold(3, shuffle=True, random_state=seed).split(codes):
        targets = [names[code] for code in codes[learn]]
        if len(set(targets)) < 2:  # a rare label is in one fold alone: too few rows to compare by
            return False
        topics = _topics(sparse[learn], seed)
        trees = fit_trees(reader.dense([inputs[i] for i in learn], topics), targets, names, seed)
        linear = fit_head(sparse[learn], targets, task.labels, (30.0,), seed)
        right = np.arange(len(check)), codes[check]
        tall = np.log(np.clip(trees.probabilities(reader.dense([inputs[i] for i in check], topics))[right], 1e-4, 1))
        flat = np.log(np.clip(linear.probabilities(sparse[check])[right], 1e-4, 1))
        gains += float((tall - flat).sum())
    return gains > 0
