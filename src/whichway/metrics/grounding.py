"""Metrics of answers that cite: are their sentences supported by what they cite; and of answers that repeat each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from whichway.core.rules import sentences, words
from whichway.core.task import Example, Prediction
from whichway.metrics.resampling import once, ratios
from whichway.registry import register

_STOP = frozenset(
    """a about above after again against all also although am an and any are as at be because been before being below between both
    but by can cannot could did do does doing down during each either else ever every few for from further had has have having
    he her here hers him his how however i if in into is it its itself just may me might more most must my neither no nor not
    now of off on once only onto or other our ours out over own per rather same shall she should since so some such than that
    the their theirs them then there therefore these they this those through thus to too under until up upon us very was we
    were what when where whether which while who whom whose why will with within without would yes yet you your yours isnt
    dont doesnt didnt wont cant arent wasnt werent according please""".split()
)
_SPELLED = {
    word: str(at)
    for at, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
    if at > 1  # "one" is more often a pronoun
}
_ENDINGS = (
    "ations",
    "ation",
    "ingly",
    "ings",
    "ing",
    "edly",
    "ies",
    "ied",
    "ions",
    "ion",
    "ed",
    "es",
    "ly",
    "s",
    "y",
    "e",
)
_LEAST_STEM = 4
_SLICE = 128  # resamples counted at once


@register("metric", "groundedness")
@dataclass(frozen=True)
class Groundedness:
    """Share of all sentences of the answers that a cited passage supports (attribution, Rashkin et al. 2023, by words).

    A lexical stand-in for entailment: one cited passage, under its title, must hold every number of the sentence and at least
    `threshold` of its content words, endings cut off. It sees a number or name made up, and does not see a "not" or two names
    exchanged. What an answer cites are the passages that it was given; where it carries none (an answer that was stored, a
    span), the whole documents that it names, which is more lenient; `by` 'documents' judges all answers so. An answer that cites
    nothing, or ids that are no documents, is unsupported; the empty answer states nothing and does not count; one that
    does not parse counts as one unsupported sentence. `documents` maps an id to its title and text.
    """

    documents: Mapping[str, str] = field(default_factory=dict, repr=False)
    threshold: float = 0.7
    by: Literal["passages", "documents"] = "passages"
    name: ClassVar[str] = "groundedness"
    is_mean: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)
    needs: ClassVar[tuple[str, ...]] = ("documents",)
    uses_target: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.by not in ("passages", "documents"):
            raise ValueError(f"by is 'passages' or 'documents', not {self.by!r}")

    def score_example(self, example: Example, prediction: Prediction) -> list[int]:
        """Return supported sentences, and sentences."""
        if not prediction.parsed:
            return [0, 1]
        stated = sentences(str(prediction.value))
        whole = [self.documents[one] for one in prediction.sources if one in self.documents]
        given = prediction.passages if self.by == "passages" else ()
        cited = [_content(one) for one in given or whole]
        return [sum(self._supported(one, cited) for one in stated), len(stated)]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return ratios(scores, index)

    def _supported(self, sentence: str, cited: Sequence[tuple[set[str], set[str]]]) -> bool:
        stems, numbers = _content(sentence)
        least = self.threshold * len(stems)
        return any(numbers <= known and len(stems & held) >= least for held, known in cited)


@register("metric", "distinctness")
@dataclass(frozen=True)
class Distinctness:
    """Distinct-2: how many of the pairs of neighbouring words in all answers are different ones (Li et al. 2016).

    It falls with the number of answers, so that only answers to the same rows compare. A row that a resample holds several times
    counts once, or every resample would look more repetitive than the answers are; its interval lies a little high instead.
    """

    name: ClassVar[str] = "distinctness"
    is_mean: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)
    uses_target: ClassVar[bool] = False

    def score_example(self, example: Example, prediction: Prediction) -> list[Any]:
        """Return the row's id and the pairs of words."""
        said = words(str(prediction.value)) if prediction.parsed else []
        return [example.id, [f"{one} {other}" for one, other in zip(said, said[1:])]]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        from scipy.sparse import csr_matrix

        rows: dict[str, int] = {}
        pairs: dict[str, int] = {}
        at = np.array([rows.setdefault(name, len(rows)) for name, _ in scores], dtype=np.intp)
        held = {name: said for name, said in scores}
        cells = [(rows[name], pairs.setdefault(one, len(pairs))) for name, said in held.items() for one in set(said)]
        sizes = np.array([len(held[name]) for name in rows], dtype=np.float64)
        where = np.array(cells, dtype=np.intp).reshape(-1, 2)
        shape = (len(rows), max(1, len(pairs)))
        matrix = csr_matrix((np.ones(len(where), dtype=np.float32), (where[:, 0], where[:, 1])), shape=shape)
        found = np.zeros(len(index))
        for start in range(0, len(index), _SLICE):
            chosen = np.zeros((min(_SLICE, len(index) - start), len(rows)), dtype=np.float32)
            for place, one in enumerate(index[start : start + _SLICE]):
                chosen[place, at[one]] = 1.0
            different, total = (csr_matrix(chosen) @ matrix).getnnz(axis=1), chosen @ sizes
            found[start : start + _SLICE] = np.divide(different, total, out=np.zeros(len(total)), where=total > 0)
        return found


def _content(text: str) -> tuple[set[str], set[str]]:
    """Return stems of the content words, and numbers, of a text."""
    stems, numbers = set(), set()
    for word in words(text):
        word = _SPELLED.get(word, word)
        if word[0].isdigit():
            numbers.add(_number(word))
        elif word not in _STOP and word.isalpha() and len(word) > 1:
            stems.add(_stem(word))
    return stems, numbers


def _number(word: str) -> str:
    plain = word.lstrip("0") or "0"
    return re.sub(r"\.?0+$", "", plain) if "." in plain else plain


def _stem(word: str) -> str:
    """Cut one common ending of English off, where four letters remain."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            return word[: -len(ending)]
    return word
