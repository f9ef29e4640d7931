"""Metrics for running text against right answers: exact match, token F1, ROUGE-L, chrF."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from whichway.core.task import Example, Prediction
from whichway.metrics.resampling import means, once
from whichway.registry import register

# The target and the references are all right answers: each metric takes the best over them. The empty text is the answer
# "there is none": right where the target is empty, else wrong. An answer that does not parse is wrong everywhere.
ORDERS = 6  # chrF counts runs of 1 to 6 characters
_NOTHING_LIKE_IT = "\0"  # what an answer that does not parse is taken for
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@register("metric", "exact_match")
@dataclass(frozen=True)
class ExactMatch:
    """Share of rows answered by the words of a right answer, as the official SQuAD 2.0 script compares them.

    Rajpurkar et al. 2018: case, punctuation, articles and spaces do not count.
    """

    name: ClassVar[str] = "exact_match"
    is_mean: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)

    def score_example(self, example: Example, prediction: Prediction) -> float:
        return float(prediction.parsed and squad_words(prediction.value) in _squad_answers(example))

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return means(scores, index)


@register("metric", "token_f1")
@dataclass(frozen=True)
class TokenF1:
    """Mean F1 of the words an answer shares with the right answer nearest to it, as in the official SQuAD 2.0 script.

    Rajpurkar et al. 2018; where the answer or the right answer is empty, it is 1 if both are and else 0.
    """

    name: ClassVar[str] = "token_f1"
    is_mean: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)

    def score_example(self, example: Example, prediction: Prediction) -> float:
        if not prediction.parsed:
            return 0.0
        said = squad_words(prediction.value)
        return max(_word_f1(gold, said) for gold in _squad_answers(example))

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return means(scores, index)


@register("metric", "rouge_l")
@dataclass(frozen=True)
class RougeL:
    """Mean ROUGE-L: F of the longest common subsequence of words, as Google's rouge_score 0.1.2 computes it unstemmed.

    Lin 2004. Words are runs of a-z and 0-9, so that accents cut words; `unicode` takes the letters of every script.
    Texts without any such word are right if they are the same.
    """

    unicode: bool = False
    name: ClassVar[str] = "rouge_l"
    is_mean: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)

    def score_example(self, example: Example, prediction: Prediction) -> float:
        if not prediction.parsed:
            return 0.0
        return max(self._one(gold, str(prediction.value)) for gold in right_answers(example))

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return means(scores, index)

    def _one(self, gold: str, said: str) -> float:
        pattern = r"[^\W_]+" if self.unicode else "[a-z0-9]+"
        wanted, given = re.findall(pattern, gold.lower()), re.findall(pattern, said.lower())
        if not wanted or not given:
            return float(gold.strip() == said.strip())
        return 2.0 * _common(wanted, given) / (len(wanted) + len(given))


@register("metric", "chrf")
@dataclass(frozen=True)
class ChrF:
    """chrF2 of all rows together, from 0 to 1: recall-weighted F of shared runs of 1 to 6 characters.

    Popović 2015, with sacrebleu's conventions (nrefs:var|case:mixed|eff:yes|nc:6|nw:0|space:no, version 2.6.0): a row keeps the
    counts against the right answer nearest to it, and any resample adds them up. sacrebleu itself lets an answer pass where
    there is none to give; here its characters count as wrong ones.
    """

    name: ClassVar[str] = "chrf"
    is_mean: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    shapes: ClassVar[tuple[str, ...]] = ("text",)

    def score_example(self, example: Example, prediction: Prediction) -> list[int]:
        """Return said, wanted and shared runs for each length."""
        said = _runs(str(prediction.value) if prediction.parsed else _NOTHING_LIKE_IT)
        every = [_counts(said, _runs(gold)) for gold in right_answers(example)]
        best = int(np.argmax(_chrf(np.asarray(every, dtype=np.float64))))
        return every[best]

    def aggregate(self, scores: Sequence[Any]) -> float:
        return once(self, scores)

    def resample(self, scores: Sequence[Any], index: Any) -> Any:
        return _chrf(np.asarray(scores, dtype=np.float64)[index].sum(axis=1))


def right_answers(example: Example) -> list[str]:
    """Return the target and the further references of a row."""
    return [str(one if one is not None else "") for one in (example.target, *example.references)]


def squad_words(text: Any) -> list[str]:
    """Normalise as the SQuAD script does: lower case, no punctuation, no articles."""
    plain = str(text).lower().translate(_PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def _squad_answers(example: Example) -> list[list[str]]:
    """Return right answers as words; one that normalises to nothing counts only where nothing is the answer."""
    found = [words for words in map(squad_words, right_answers(example)) if words]
    return [*found, []] if not found or not example.target else found


def _word_f1(gold: list[str], said: list[str]) -> float:
    if not gold or not said:
        return float(gold == said)
    shared = (Counter(gold) & Counter(said)).total()
    return 2.0 * shared / (len(gold) + len(said))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence: bits of one number are a row of the table (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        hit = row & places.get(word, 0)
        row = (row + hit | row - hit) & full
    return len(one) - row.bit_count()


def _runs(text: str) -> list[Counter[str]]:
    line = "".join(text.split())
    return [Counter(line[at : at + size] for at in range(len(line) - size + 1)) for size in range(1, ORDERS + 1)]


def _counts(said: list[Counter[str]], wanted: list[Counter[str]]) -> list[int]:
    nothing = not wanted[0]
    found = []
    for ours, theirs in zip(said, wanted):
        found += [ours.total() if theirs or nothing else 0, theirs.total(), (ours & theirs).total()]
    return found


def _chrf(counts: Any) -> Any:
    """Return F2 of mean precision and mean recall over the lengths that both sides have; counts is [..., 3 · ORDERS]."""
    said, wanted, shared = (counts[..., at::3] for at in range(3))
    both = (said > 0) & (wanted > 0)
    lengths = np.maximum(both.sum(-1), 1)
    precision = np.divide(shared, said, out=np.zeros_like(shared), where=both).sum(-1) / lengths
    recall = np.divide(shared, wanted, out=np.zeros_like(shared), where=both).sum(-1) / lengths
    below = 4.0 * precision + recall
    score = np.divide(5.0 * precision * recall, below, out=np.zeros_like(below), where=below > 0)
    return np.where((said + wanted).sum(-1) == 0, 1.0, score)  # nothing to say, and nothing said
