"""Retrieval on the data beside the project: what train rows choose, measured on test rows, beside BM25 alone."""

# One command: python bench/retrieval.py [set ...]. Train rows choose and teach; test rows are looked at once, at the end.
# Vectors come from the user's cache (models/vector_cache.py) where they are known; the seconds say which ran.

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whichway.core.ranking import hit_at, ndcg, reciprocal_rank
from whichway.core.task import Document, Example
from whichway.strategies.parts.choosing import asked_in, choose
from whichway.strategies.parts.retrieval import Index, RetrieverSettings, build

DATA = Path(os.environ.get("WHICHWAY_DATA", Path(__file__).parents[2] / "shared" / "data"))
SETS = ("stackfaq", "pubmedqa", "cuad_contract_qa")


class Cached:
    """The embedded encoder behind the cache of vectors on disk."""

    def __init__(self) -> None:
        from whichway.models.embedded import encoder_folder
        from whichway.models.encoder import SentenceEncoder
        from whichway.models.vector_cache import VectorCache
        from whichway.models.weights import weights_digest

        self.encoder = SentenceEncoder("embedded")
        self.name = self.encoder.name
        self.cache = VectorCache("bench-" + weights_digest(encoder_folder()))
        self.embedded = 0

    def embed(self, texts: Sequence[str]) -> Any:
        import hashlib

        import numpy as np

        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        found = self.cache.get(keys)
        new = list({key: text for key, text in zip(keys, texts) if key not in found}.items())
        for start in range(0, len(new), 256):
            batch = new[start : start + 256]
            vectors = self.encoder.embed([text for _, text in batch])
            made = {key: vector.tobytes() for (key, _), vector in zip(batch, vectors)}
            self.cache.put(made)
            found |= made
        self.embedded += len(new)
        return np.stack([np.frombuffer(found[key], dtype=np.float32) for key in keys])


def main() -> None:
    """Measure the sets named, or all three."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("sets", nargs="*", default=list(SETS))
    asked.add_argument("--tried", action="store_true", help="show what was tried on train rows")
    asked.add_argument("--seed", type=int, default=0)
    said = asked.parse_args()
    embedder = Cached()
    print(f"{'set':18} {'way':34} {'hit@1':>6} {'hit@5':>6} {'MRR':>6} {'nDCG@10':>7} {'n':>5} {'s':>6}")
    for name in said.sets:
        documents = [Document(one["id"], one["title"], one["text"]) for one in lines(name, "documents")]
        train, test = (examples(name, part) for part in ("train", "test"))
        began = time.perf_counter()
        show(name, "BM25 alone", build(documents, None, RetrieverSettings(mode="lexical")), test, began)
        began = time.perf_counter()
        settings, reranker, table = choose(documents, embedder, train, said.seed)
        chosen = time.perf_counter() - began
        index = build(documents, embedder, settings, reranker=reranker)
        way = f"{settings.mode}, {settings.embed}, {settings.words} words" + (", reranked" if reranker else "")
        show(name, way, index, test, began)
        print(
            f"  chosen in {chosen:.1f} s of {len(table)} ways on {table[0].rows} rows; embedded anew: {embedder.embedded}"
        )
        for one in table if said.tried else ():
            way = f"{one.settings.mode}, {one.settings.embed}, {one.settings.words} words" + ", reranked" * one.reranked
            print(f"    {way:40} {one.hit_at_1:6.3f} {one.hit_at_5:6.3f} {one.reciprocal_rank:6.3f}")


def show(name: str, way: str, index: Index, test: Sequence[Example], began: float) -> None:
    """Print one row of figures; seconds count from `began`."""
    rows = [one for one in test if one.gold_documents]
    ranked = [index.documents(hits) for hits in index.search([asked_in(one) for one in rows], 50)]
    pairs = [(one.gold_documents, found) for one, found in zip(rows, ranked, strict=True)]
    figures = (
        sum(hit_at(gold, found, 1) for gold, found in pairs) / len(pairs),
        sum(hit_at(gold, found, 5) for gold, found in pairs) / len(pairs),
        sum(reciprocal_rank(gold, found) for gold, found in pairs) / len(pairs),
        sum(ndcg(gold, found, 10) for gold, found in pairs) / len(pairs),
    )
    shown = " ".join(f"{one:6.3f}" for one in figures[:3]) + f" {figures[3]:7.3f}"
    print(f"{name:18} {way:34} {shown} {len(pairs):5} {time.perf_counter() - began:6.1f}", flush=True)


def lines(name: str, part: str) -> list[dict[str, Any]]:
    """Read one file of a set."""
    with (DATA / name / f"{part}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def examples(name: str, part: str) -> list[Example]:
    """Read rows without their answers, which retrieval never needs."""
    rows = lines(name, part)
    asked = [one["input"] if isinstance(one["input"], dict) else {"input": one["input"]} for one in rows]
    return [
        Example(one["id"], inputs, gold_documents=tuple(one.get("gold_doc_ids", ())))
        for one, inputs in zip(rows, asked)
    ]


if __name__ == "__main__":
    main()
