"""Words of passages and how much each says: BM25 weights as a sparse table, from bm25s."""

# No stemmer beyond the plural and no foreign stop words: a real stemmer is one more dependency. Words of code, ids and
# numbers are kept whole, and their parts are words as well (`INV-204.b` gives inv-204.b, inv, 204).

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichway.strategies.parts.store import load_arrays, load_json, save_arrays, save_json

_WORD = re.compile(r"\w+(?:[-./_@'’]\w+)*")
_PART = re.compile(r"[^\W_]+")
_STOP = frozenset(
    "a an and any are as at be been but by can could did do does for from had has have how i if in into is it its may me "
    "my no not of on or our shall should so such that the their them then there these they this those to under up was we "
    "were what when where which who whose why will with would you your s t".split()
)


@dataclass(frozen=True)
class Lexicon:
    """BM25 weights [texts, words] as a SciPy CSR table; the score of a text is the sum over the question's words."""

    words: Mapping[str, int]
    weights: Any

    def scores(self, queries: Any) -> Any:
        """Return float32 [queries, texts] of word counts [queries, words] as `count` gives them."""
        return (queries @ self.weights.T).toarray()

    def count(self, texts: Sequence[str]) -> Any:
        """Return how often each known word stands in each text, as a CSR table."""
        return counted([tokens(text) for text in texts], self.words)

    def save(self, folder: Path, name: str) -> None:
        """Write the words as JSON and the weights as safetensors; never as numpy files, which may hold a pickle."""
        save_json(folder / f"{name}.json", list(self.words))
        parts = {part: getattr(self.weights, part) for part in ("data", "indices", "indptr")}
        save_arrays(folder / f"{name}.safetensors", parts)


def load_lexicon(folder: Path, name: str) -> Lexicon:
    """Read what `Lexicon.save` wrote."""
    from scipy.sparse import csr_matrix

    words = {word: i for i, word in enumerate(load_json(folder / f"{name}.json"))}
    parts = load_arrays(folder / f"{name}.safetensors")
    shape = (len(parts["indptr"]) - 1, len(words))
    return Lexicon(words, csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=shape))


def index_words(texts: Sequence[str]) -> Lexicon:
    """Weigh the words of texts: BM25 as in Lucene, k1 1.5, b 0.75 (Kamphuis et al. 2020, Which BM25 Do You Mean?)."""
    import bm25s
    import numpy as np
    from scipy.sparse import csc_matrix

    said = [tokens(text) for text in texts]
    words = {word: i for i, word in enumerate(sorted({word for one in said for word in one}))}
    if not words:
        return Lexicon({}, csc_matrix((len(texts), 0), dtype=np.float32).tocsr())
    model = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    model.index(([[words[word] for word in one] for one in said], dict(words)), show_progress=False)
    parts = model.scores
    table = csc_matrix((parts["data"], parts["indices"], parts["indptr"]))
    table.resize((len(texts), len(words)))
    table = table.tocsr()
    table.sort_indices()
    return Lexicon(words, table)


def counted(said: Sequence[Sequence[str]], words: Mapping[str, int]) -> Any:
    """Return a CSR table [texts, words] of counts; words that are not known are left out."""
    import numpy as np
    from scipy.sparse import csr_matrix

    known = [[words[word] for word in one if word in words] for one in said]
    starts = np.cumsum([0, *map(len, known)])
    flat = np.array([word for one in known for word in one], dtype=np.int32)
    table = csr_matrix((np.ones(len(flat), dtype=np.float32), flat, starts), shape=(len(said), len(words)))
    table.sum_duplicates()
    return table


def tokens(text: str) -> list[str]:
    """Return the words of a text that say something: in lower case, without plural s, compounds whole and in parts."""
    found: list[str] = []
    for word in _WORD.findall(text.casefold()):
        parts = _PART.findall(word)
        found += [word] if len(parts) > 1 and any(char.isdigit() for char in word) else []
        found += [singular(part) for part in parts if part not in _STOP]
    return found


def singular(word: str) -> str:
    """Return a word without its English plural s (Harman 1991, How Effective is Suffixing?, the S stemmer)."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    return word[:-1]
