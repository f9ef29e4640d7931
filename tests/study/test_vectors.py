"""Vectors of a study found again by the user's next one, whose encoder is a folder or lies on a hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from whichway.models.encoder import SentenceEncoder
from whichway.study.kit import CachedEmbedder, ModelShelf
from whichway.study.ledger import Ledger

real, embedded = SentenceEncoder.embed, []
SentenceEncoder.embed = lambda self, texts: embedded.append(len(texts)) or real(self, texts)
settings = SimpleNamespace(models=SimpleNamespace(embedder=sys.argv[1], endpoints={}))
for name in sys.argv[3:]:
    ledger = Ledger(Path(sys.argv[2]) / name)
    CachedEmbedder(ModelShelf(settings, lambda: ledger), ledger).embed(["one", "two"])
print(json.dumps(embedded))
"""


def embedded(name: str, home: Path, *studies: str) -> list[int]:
    """Return how many texts an encoder read over some studies of the same two texts, one after the other."""
    around = {"HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "WHICHWAY_CACHE": str(home / "cache")}
    words = [sys.executable, "-c", CODE, name, str(home), *studies]
    done = subprocess.run(words, env={**os.environ, **around}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def on_a_hub(home: Path, commit: str) -> Path:
    """Lay the embedded encoder into a hub's local cache as someone/tiny, as its newest commit; return its folder."""
    from whichway.models.embedded import encoder_folder

    repository = home / "hf" / "hub" / "models--someone--tiny"
    shutil.copytree(encoder_folder(), repository / "snapshots" / commit)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit


@pytest.mark.slow
def test_texts_are_embedded_once_by_an_encoder_from_a_hub_until_its_weights_change(tmp_path):
    pytest.importorskip("sentence_transformers")
    on_a_hub(tmp_path, "a" * 40)
    assert embedded("someone/tiny", tmp_path, "first", "second") == [2]
    newer = on_a_hub(tmp_path, "b" * 40) / "modules.json"
    newer.write_text(newer.read_text() + " ")
    assert embedded("someone/tiny", tmp_path, "third", "fourth") == [2], "other weights, other vectors, kept again"


@pytest.mark.slow
def test_where_the_cache_cannot_be_written_a_continued_study_finds_its_vectors_all_the_same(tmp_path):
    pytest.importorskip("sentence_transformers")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vectors").write_text("a file where the folder would be")
    assert embedded("embedded", tmp_path, "one") == [2]
    assert embedded("embedded", tmp_path, "one") == []
    (tmp_path / "cache" / "vectors").unlink()
    assert embedded("embedded", tmp_path, "one", "two", "three") == [2], "its own are the ledger's; two's serve three"
